// out = x / (1 + exp(-x)). The exponent is clamped so that nothing overflows. LANES elements per thread; needs N
// divisible by LANES.

const N: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> out: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= N / LANES) { return; }
  let v = x[i];
  out[i] = v / (1.0 + exp(min(-v, Value(80.0))));
}
