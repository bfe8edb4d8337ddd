// out = x rstd weight, rstd = 1 / sqrt(average(x^2) + EPS) over each row of x [R, C].
// One thread per row, LANES columns at a time; needs C divisible by LANES.

const R: u32 = 1u;
const C: u32 = 1u;
const EPS: f32 = 0.00001;

const LANES: u32 = 1u;
const WG: u32 = 32u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> weight: array<Value>;
@group(0) @binding(2) var<storage, read_write> out: array<Value>;
@group(0) @binding(3) var<storage, read_write> rstd: array<f32>;

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
  var square = Value(0.0);
  for (var c = 0u; c < WIDTH; c++) {
    let v = x[start + c];
    square += v * v;
  }
  let scale = 1.0 / sqrt(total(square) / f32(C) + EPS);
  for (var c = 0u; c < WIDTH; c++) { out[start + c] = x[start + c] * scale * weight[c]; }
  rstd[row] = scale;
}
