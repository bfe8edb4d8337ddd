// dWeight[c] (+)= sum_r dOut[r, c] (x[r, c] - mean[r]) rstd[r], and with BIAS_AT > 0, dWeight[BIAS_AT + c] (+)= sum_r
// dOut[r, c]. One thread per LANES columns walks down the rows; needs C and BIAS_AT divisible by LANES.

const R: u32 = 1u;
const C: u32 = 1u;
const ACCUMULATE: u32 = 1u;
const BIAS_AT: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 32u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dOut: array<Value>;
@group(0) @binding(4) var<storage, read_write> dWeight: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let column = (group.y * groups.x + group.x) * WG + lane;
  if (column >= WIDTH) { return; }
  var weightSum = Value(0.0);
  var biasSum = Value(0.0);
  for (var row = 0u; row < R; row++) {
    let at = row * WIDTH + column;
    let d = dOut[at];
    weightSum += d * ((x[at] - mean[row]) * rstd[row]);
    if (BIAS_AT > 0u) { biasSum += d; }
  }
  if (ACCUMULATE == 1u) {
    weightSum += dWeight[column];
  }
  dWeight[column] = weightSum;
  if (BIAS_AT > 0u) {
    if (ACCUMULATE == 1u) {
      biasSum += dWeight[BIAS_AT / LANES + column];
    }
    dWeight[BIAS_AT / LANES + column] = biasSum;
  }
}
