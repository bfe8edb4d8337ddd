// Turns of contestants: each has one in a round, forwards and backwards by turns, so that a busy machine is as hard on
// all of them.

import { median } from '../bench-report.ts';

/** A row takes about as long, if it is free to choose. */
const ROW_MS = 4000;
/** Calls in a round should last about as long: timers tick in tenths of a millisecond. */
const TURN_MS = 40;
const MOST_TIMES = 50;
/** A row whose round takes longer is not warmed up: its last smaller size did that. */
const WARM_MS = 1000;

/** Of one contestant in one round: milliseconds of one call on the slowest rank, and wrong elements of all. */
export interface Turn {
  readonly ms: number;
  readonly wrong: number;
}
export interface Contestant {
  readonly name: string;
  run(times: number, salt: number): Promise<Turn>;
}
export interface Measured {
  readonly times: number;
  /** By contestant, in the order of the rounds. */
  readonly turns: Readonly<Record<string, readonly Turn[]>>;
  /** Wrong elements of the warm-up. */
  readonly warmWrong: Readonly<Record<string, number>>;
}

export class Rounds {
  readonly #fixed: number | undefined;
  #salt = 0;
  /** What a round of one call of each took in the last row of a name. */
  readonly #paces = new Map<string, { readonly bytes: number; readonly roundMs: number }>();

  /** `fixed`: rounds of every row; without, as many as fit into a few seconds, 2 to 5. */
  constructor(fixed: number | undefined) {
    this.#fixed = fixed;
  }

  /** Other values for every turn, or an old result would pass for a new one. */
  nextSalt(): number {
    return ++this.#salt;
  }

  /**
   * A warm-up of each, then rounds. A row that will take long by what its last smaller size took (`row`) has been
   * warmed up by that.
   */
  async of(
    contestants: readonly Contestant[],
    row: { readonly name: string; readonly bytes: number },
    mostTimes = MOST_TIMES,
  ): Promise<Measured> {
    const warmWrong: Record<string, number> = Object.fromEntries(contestants.map(({ name }) => [name, 0]));
    const last = this.#paces.get(row.name);
    let roundMs = last && last.bytes > 0 ? (last.roundMs * row.bytes) / last.bytes : 0;
    let slowest = roundMs;
    if (roundMs < WARM_MS) {
      slowest = roundMs = 0;
      for (const { name, run } of contestants) {
        const { ms, wrong } = await run(1, this.nextSalt());
        warmWrong[name] = wrong;
        slowest = Math.max(slowest, ms);
        roundMs += Math.max(ms, TURN_MS);
      }
    }
    const times = Math.max(1, Math.min(mostTimes, Math.round(TURN_MS / Math.max(slowest, 0.01))));
    const rounds = this.#fixed ?? Math.max(2, Math.min(5, Math.round(ROW_MS / roundMs)));
    const turns: Record<string, Turn[]> = Object.fromEntries(contestants.map(({ name }) => [name, []]));
    for (let round = 0; round < rounds; round++) {
      for (const { name, run } of round % 2 ? contestants.toReversed() : contestants)
        turns[name].push(await run(times, this.nextSalt()));
    }
    // Of one call of each, whatever the turns were filled with.
    this.#paces.set(row.name, {
      bytes: row.bytes,
      roundMs: Object.values(turns).reduce((sum, own) => sum + median(own.map(({ ms }) => ms)), 0),
    });
    return { times, turns, warmWrong };
  }
}
