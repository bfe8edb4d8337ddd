// The natural logarithm, without the tables of the standard library, which would need memory of their own.

/** Of any x, with a relative error below 1e-14: x is 2^k m, m around 1, and log m is 2 artanh((m - 1) / (m + 1)). */
export function log(x: f64): f64 {
  if (!(x > 0)) return x === 0 ? -Infinity : NaN;
  if (x === Infinity) return x;
  // Bits of sqrt 1/2: m lies from there to sqrt 2.
  const least: i64 = 0x3fe6a09e667f3bcd;
  const bits = reinterpret<i64>(x) - least;
  const k = bits >> 52;
  const m = reinterpret<f64>((bits & 0xfffffffffffff) + least);
  const s = (m - 1) / (m + 1);
  const z = s * s;
  let series: f64 = 1.0 / 19;
  series = series * z + 1.0 / 17;
  series = series * z + 1.0 / 15;
  series = series * z + 1.0 / 13;
  series = series * z + 1.0 / 11;
  series = series * z + 1.0 / 9;
  series = series * z + 1.0 / 7;
  series = series * z + 1.0 / 5;
  series = series * z + 1.0 / 3;
  return <f64>k * 0.6931471805599453 + 2 * (s + s * z * series);
}
