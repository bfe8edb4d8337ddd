// dWeight[c] (+)= sum_r dOut[r, c] x[r, c] rstd[r].
// A workgroup takes COLUMNS groups of four columns and cuts the rows into SLICES; needs C divisible by 4. For real
// GPUs, where one thread per column leaves most of the machine idle; software adapters pay for the barrier.

const R: u32 = 1u;
const C: u32 = 4u;
const ACCUMULATE: u32 = 1u;

const COLUMNS: u32 = 8u;
const SLICES: u32 = 32u;
const WIDTH: u32 = C / 4u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> rstd: array<f32>;
@group(0) @binding(2) var<storage, read> dOut: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dWeight: array<vec4<f32>>;

var<workgroup> weightParts: array<vec4<f32>, COLUMNS * SLICES>;

@compute @workgroup_size(COLUMNS, SLICES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = group.x * COLUMNS + local.x;
  let slice = local.y;
  var weightSum = vec4<f32>(0.0);
  if (column < WIDTH) {
    for (var row = slice; row < R; row += SLICES) {
      let at = row * WIDTH + column;
      weightSum += dOut[at] * (x[at] * rstd[row]);
    }
  }
  weightParts[slice * COLUMNS + local.x] = weightSum;
  workgroupBarrier();
  if (slice > 0u || column >= WIDTH) { return; }
  for (var s = 1u; s < SLICES; s++) {
    weightSum += weightParts[s * COLUMNS + local.x];
  }
  if (ACCUMULATE == 1u) {
    weightSum += dWeight[column];
  }
  dWeight[column] = weightSum;
}
