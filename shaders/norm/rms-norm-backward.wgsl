// dX = (residual +) rstd (g - xhat average(g xhat)) with g = dOut weight, xhat = x rstd, the average over each row.
// One thread per row, LANES columns at a time; needs C divisible by LANES.

const R: u32 = 1u;
const C: u32 = 1u;
const RESIDUAL: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 32u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> weight: array<Value>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dOut: array<Value>;
@group(0) @binding(4) var<storage, read> residual: array<Value>;
@group(0) @binding(5) var<storage, read_write> dX: array<Value>;

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
  let scale = rstd[row];
  var gxSum = Value(0.0);
  for (var c = 0u; c < WIDTH; c++) { gxSum += dOut[start + c] * weight[c] * (x[start + c] * scale); }
  let gxMean = total(gxSum) / f32(C);
  for (var c = 0u; c < WIDTH; c++) {
    var d = scale * (dOut[start + c] * weight[c] - x[start + c] * scale * gxMean);
    if (RESIDUAL == 1u) { d += residual[start + c]; }
    dX[start + c] = d;
  }
}
