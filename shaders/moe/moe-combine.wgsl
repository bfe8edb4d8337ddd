// out[n, :] = (residual[n, :] +) sum over k of gates[n, k] * y[slotOf[n, k], :]; LANES elements per thread. Needs C
// divisible by LANES.

const N: u32 = 1u;
const C: u32 = 1u;
const K: u32 = 1u;
const GATED: u32 = 1u;
const RESIDUAL: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = C / LANES;
const NONE: u32 = 0xffffffffu;
alias Value = f32;

@group(0) @binding(0) var<storage, read> y: array<Value>;
@group(0) @binding(1) var<storage, read> slotOf: array<u32>;
@group(0) @binding(2) var<storage, read> gates: array<f32>;
@group(0) @binding(3) var<storage, read> residual: array<Value>;
@group(0) @binding(4) var<storage, read_write> out: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= N * WIDTH) { return; }
  let n = i / WIDTH;
  let c = i % WIDTH;
  var sum = Value(0.0);
  for (var k = 0u; k < K; k++) {
    let slot = slotOf[n * K + k];
    if (slot != NONE) {
      var gate = 1.0;
      if (GATED == 1u) {
        gate = gates[n * K + k];
      }
      sum += gate * y[slot * WIDTH + c];
    }
  }
  if (RESIDUAL == 1u) {
    sum += residual[i];
  }
  out[i] = sum;
}
