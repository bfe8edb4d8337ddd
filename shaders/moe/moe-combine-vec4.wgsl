// out[n, :] = (residual[n, :] +) sum over k of gates[n, k] * y[slotOf[n, k], :]; four elements per thread. Needs C
// divisible by 4.

const N: u32 = 1u;
const C: u32 = 4u;
const K: u32 = 1u;
const GATED: u32 = 1u;
const RESIDUAL: u32 = 1u;

const WG: u32 = 64u;
const NONE: u32 = 0xffffffffu;

@group(0) @binding(0) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> slotOf: array<u32>;
@group(0) @binding(2) var<storage, read> gates: array<f32>;
@group(0) @binding(3) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= N * (C / 4u)) { return; }
  let n = i / (C / 4u);
  let c = i % (C / 4u);
  var sum = vec4(0.0);
  for (var k = 0u; k < K; k++) {
    let slot = slotOf[n * K + k];
    if (slot != NONE) {
      var gate = 1.0;
      if (GATED == 1u) {
        gate = gates[n * K + k];
      }
      sum += gate * y[slot * (C / 4u) + c];
    }
  }
  if (RESIDUAL == 1u) {
    sum += residual[i];
  }
  out[i] = sum;
}
