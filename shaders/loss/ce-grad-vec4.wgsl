// logits <- (softmax - (1 - SMOOTHING) onehot(target) - SMOOTHING / VOCAB) SCALE rowScale, in place; zeros for ignored
// rows (target -100) and for columns at or beyond VOCAB. softmax = exp(logit - rowMax) / rowSum keeps its digits where
// the logits share a large offset. One thread per sixteen columns of a row; needs COLS divisible by 4.

const R: u32 = 1u;
const COLS: u32 = 4u;
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
const WIDTH: u32 = COLS / 4u;
const CHUNK: u32 = 4u;
const CHUNKS: u32 = (WIDTH + CHUNK - 1u) / CHUNK;

@group(0) @binding(0) var<storage, read_write> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> rowMax: array<f32>;
@group(0) @binding(2) var<storage, read> rowSum: array<f32>;
@group(0) @binding(3) var<storage, read> targets: array<i32>;
@group(0) @binding(4) var<storage, read> rowScale: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= R * CHUNKS) { return; }
  let row = i / CHUNKS;
  let first = i % CHUNKS * CHUNK;
  let end = min(first + CHUNK, WIDTH);
  let target_id = targets[row];
  if (target_id == IGNORED) {
    for (var c = first; c < end; c++) { logits[row * WIDTH + c] = vec4<f32>(0.0); }
    return;
  }
  var scale = SCALE;
  if (HAS_ROW_SCALE == 1u) { scale *= rowScale[row]; }
  let peak = rowMax[row];
  let share = scale / rowSum[row];
  let base = FLOOR * scale;
  for (var c = first; c < end; c++) {
    let at = row * WIDTH + c;
    logits[at] = exp(logits[at] - peak) * share - base;
  }
  let place = bitcast<u32>(target_id) - COL_START;
  if (place >= 4u * first && place < 4u * end) {
    logits[row * WIDTH + place / 4u][place % 4u] -= (1.0 - SMOOTHING) * scale;
  }
  for (var column = max(VALID, 4u * first); column < 4u * end; column++) {
    logits[row * WIDTH + column / 4u][column % 4u] = 0.0;
  }
}
