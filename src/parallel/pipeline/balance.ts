// Which layers each stage of a pipeline gets: runs of layers whose slowest stage is as fast as can be, for layers and
// devices that differ. The slowest stage paces a step, so it is what counts. Dynamic programming over stages and
// layers, O(stages * layers^2). Source: Huang et al. 2019, "GPipe", section 2.2; the min-max partition of PipeDream,
// Narayanan et al. 2019, section 3.1.

import { LayoutError } from '../../base/errors.ts';

export interface StageSpec {
  /** Time of a unit of a layer's cost on its device; 1 if absent. */
  readonly slowness?: number;
  /** Time that it has whatever its layers are, the embedding or the head say; 0 if absent. */
  readonly fixed?: number;
}

export interface Balance {
  /** By stage, its layers: from the first to before the end. */
  readonly layers: readonly (readonly [first: number, end: number])[];
  /** By stage, in the unit of costs times slowness. */
  readonly times: readonly number[];
  /** Of the slowest stage. */
  readonly slowest: number;
}

/**
 * Each stage gets at least one layer. `costs`: of each layer, measured on one device. Of several best partitions the
 * most even one, by the sum of squares. Throws LayoutError for more stages than layers, or what is no cost.
 */
export function balance(costs: readonly number[], stages: readonly StageSpec[]): Balance {
  const [L, p] = [costs.length, stages.length];
  if (p < 1 || p > L) throw new LayoutError(`stages: expected 1 to ${L}, one per layer at most, got ${p}`);
  const all = [...costs, ...stages.flatMap(({ slowness = 1, fixed = 0 }) => [slowness, fixed])];
  const wrong = all.find((value) => !Number.isFinite(value) || value < 0);
  if (wrong !== undefined) throw new LayoutError(`costs: expected numbers of at least 0, got ${wrong}`);
  const sums = costs.reduce<number[]>((list, cost) => [...list, list.at(-1)! + cost], [0]);
  const timeOf = (stage: number, first: number, end: number): number => {
    const { slowness = 1, fixed = 0 } = stages[stage]!;
    return fixed + slowness * (sums[end]! - sums[first]!);
  };
  const slowest = partition(p, L, timeOf, Math.max).best;
  // Among those as fast, the most even one.
  const square = (stage: number, first: number, end: number): number => {
    const time = timeOf(stage, first, end);
    return time > slowest ? Infinity : time * time;
  };
  const { layers } = partition(p, L, square, (one, rest) => one + rest);
  const times = layers.map(([from, end], stage) => timeOf(stage, from, end));
  return { layers, times, slowest };
}

/** The runs of layers whose joined value is least. */
function partition(
  p: number,
  L: number,
  valueOf: (stage: number, first: number, end: number) => number,
  join: (one: number, rest: number) => number,
): { readonly best: number; readonly layers: readonly (readonly [number, number])[] } {
  // From the back: the least value of the stages from `stage` on, with the layers from `first` on.
  let least = Array.from({ length: L + 1 }, (_, first) => (first === L ? 0 : Infinity));
  const ends: number[][] = [];
  for (let stage = p - 1; stage >= 0; stage--) {
    const rest = least;
    const chosen = new Array<number>(L + 1).fill(L);
    least = Array.from({ length: L + 1 }, (_, first) => {
      let best = Infinity;
      for (let end = first + 1; end <= L; end++) {
        const value = join(valueOf(stage, first, end), rest[end]!);
        if (value < best) [best, chosen[first]] = [value, end];
      }
      return best;
    });
    ends[stage] = chosen;
  }
  let first = 0;
  const layers = ends.map((chosen) => {
    const range = [first, chosen[first]!] as const;
    [, first] = range;
    return range;
  });
  return { best: least[0]!, layers };
}
