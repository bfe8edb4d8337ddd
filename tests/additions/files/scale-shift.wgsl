// out = SCALE x + SHIFT; one element per thread.

const N: u32 = 1u;
const SCALE: f32 = 1.0;
const SHIFT: f32 = 0.0;

const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= N) { return; }
  out[i] = SCALE * x[i] + SHIFT;
}
