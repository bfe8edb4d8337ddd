// lse = rowMax + log(rowSum); rowLoss = (1 - SMOOTHING) (lse - targetLogit) + SMOOTHING (lse - logitSum / VOCAB), 0
// where the target is -100. Differences from rowMax come first, so a large common offset of the logits costs no digits.
// One thread per row.

const R: u32 = 1u;
const VOCAB: u32 = 1u;
const SMOOTHING: f32 = 0.0;

const WG: u32 = 32u;
const IGNORED: i32 = -100;
// Stands for minus infinity: the lse of no columns.
const LOWEST: f32 = -1e30;

@group(0) @binding(0) var<storage, read> rowMax: array<f32>;
@group(0) @binding(1) var<storage, read> rowSum: array<f32>;
@group(0) @binding(2) var<storage, read> targetLogit: array<f32>;
@group(0) @binding(3) var<storage, read> logitSum: array<f32>;
@group(0) @binding(4) var<storage, read> targets: array<i32>;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;
@group(0) @binding(6) var<storage, read_write> rowLoss: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = (group.y * groups.x + group.x) * WG + lane;
  if (row >= R) { return; }
  let peak = rowMax[row];
  let sum = rowSum[row];
  if (sum <= 0.0) {
    lse[row] = LOWEST;
    rowLoss[row] = 0.0;
    return;
  }
  let logSum = log(sum);
  lse[row] = peak + logSum;
  var loss = (1.0 - SMOOTHING) * (peak - targetLogit[row]);
  if (SMOOTHING > 0.0) { loss += SMOOTHING * (peak - logitSum[row] / f32(VOCAB)); }
  rowLoss[row] = select(loss + logSum, 0.0, targets[row] == IGNORED);
}
