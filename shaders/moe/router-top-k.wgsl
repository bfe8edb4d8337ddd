// probs = softmax(logits) and the K largest of each row; one thread per row, K scans of E instead of a sorted list in
// memory. Experts are ranked by logit, not by probability, so that equal roundings of exp cannot change their order.

const N: u32 = 1u;
const E: u32 = 1u;
const K: u32 = 1u;
const RENORM: u32 = 1u;

const WG: u32 = 32u;

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> probs: array<f32>;
@group(0) @binding(2) var<storage, read_write> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> gates: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = (group.y * groups.x + group.x) * WG + lane;
  if (n >= N) { return; }
  var most = logits[n * E];
  for (var e = 1u; e < E; e++) {
    most = max(most, logits[n * E + e]);
  }
  var sum = 0.0;
  for (var e = 0u; e < E; e++) {
    sum += exp(logits[n * E + e] - most);
  }
  for (var e = 0u; e < E; e++) {
    probs[n * E + e] = exp(logits[n * E + e] - most) / sum;
  }
  // Rank k is the largest (logit, then lowest expert) that comes after rank k - 1.
  var lastLogit = 0.0;
  var lastExpert = 0u;
  var chosen = 0.0;
  for (var k = 0u; k < K; k++) {
    var best = 0.0;
    var expert = E;
    for (var e = 0u; e < E; e++) {
      let x = logits[n * E + e];
      let after = k == 0u || x < lastLogit || (x == lastLogit && e > lastExpert);
      if (after && (expert == E || x > best)) {
        best = x;
        expert = e;
      }
    }
    lastLogit = best;
    lastExpert = expert;
    let p = exp(best - most) / sum;
    index[n * K + k] = expert;
    gates[n * K + k] = p;
    chosen += p;
  }
  if (RENORM == 1u) {
    for (var k = 0u; k < K; k++) {
      gates[n * K + k] /= chosen;
    }
  }
}
