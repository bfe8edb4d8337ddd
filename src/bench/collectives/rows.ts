// Rows of the report from measured turns.

import { median } from '../bench-report.ts';
import { bandwidths } from './catalogue.ts';
import { OWN } from './collectives-report.ts';
import type { CollectiveResult, Latency } from './collectives-report.ts';
import type { Measured, Turn } from './rounds.ts';

/** Bytes of the all-reduce whose latency is shown. */
export const LATENCY_BYTES = 4096;

/** Times of raw turns are those of the same rounds; `contestant` is the library unless told. */
export function rowOf({
  collective,
  ranks,
  bytes,
  library,
  factor,
  measured: { times, turns, warmWrong },
  contestant = library,
}: {
  collective: string;
  ranks: number;
  bytes: number;
  library: string;
  factor: number;
  measured: Measured;
  contestant?: string;
}): CollectiveResult {
  const own = turns[contestant];
  const medianMs = median(own.map(({ ms }) => ms));
  const { pipe, alike = pipe } = turns;
  // In a round: the bytes that cross a link in this time, against those of the pipe; with the same traffic only the
  // time differs.
  const share = (raw: readonly Turn[] | undefined, by: number): number | null =>
    raw === undefined ? null : median(raw.map(({ ms }, round) => (by * ms) / own[round].ms));
  return {
    collective,
    ranks,
    bytes,
    medianMs,
    ...bandwidths({ factor: () => factor }, ranks, bytes, medianMs),
    rawPipe:
      pipe === undefined ? 0 : bandwidths({ factor: () => 1 }, ranks, bytes, median(pipe.map(({ ms }) => ms))).busbw,
    wrong: own.reduce((sum, turn) => sum + turn.wrong, warmWrong[contestant]),
    library,
    rawRing:
      alike === undefined
        ? 0
        : bandwidths({ factor: () => factor }, ranks, bytes, median(alike.map(({ ms }) => ms))).busbw,
    ofPipe: share(pipe, factor),
    ofRing: share(alike, 1),
    minMs: Math.min(...own.map(({ ms }) => ms)),
    maxMs: Math.max(...own.map(({ ms }) => ms)),
    rounds: own.length,
    times,
  };
}

export function latencyOf(turns: Measured['turns'], ranks: number): Latency {
  const { trip, steps, [OWN]: own } = turns;
  return {
    bytes: LATENCY_BYTES,
    roundTripMs: median(trip.map(({ ms }) => ms)),
    allReduceMs: median(own.map(({ ms }) => ms)),
    ratio: median(own.map(({ ms }, round) => ms / ((ranks - 1) * trip[round].ms))),
    rawStepsMs: median(steps.map(({ ms }) => ms)),
    ofRawSteps: median(own.map(({ ms }, round) => ms / steps[round].ms)),
  };
}
