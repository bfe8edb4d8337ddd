// out = VALUE; LANES elements per thread. Needs N divisible by LANES.

const N: u32 = 1u;
const VALUE: f32 = 0.0;

const LANES: u32 = 1u;
const WG: u32 = 64u;
alias Value = f32;

@group(0) @binding(0) var<storage, read_write> out: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= N / LANES) { return; }
  out[i] = Value(VALUE);
}
