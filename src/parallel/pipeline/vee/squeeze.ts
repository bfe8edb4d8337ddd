// From the building block of a V schedule, repeated every six units, to times without its gaps: what is listed earlier
// is moved first, to the earliest free unit after what it needs, as long as the rank keeps no more microbatches than
// the blocks alone do on the rank that keeps most. Only warm-up and cool-down move; between them the blocks fill all
// units. First with every W where the blocks leave room, then the cool-down again without: W takes what is free at the
// end. Source: the reordering and squeezing of Qi et al. 2024, "Pipeline Parallelism with Controllable Memory", section
// 4.

/** Units of time in which a rank runs F, B and W of both its chunks once. */
export const INTERVAL = 6;

/** F of chunk 0, F of chunk 1, B of chunk 1, B of chunk 0: the way of a microbatch; then W. */
export const [F0, F1, B1, B0, W] = [0, 1, 2, 3, 4] as const;

/** Times of F0, F1, B1 and B0 of microbatch 0, by rank. */
export type Block = readonly (readonly [number, number, number, number])[];

interface Item {
  readonly type: number;
  readonly microbatch: number;
}

/** Actions of all ranks on a grid of units of time. */
export class Grid {
  readonly ranks: number;
  readonly microbatches: number;
  /** By rank and unit of time: 1 + type * 2m + microbatch, or 0. */
  readonly cells: readonly Int32Array[];

  constructor(ranks: number, microbatches: number, units: number) {
    this.ranks = ranks;
    this.microbatches = microbatches;
    this.cells = Array.from({ length: ranks }, () => new Int32Array(units));
  }

  get units(): number {
    return this.cells[0]!.length;
  }

  put(rank: number, time: number, type: number, microbatch: number): void {
    this.cells[rank]![time] = 1 + type * 2 * this.microbatches + microbatch;
  }

  at(rank: number, time: number): Item | undefined {
    const cell = this.cells[rank]![time]!;
    if (cell === 0) return undefined;
    const width = 2 * this.microbatches;
    return { type: Math.floor((cell - 1) / width), microbatch: (cell - 1) % width };
  }
}

/** The blocks of m microbatches without W, with room at the end for all W. */
export function repeated(block: Block, microbatches: number): Grid {
  const last = Math.max(...block.map((times) => times[B0]));
  const grid = new Grid(block.length, microbatches, last + INTERVAL * microbatches + 2 * microbatches + 1);
  for (const [rank, times] of block.entries())
    for (const [type, time] of times.entries())
      for (let j = 0; j < microbatches; j++) grid.put(rank, time + INTERVAL * j, type, j);
  return grid;
}

/** Fills what is free with W, each after its B; their order is that of the B. */
export function withWeights(grid: Grid): Grid {
  const { ranks, microbatches, units } = grid;
  const filled = new Grid(ranks, microbatches, units);
  for (let rank = 0; rank < ranks; rank++) {
    let [due, next] = [0, 0];
    for (let time = 0; time < units; time++) {
      const item = grid.at(rank, time);
      if (item && item.type < W) {
        filled.put(rank, time, item.type, item.microbatch);
        if (item.type >= B1) due++;
      } else if (due > 0) {
        filled.put(rank, time, W, next++);
        due--;
      }
    }
  }
  return filled;
}

/** Most microbatches (of either chunk) between F and W that a rank keeps. */
function peakOf(grid: Grid): number {
  let peak = 0;
  for (let rank = 0; rank < grid.ranks; rank++) {
    let live = 0;
    for (let time = 0; time < grid.units; time++) {
      const item = grid.at(rank, time);
      if (item && item.type <= F1) peak = Math.max(peak, ++live);
      else if (item?.type === W) live--;
    }
  }
  return peak;
}

/** When each action is over; what it needs before it may begin. */
class Ends {
  readonly #ends: readonly Int32Array[];
  readonly #ranks: number;
  readonly #microbatches: number;
  readonly #gap: number;
  /** By rank, the ends of its B in order of time. */
  readonly #backwards: readonly number[][];

  /** `gap`: units between the last forward of a microbatch and its first backward. */
  constructor(ranks: number, microbatches: number, gap: number) {
    this.#ends = Array.from({ length: 5 }, () => new Int32Array(ranks * 2 * microbatches));
    this.#backwards = Array.from({ length: ranks }, () => []);
    this.#ranks = ranks;
    this.#microbatches = microbatches;
    this.#gap = gap;
  }

