// dY[r, :] = gates[source[r]] * dOut[source[r] / K, :], zeros where source[r] is 0xffffffff; LANES elements per
// thread. Needs C divisible by LANES.

const R: u32 = 1u;
const C: u32 = 1u;
const K: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = C / LANES;
const NONE: u32 = 0xffffffffu;
alias Value = f32;

@group(0) @binding(0) var<storage, read> dOut: array<Value>;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> gates: array<f32>;
@group(0) @binding(3) var<storage, read_write> dY: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= R * WIDTH) { return; }
  let assignment = source[i / WIDTH];
  let keep = assignment != NONE;
  let a = select(0u, assignment, keep);
  dY[i] = select(Value(0.0), gates[a] * dOut[(a / K) * WIDTH + i % WIDTH], keep);
}
