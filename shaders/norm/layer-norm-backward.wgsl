// dX = (residual +) rstd (g - average(g) - xhat average(g xhat)) with g = dOut weight, xhat = (x - mean) rstd, averages
// over each row. One thread per row, LANES columns at a time; needs C divisible by LANES.

const R: u32 = 1u;
const C: u32 = 1u;
const RESIDUAL: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 32u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> weight: array<Value>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> rstd: array<f32>;
@group(0) @binding(4) var<storage, read> dOut: array<Value>;
@group(0) @binding(5) var<storage, read> residual: array<Value>;
@group(0) @binding(6) var<storage, read_write> dX: array<Value>;

fn total(v: Value) -> f32 {
  let a = vec4<f32>(v);
  if (LANES == 1u) { return a.x; }
  return (a.x + a.y) + (a.z + a.w);
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = (group.y * groups.x + group.x) * WG + lane;
  if (row >= R) { return; }
  let start = row * WIDTH;
  let center = mean[row];
  let scale = rstd[row];
  var gSum = Value(0.0);
  var gxSum = Value(0.0);
  for (var c = 0u; c < WIDTH; c++) {
    let g = dOut[start + c] * weight[c];
    gSum += g;
    gxSum += g * ((x[start + c] - center) * scale);
  }
  let gMean = total(gSum) / f32(C);
  let gxMean = total(gxSum) / f32(C);
  for (var c = 0u; c < WIDTH; c++) {
    let xhat = (x[start + c] - center) * scale;
    var d = scale * (dOut[start + c] * weight[c] - gMean - xhat * gxMean);
    if (RESIDUAL == 1u) { d += residual[start + c]; }
    dX[start + c] = d;
  }
}
