// dX = dOut s (1 + x (1 - s)) with s = 1 / (1 + e), e = exp(-x), and 1 - s = e s without cancellation.
// LANES elements per thread; needs N divisible by LANES.

const N: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> dOut: array<Value>;
@group(0) @binding(2) var<storage, read_write> dX: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= N / LANES) { return; }
  let v = x[i];
  let e = exp(min(-v, Value(80.0)));
  let s = 1.0 / (1.0 + e);
  dX[i] = dOut[i] * (s * (1.0 + v * (e * s)));
}
