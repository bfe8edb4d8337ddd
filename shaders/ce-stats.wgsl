// Per row of logits [R, COLS], the vocabulary's columns COL_START...: max, sum of exp(logit - max), the target's logit, the sum of logits.
// Columns at or beyond VOCAB are padding and ignored. MERGE adds this shard to the values that are there (online softmax).
// One thread per row.

const R: u32 = 1u;
const COLS: u32 = 1u;
const COL_START: u32 = 0u;
const VOCAB: u32 = 1u;
const MERGE: u32 = 0u;

const WG: u32 = 32u;
// Columns of this shard that belong to the vocabulary.
const VALID: u32 = min(COLS, max(VOCAB, COL_START) - COL_START);
// Stands for minus infinity: the max of no columns.
const LOWEST: f32 = -1e30;

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<i32>;
@group(0) @binding(2) var<storage, read_write> rowMax: array<f32>;
@group(0) @binding(3) var<storage, read_write> rowSum: array<f32>;
@group(0) @binding(4) var<storage, read_write> targetLogit: array<f32>;
@group(0) @binding(5) var<storage, read_write> logitSum: array<f32>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = (group.y * groups.x + group.x) * WG + lane;
  if (row >= R) { return; }
  let start = row * COLS;
  var peak = LOWEST;
  for (var column = 0u; column < VALID; column++) { peak = max(peak, logits[start + column]); }
  var sum = 0.0;
  var total = 0.0;
  for (var column = 0u; column < VALID; column++) {
    let logit = logits[start + column];
    sum += exp(logit - peak);
    total += logit;
  }
  // A target outside this shard, ignored ones (-100) included, wraps to a column beyond it.
  var wanted = 0.0;
  let place = bitcast<u32>(targets[row]) - COL_START;
  if (place < VALID) { wanted = logits[start + place]; }
  if (MERGE == 1u) {
    let other = rowMax[row];
    let both = max(peak, other);
    sum = sum * exp(peak - both) + rowSum[row] * exp(other - both);
    peak = both;
    wanted += targetLogit[row];
    total += logitSum[row];
  }
  rowMax[row] = peak;
  rowSum[row] = sum;
  targetLogit[row] = wanted;
  logitSum[row] = total;
}
