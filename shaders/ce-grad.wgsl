// logits <- (softmax - (1 - SMOOTHING) onehot(target) - SMOOTHING / VOCAB) SCALE rowScale, in place; zeros for ignored rows (target -100)
// and for columns at or beyond VOCAB. softmax = exp(logit - rowMax) / rowSum keeps its digits where the logits share a large offset.
// One column of one row per thread.

const R: u32 = 1u;
const COLS: u32 = 1u;
const COL_START: u32 = 0u;
const VOCAB: u32 = 1u;
const SMOOTHING: f32 = 0.0;
const SCALE: f32 = 1.0;
const HAS_ROW_SCALE: u32 = 0u;

const WG: u32 = 64u;
const IGNORED: i32 = -100;
// Columns of this shard that belong to the vocabulary.
const VALID: u32 = min(COLS, max(VOCAB, COL_START) - COL_START);
const FLOOR: f32 = SMOOTHING / f32(VOCAB);

@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(1) var<storage, read> rowMax: array<f32>;
@group(0) @binding(2) var<storage, read> rowSum: array<f32>;
@group(0) @binding(3) var<storage, read> targets: array<i32>;
@group(0) @binding(4) var<storage, read> rowScale: array<f32>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= R * COLS) { return; }
  let row = i / COLS;
  let column = i % COLS;
  let target_id = targets[row];
  if (target_id == IGNORED || column >= VALID) {
    logits[i] = 0.0;
    return;
  }
  var scale = SCALE;
  if (HAS_ROW_SCALE == 1u) { scale *= rowScale[row]; }
  let onehot = select(0.0, 1.0 - SMOOTHING, column == bitcast<u32>(target_id) - COL_START);
  logits[i] = (exp(logits[i] - rowMax[row]) / rowSum[row] - onehot - FLOOR) * scale;
}
