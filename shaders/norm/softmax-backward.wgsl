// dX = p (dOut - sum(dOut p)), sums over the middle dimension of [OUTER, C, INNER]; p is softmax's output.
// One thread per (outer, inner) pair walks along the middle dimension, LANES elements at a time; more than one of them
// need INNER 1 and C divisible by LANES.

const OUTER: u32 = 1u;
const C: u32 = 1u;
const INNER: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 32u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> p: array<Value>;
@group(0) @binding(1) var<storage, read> dOut: array<Value>;
@group(0) @binding(2) var<storage, read_write> dX: array<Value>;

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
  let line = (group.y * groups.x + group.x) * WG + lane;
  if (line >= OUTER * INNER) { return; }
  let start = line / INNER * (WIDTH * INNER) + line % INNER;
  var products = Value(0.0);
  for (var c = 0u; c < WIDTH; c++) { products += p[start + c * INNER] * dOut[start + c * INNER]; }
  let sum = total(products);
  for (var c = 0u; c < WIDTH; c++) {
    dX[start + c * INNER] = p[start + c * INNER] * (dOut[start + c * INNER] - sum);
  }
}
