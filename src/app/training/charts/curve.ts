// What a chart draws: curves over steps, smoothed or not, and what each is worth at a step. Pure; no DOM.

/** Points in the order of x. */
export interface Points {
  readonly x: readonly number[];
  readonly y: readonly number[];
}

export interface Curve {
  readonly name: string;
  /** A colour of the theme ('--accent'), or a colour. */
  readonly colour: string;
  readonly series: Points;
  /** Few points: shows each of them, and is not smoothed. */
  readonly sparse?: boolean;
  /** Of another run: drawn thinner. */
  readonly other?: boolean;
}

/**
 * Exponential moving average with `weight` of the past, 0 to below 1, without the pull of a start at 0 (as in
 * TensorBoard).
 */
export function smoothed(y: readonly number[], weight: number): number[] {
  let average = 0;
  let debias = 1;
  return y.map((value) => {
    average = average * weight + value * (1 - weight);
    debias *= weight;
    return average / (1 - debias);
  });
}

/** Index of the last point at or before `x`; -1 when there is none. */
export function indexAt({ x }: Points, at: number): number {
  let [low, high] = [0, x.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle]! <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** What a curve is worth at step `at`: its last value so far; undefined before its first point. */
export function valueAt(points: Points, at: number): number | undefined {
  return points.y[indexAt(points, at)];
}

/** [min, max] after zooming by `factor` (below 1: closer) around `centre`, inside `whole`. */
export function zoomed(
  [min, max]: readonly [number, number],
  factor: number,
  centre: number,
  whole: readonly [number, number],
): readonly [number, number] | undefined {
  const [low, high] = [
    Math.max(whole[0], centre - (centre - min) * factor),
    Math.min(whole[1], centre + (max - centre) * factor),
  ];
  return low <= whole[0] && high >= whole[1] ? undefined : high - low < 1 ? [centre - 0.5, centre + 0.5] : [low, high];
}

/** A logarithmic axis has no place for 0 and less. */
export function positive(y: readonly number[]): (number | null)[] {
  return y.map((value) => (value > 0 ? value : null));
}

/** A number for people: 3 digits where they count, thousands in one word, powers of ten beyond. */
export function figure(value: number, digits = 3): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2).replace('e+', 'e');
  return size >= 100 || digits === 0
    ? value.toLocaleString('en', { maximumFractionDigits: size >= 100 ? 0 : digits })
    : value.toFixed(digits);
}

/** A value at an axis whose labels are `step` apart: 3 digits, and more where two labels would be alike. */
export function tickLabel(value: number, step: number): string {
  const apart = value !== 0 && step > 0 ? Math.ceil(Math.log10(Math.abs(value) / step)) + 1 : 0;
  const short = (shown: number): string => String(+shown.toPrecision(Math.min(9, Math.max(3, apart))));
  return Math.abs(value) >= 1000 ? `${short(value / 1000)}k` : short(value);
}

/** '3 s', '12 min', '2 h 5 min'. */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
