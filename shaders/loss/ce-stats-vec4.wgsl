// Per row of logits [R, COLS], the vocabulary's columns COL_START...: max, sum of exp(logit - max), the target's logit,
// the sum of logits. Columns at or beyond VOCAB are padding and ignored. MERGE adds this shard to the values that are
// there (online softmax). One thread per row, sixteen columns per step; needs COLS divisible by 4.

const R: u32 = 1u;
const COLS: u32 = 4u;
const COL_START: u32 = 0u;
const VOCAB: u32 = 1u;
const MERGE: u32 = 0u;

const WG: u32 = 32u;
// Columns of this shard that belong to the vocabulary.
const VALID: u32 = min(COLS, max(VOCAB, COL_START) - COL_START);
// Stands for minus infinity: the max of no columns.
const LOWEST: f32 = -1e30;

@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> targets: array<i32>;
@group(0) @binding(2) var<storage, read_write> rowMax: array<f32>;
@group(0) @binding(3) var<storage, read_write> rowSum: array<f32>;
@group(0) @binding(4) var<storage, read_write> targetLogit: array<f32>;
@group(0) @binding(5) var<storage, read_write> logitSum: array<f32>;

struct Running { peak: f32, sum: f32, total: f32 }

fn take(old: Running, a: vec4<f32>) -> Running {
  let peak = max(old.peak, max(max(a.x, a.y), max(a.z, a.w)));
  let e = exp(a - peak);
  return Running(
    peak,
    old.sum * exp(old.peak - peak) + (e.x + e.y) + (e.z + e.w),
    old.total + (a.x + a.y) + (a.z + a.w),
  );
}

fn take4(old: Running, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> Running {
  let top = max(max(a, b), max(c, d));
  let peak = max(old.peak, max(max(top.x, top.y), max(top.z, top.w)));
  let e = (exp(a - peak) + exp(b - peak)) + (exp(c - peak) + exp(d - peak));
  let l = (a + b) + (c + d);
  return Running(
    peak,
    old.sum * exp(old.peak - peak) + ((e.x + e.y) + (e.z + e.w)),
    old.total + ((l.x + l.y) + (l.z + l.w)),
  );
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = (group.y * groups.x + group.x) * WG + lane;
  if (row >= R) { return; }
  let start = row * (COLS / 4u);
  var state = Running(LOWEST, 0.0, 0.0);
  var column = 0u;
  for (; column + 16u <= VALID; column += 16u) {
    let at = start + column / 4u;
    state = take4(state, logits[at], logits[at + 1u], logits[at + 2u], logits[at + 3u]);
  }
  for (; column + 4u <= VALID; column += 4u) { state = take(state, logits[start + column / 4u]); }
  for (; column < VALID; column++) {
    let logit = logits[start + column / 4u][column % 4u];
    let peak = max(state.peak, logit);
    state = Running(peak, state.sum * exp(state.peak - peak) + exp(logit - peak), state.total + logit);
  }
  var peak = state.peak;
  var sum = state.sum;
  var total = state.total;
  // A target outside this shard, ignored ones (-100) included, wraps to a column beyond it.
  var wanted = 0.0;
  let place = bitcast<u32>(targets[row]) - COL_START;
  if (place < VALID) { wanted = logits[start + place / 4u][place % 4u]; }
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
