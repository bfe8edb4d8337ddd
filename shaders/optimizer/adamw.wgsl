// With g = gradScale grad: m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2,
// w <- w (1 - lr wd) - lr (m / bc1) / (sqrt(v) / sqrt(bc2) + eps).
// hyper is [lr, b1, b2, eps, wd, bc1 = 1 - b1^t, bc2 = 1 - b2^t, gradScale, 1 - b1, 1 - b2]; wd counts for the weights
// from DECAY_START to DECAY_END - 1 alone.
// LANES weights per thread; needs N, DECAY_START and DECAY_END divisible by LANES.

const N: u32 = 1u;
const DECAY_START: u32 = 0u;
const DECAY_END: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
// Bits of 2^100, 2^62, 2^122.
const MOST_PARAM: u32 = 0x71800000u;
const MOST_M: u32 = 0x5e800000u;
const MOST_V: u32 = 0x7c800000u;
const COUNT: u32 = N / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read_write> param: array<Value>;
@group(0) @binding(1) var<storage, read> grad: array<Value>;
@group(0) @binding(2) var<storage, read_write> m: array<Value>;
@group(0) @binding(3) var<storage, read_write> v: array<Value>;
@group(0) @binding(4) var<storage, read> hyper: array<f32>;
@group(0) @binding(5) var<storage, read_write> flags: array<u32>;

// Whether a component is larger in size than the number of these bits, or no number.
fn beyond(v: Value, most: u32) -> bool {
  let bits = bitcast<vec4<u32>>(vec4<f32>(abs(v)));
  if (LANES == 1u) { return bits.x > most; }
  return any(bits > vec4<u32>(most));
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= COUNT) { return; }
  let lr = hyper[0];
  let beta1 = hyper[1];
  let beta2 = hyper[2];
  let g = hyper[7] * grad[i];
  let mean = beta1 * m[i] + hyper[8] * g;
  let square = beta2 * v[i] + hyper[9] * (g * g);
  m[i] = mean;
  v[i] = square;
  var w = param[i];
  w *= 1.0 - select(0.0, lr * hyper[4], (i >= DECAY_START / LANES) & (i < DECAY_END / LANES));
  let updated = w - lr * (mean / hyper[5]) / (sqrt(square) / sqrt(hyper[6]) + hyper[3]);
  param[i] = updated;
  if (beyond(updated, MOST_PARAM) | beyond(mean, MOST_M) | beyond(square, MOST_V)) { flags[0] = 1u; }
}
