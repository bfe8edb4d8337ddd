// Fair timing on a machine that is never quiet: the libraries take turns A B C, C B A, ... on one adapter, each turn as
// many runs as fill it, and a ratio is the median over the rounds of the ratio within a round. Slow ones (seconds a
// run) get one run per turn, and all get fewer rounds.

import { realWorld } from '../base/world.ts';
import { median } from './bench-report.ts';

export interface Contestant {
  run(times: number): Promise<void>;
}

export interface Pace {
  /** Most rounds. */
  readonly rounds: number;
  /** A turn of a fast library lasts about this long. */
  readonly turnMs: number;
  /** All rounds together should not last longer; one round is always taken. */
  readonly budgetMs: number;
}

const MAX_RUNS = 200;

export interface Times {
  /** Milliseconds of one run, one value per round. */
  readonly turns: readonly number[];
  /** Runs in a turn. */
  readonly runs: number;
}

/** `estimates`: milliseconds of one warm run of each. `checkpoint` is called before each turn and may throw to stop. */
export async function takeTurns(
  contestants: readonly Contestant[],
  estimates: readonly number[],
  pace: Pace,
  checkpoint?: () => void,
  now: () => number = realWorld.now,
): Promise<readonly Times[]> {
  const runs = estimates.map((ms) => Math.max(1, Math.min(MAX_RUNS, Math.round(pace.turnMs / ms) || 1)));
  const roundMs = estimates.reduce((sum, ms, i) => sum + ms * runs[i], 0);
  const rounds = Math.max(1, Math.min(pace.rounds, Math.round(pace.budgetMs / roundMs)));
  const turns = contestants.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    const order = [...contestants.keys()];
    for (const i of round % 2 ? order.toReversed() : order) {
      checkpoint?.();
      const start = now();
      await contestants[i].run(runs[i]);
      turns[i].push((now() - start) / runs[i]);
    }
  }
  return turns.map((own, i) => ({ turns: own, runs: runs[i] }));
}

/** How many times as long `other` takes as `own`: the median over the rounds. */
export function ratioOf(own: Times, other: Times): number {
  return median(own.turns.map((ms, round) => other.turns[round] / ms));
}

/** The factor that many ratios have in the middle; NaN of none. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
