// dY[r, :] = gates[source[r]] * dOut[source[r] / K, :], zeros where source[r] is 0xffffffff; four elements per thread.
// Needs C divisible by 4.

const R: u32 = 1u;
const C: u32 = 4u;
const K: u32 = 1u;

const WG: u32 = 64u;
const NONE: u32 = 0xffffffffu;

@group(0) @binding(0) var<storage, read> dOut: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> gates: array<f32>;
@group(0) @binding(3) var<storage, read_write> dY: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= R * (C / 4u)) { return; }
  let assignment = source[i / (C / 4u)];
  let keep = assignment != NONE;
  let a = select(0u, assignment, keep);
  dY[i] = select(vec4(0.0), gates[a] * dOut[(a / K) * (C / 4u) + i % (C / 4u)], keep);
}
