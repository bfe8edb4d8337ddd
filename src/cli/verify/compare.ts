// Comparison of tensors with golden values, element by element, against a tolerance made of a measured noise and a
// share of the largest value.

export interface Check {
  readonly name: string;
  /**
   * Largest error divided by its tolerance; at most 1 passes. Infinity for a wrong shape, a missing tensor or a
   * non-finite value.
   */
  readonly worst: number;
  readonly passed: boolean;
  readonly note?: string;
}

export interface Tolerance {
  /** Absolute tolerance of every element. */
  readonly absolute: number;
  /** Elements [start, end) that are not compared. */
  readonly skip?: readonly [number, number];
  /** This many elements may be off by up to `outlierFactor` times the tolerance. */
  readonly outliers?: number;
  readonly outlierFactor?: number;
}

export function compare(
  name: string,
  got: ArrayLike<number> | undefined,
  want: ArrayLike<number>,
  { absolute, skip, outliers = 0, outlierFactor = 1 }: Tolerance,
): Check {
  if (!got) return { name, worst: Infinity, passed: false, note: 'missing' };
  if (got.length !== want.length)
    return { name, worst: Infinity, passed: false, note: `${got.length} elements, expected ${want.length}` };
  let worst = 0;
  let beyond = 0;
  let worstAt = 0;
  for (let i = 0; i < want.length; i++) {
    if (skip && i >= skip[0] && i < skip[1]) continue;
    const error = Math.abs(got[i] - want[i]) / absolute;
    const off = Number.isNaN(error) ? Infinity : error;
    if (off > 1) beyond++;
    if (off > worst) {
      worst = off;
      worstAt = i;
    }
  }
  const passed = worst <= 1 || (beyond <= outliers && worst <= outlierFactor);
  return {
    name,
    worst,
    passed,
    note:
      passed && worst <= 1
        ? undefined
        : `element ${worstAt}: got ${got[worstAt]}, expected ${want[worstAt]}; ${beyond} of ${want.length} beyond ${absolute.toExponential(1)}`,
  };
}

export function absoluteMax(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  return most;
}
