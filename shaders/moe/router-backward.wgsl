// dLogits of routerTopK, from dGates and, if HAS_DPROBS, from dProbs; one thread per row.
// dL/dp of a chosen expert is dGates, or (dGates - sum_j gates_j dGates_j) / sum_j p_j if RENORM; then dLogits = p
// (dL/dp - sum p dL/dp).

const N: u32 = 1u;
const E: u32 = 1u;
const K: u32 = 1u;
const RENORM: u32 = 1u;
const HAS_DPROBS: u32 = 1u;

const WG: u32 = 32u;

@group(0) @binding(0) var<storage, read> probs: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read> dGates: array<f32>;
@group(0) @binding(3) var<storage, read> dProbs: array<f32>;
@group(0) @binding(4) var<storage, read_write> dLogits: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = (group.y * groups.x + group.x) * WG + lane;
  if (n >= N) { return; }
  var chosen = 0.0;
  var through = 0.0;
  for (var k = 0u; k < K; k++) {
    let p = probs[n * E + index[n * K + k]];
    chosen += p;
    through += p * dGates[n * K + k];
  }
  var mean = 0.0;
  var factor = 1.0;
  if (RENORM == 1u) {
    mean = through / chosen;
    factor = 1.0 / chosen;
  }
  // Sum over all experts of p dL/dp.
  var dot = 0.0;
  for (var k = 0u; k < K; k++) {
    dot += probs[n * E + index[n * K + k]] * (dGates[n * K + k] - mean) * factor;
  }
  if (HAS_DPROBS == 1u) {
    for (var e = 0u; e < E; e++) {
      dot += probs[n * E + e] * dProbs[n * E + e];
    }
  }
  for (var e = 0u; e < E; e++) {
    var d = -dot;
    if (HAS_DPROBS == 1u) {
      d += dProbs[n * E + e];
    }
    for (var k = 0u; k < K; k++) {
      d += select(0.0, (dGates[n * K + k] - mean) * factor, index[n * K + k] == e);
    }
    dLogits[n * E + e] = probs[n * E + e] * d;
  }
}
