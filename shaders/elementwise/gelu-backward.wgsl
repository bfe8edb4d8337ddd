// dX = dOut gelu'(x). TANH: with s = 1 / (1 + e), e = exp(-2u), gelu' = s + 2 x u' e s s; else P(X < x) + x density(x).
// LANES elements per thread; needs N divisible by LANES.

const N: u32 = 1u;
const TANH: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> dOut: array<Value>;
@group(0) @binding(2) var<storage, read_write> dX: array<Value>;

// The normal distribution's lower tail, P(X < -a) = exp(-a q(a)) / 2 for a in [0, 10], absolute error below 6e-8.
// q is a least-maximum fit of degree 9 to -ln(erfc(a / sqrt 2)) / a, weighted by erfc.
fn lower_tail(a: Value) -> Value {
  var q = Value(1.34044473e-08);
  q = q * a - 4.68132669e-07;
  q = q * a + 6.6609241e-06;
  q = q * a - 4.94643791e-05;
  q = q * a + 0.000186267716;
  q = q * a + 1.02103149e-05;
  q = q * a - 0.004824562;
  q = q * a + 0.0363552235;
  q = q * a + 0.318305701;
  q = q * a + 0.797884822;
  return 0.5 * exp(-a * q);
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= N / LANES) { return; }
  let v = x[i];
  if (TANH == 1u) {
    let z = clamp(v, Value(-20.0), Value(20.0));
    let u = 0.797884561 * (z + 0.044715 * z * z * z);
    let slope = 0.797884561 * (1.0 + 0.134145 * z * z);
    let e = exp(min(-2.0 * u, Value(80.0)));
    let s = 1.0 / (1.0 + e);
    dX[i] = dOut[i] * (s + 2.0 * z * slope * (e * s) * s);
  } else {
    let a = min(abs(v), Value(10.0));
    let tail = lower_tail(a);
    let density = 0.398942280 * exp(-0.5 * a * a);
    dX[i] = dOut[i] * (select(1.0 - tail, tail, v < Value(0.0)) + v * density);
  }
}
