// out = exp(x - max) / sum exp(x - max) over the middle dimension of x [OUTER, C, INNER], or its logarithm (LOG).
// One thread per (outer, inner) pair walks along the middle dimension, LANES elements at a time; more than one of them
// need INNER 1 and C divisible by LANES.

const OUTER: u32 = 1u;
const C: u32 = 1u;
const INNER: u32 = 1u;
const LOG: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 32u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> out: array<Value>;

fn largest(v: Value) -> f32 {
  let a = vec4<f32>(v);
  if (LANES == 1u) { return a.x; }
  return max(max(a.x, a.y), max(a.z, a.w));
}

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
  var peak = x[start];
  for (var c = 1u; c < WIDTH; c++) { peak = max(peak, x[start + c * INNER]); }
  let top = largest(peak);
  var sum = Value(0.0);
  for (var c = 0u; c < WIDTH; c++) { sum += exp(x[start + c * INNER] - top); }
  if (LOG == 1u) {
    let logSum = log(total(sum));
    for (var c = 0u; c < WIDTH; c++) { out[start + c * INNER] = (x[start + c * INNER] - top) - logSum; }
  } else {
    let scale = 1.0 / total(sum);
    for (var c = 0u; c < WIDTH; c++) { out[start + c * INNER] = exp(x[start + c * INNER] - top) * scale; }
  }
}
