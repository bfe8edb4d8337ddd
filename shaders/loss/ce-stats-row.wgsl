// Per row of logits [R, COLS], the vocabulary's columns COL_START...: max, sum of exp(logit - max), the target's logit,
// the sum of logits. Columns at or beyond VOCAB are padding and ignored. MERGE adds this shard to the values that are
// there (online softmax). A workgroup per row: neighbours read neighbouring columns, and their statistics meet in
// workgroup memory. For real GPUs, where a thread per row leaves the machine idle.

const R: u32 = 1u;
const COLS: u32 = 1u;
const COL_START: u32 = 0u;
const VOCAB: u32 = 1u;
const MERGE: u32 = 0u;

const WG: u32 = 256u;
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

struct Running { peak: f32, sum: f32, total: f32 }

var<workgroup> partial: array<Running, WG>;

fn join(a: Running, b: Running) -> Running {
  let peak = max(a.peak, b.peak);
  return Running(peak, a.sum * exp(a.peak - peak) + b.sum * exp(b.peak - peak), a.total + b.total);
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  let start = min(row, R - 1u) * COLS;
  var state = Running(LOWEST, 0.0, 0.0);
  for (var column = lane; column < VALID; column += WG) {
    let logit = logits[start + column];
    let peak = max(state.peak, logit);
    state = Running(peak, state.sum * exp(state.peak - peak) + exp(logit - peak), state.total + logit);
  }
  partial[lane] = state;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] = join(partial[lane], partial[lane + half]); }
    workgroupBarrier();
  }
  if ((row >= R) | (lane > 0u)) { return; }
  state = partial[0];
  // A target outside this shard, ignored ones (-100) included, wraps to a column beyond it.
  var wanted = 0.0;
  let place = bitcast<u32>(targets[row]) - COL_START;
  if (place < VALID) { wanted = logits[start + place]; }
  if (MERGE == 1u) {
    state = join(state, Running(rowMax[row], rowSum[row], logitSum[row]));
    wanted += targetLogit[row];
  }
  rowMax[row] = state.peak;
  rowSum[row] = state.sum;
  targetLogit[row] = wanted;
  logitSum[row] = state.total;
}