  earliest(rank: number, { type, microbatch }: Item): number {
    const of = (kind: number, r: number, j: number): number => this.#ends[kind]![r * 2 * this.#microbatches + j]!;
    let time = microbatch > 0 ? of(type, rank, microbatch - 1) : 0;
    if (type === W) return Math.max(time, this.#backwards[rank]![microbatch]!);
    // There on the way to the last rank, back to the first.
    const neighbour = type === F0 || type === B1 ? rank - 1 : rank + 1;
    if (neighbour >= 0 && neighbour < this.#ranks) time = Math.max(time, of(type, neighbour, microbatch));
    if (type > F0) time = Math.max(time, of(type - 1, rank, microbatch) + (type === B1 && rank === 0 ? this.#gap : 0));
    return time;
  }

  set(rank: number, { type, microbatch }: Item, end: number): void {
    this.#ends[type]![rank * 2 * this.#microbatches + microbatch] = end;
    if (type !== B1 && type !== B0) return;
    const all = this.#backwards[rank]!;
    let at = all.length;
    while (at > 0 && all[at - 1]! > end) at--;
    all.splice(at, 0, end);
  }
}

/** The same order, each action as early as that allows. */
function eager(grid: Grid, gap: number): Grid {
  const { ranks, microbatches, units } = grid;
  const out = new Grid(ranks, microbatches, units);
  const ends = new Ends(ranks, microbatches, gap);
  const free = new Int32Array(ranks);
  for (let time = 0; time < units; time++) {
    for (let rank = 0; rank < ranks; rank++) {
      const item = grid.at(rank, time);
      if (!item) continue;
      const start = Math.max(free[rank]!, ends.earliest(rank, item));
      out.put(rank, start, item.type, item.microbatch);
      ends.set(rank, item, start + 1);
      free[rank] = start + 1;
    }
  }
  return out;
}

/** What a rank keeps over time, as actions move; W run in what is free where the grid has none. */
class Live {
  readonly #cells: Int32Array;
  readonly #width: number;
  readonly #cap: number;
  readonly #weights: boolean;
  /** Before each unit of time: microbatches kept, W due. */
  readonly #kept: Int32Array;
  readonly #due: Int32Array;

  constructor(grid: Grid, rank: number, cap: number, weights: boolean) {
    this.#cells = grid.cells[rank]!;
    this.#width = 2 * grid.microbatches;
    this.#cap = cap;
    this.#weights = weights;
    this.#kept = new Int32Array(grid.units + 1);
    this.#due = new Int32Array(grid.units + 1);
    this.#follow(0, grid.units);
  }

  /** Moves an action to an earlier free unit; if the rank would keep too much, moves nothing and says when. */
  move(from: number, to: number): number | undefined {
    const cell = this.#cells[from]!;
    this.#cells[from] = 0;
    this.#cells[to] = cell;
    // With every W in the grid, what is kept does not depend on B.
    const type = Math.floor((cell - 1) / this.#width);
    if (this.#weights && (type === B1 || type === B0)) return undefined;
    const over = this.#follow(to, from);
    if (over === undefined) return undefined;
    this.#cells[from] = cell;
    this.#cells[to] = 0;
    this.#follow(to, over);
    return over;
  }

  /** Counts on from unit `from` until after `least` nothing changes any more; returns where it goes over the cap. */
  #follow(from: number, least: number): number | undefined {
    let [kept, due] = [this.#kept[from]!, this.#due[from]!];
    for (let time = from; time < this.#cells.length; time++) {
      const cell = this.#cells[time]!;
      if (cell === 0) {
        if (!this.#weights && due > 0) {
          kept--;
          due--;
        }
      } else {
        const type = Math.floor((cell - 1) / this.#width);
        if (type <= F1) kept++;
        else if (type === W) kept--;
        else if (!this.#weights) due++;
      }
      if (kept > this.#cap) return time;
      if (time >= least && this.#kept[time + 1] === kept && this.#due[time + 1] === due) return undefined;
      this.#kept[time + 1] = kept;
      this.#due[time + 1] = due;
    }
    return undefined;
  }
}

/**
 * Moves what is before the first B0 of rank 0 (with `weights`), and what is after its last F0, to the earliest units
 * that keep within `cap`.
 */
function reorder(grid: Grid, cap: number, weights: boolean, gap: number): Grid {
  const { ranks, microbatches, units } = grid;
  const live = Array.from({ length: ranks }, (_, rank) => new Live(grid, rank, cap, weights));
  const ends = new Ends(ranks, microbatches, gap);
  // By rank, units that are taken by what has been placed; what is still to be placed lies later.
  const placed = Array.from({ length: ranks }, () => new Uint8Array(units));
  let steadyAt = Infinity;
  let coolDownAt = Infinity;
  for (let time = 0; time < units; time++)
    for (let rank = 0; rank < ranks; rank++) {
      const item = grid.at(rank, time);
      if (!item) continue;
      if (rank === 0 && item.type === B0 && item.microbatch === 0) steadyAt = time;
      if (rank === 0 && item.type === F0 && item.microbatch === microbatches - 1) coolDownAt = time;
      const warmUp = time < steadyAt && steadyAt === Infinity;
      const moves = warmUp ? weights : time > Math.max(steadyAt, coolDownAt);
      let at = time;
      if (moves) {
        const taken = placed[rank]!;
        for (let earlier = ends.earliest(rank, item); earlier < time; earlier++) {
          if (taken[earlier]) continue;
          const over = live[rank]!.move(time, earlier);
          if (over === undefined) {
            at = earlier;
            break;
          }
          // A unit before that keeps it as long.
          if (weights) earlier = over;
        }
      }
      placed[rank]![at] = 1;
      ends.set(rank, item, at + 1);
    }
  return grid;
}

/**
 * The order of every rank's actions, W by microbatch apart for each chunk later: by rank [type, microbatch], where type
 * W stands for a W of the chunk whose turn it is. `gap`: units between the last forward of a microbatch and its first
 * backward that the block has and that must stay.
 */
export function squeeze(block: Block, microbatches: number, gap: number): Grid {
  const blocks = withWeights(repeated(block, microbatches));
  const cap = peakOf(blocks);
  const first = eager(reorder(blocks, cap, true, gap), gap);
  const bare = new Grid(first.ranks, microbatches, first.units);
  for (let rank = 0; rank < first.ranks; rank++)
    for (let time = 0; time < first.units; time++) {
      const item = first.at(rank, time);
      if (item && item.type < W) bare.put(rank, time, item.type, item.microbatch);
    }
  return withWeights(reorder(bare, cap, false, gap));
}
