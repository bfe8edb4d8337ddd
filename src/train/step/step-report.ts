// What a rank tells all others at the end of a step, before anything is updated: its part of loss, tokens and squared
// norm, its wishes, and what was not finite. Every rank sees all reports and so comes to the same decision. One
// all-gather of a few words; nothing is added on the way, so a NaN of one rank cannot swallow the wish of another, and
// counts are whole up to 2^53.

import { allGather } from '../../collectives/all-gather.ts';
import type { Group } from '../../collectives/group.ts';
import type { FirstValue } from '../../collectives/record/value-watch.ts';
import { BINS_KEPT } from '../../../shaders/optimizer/square-bins.ts';
import type { Requests } from './requests.ts';
import type { SquareSum } from './square-sum.ts';

export interface StepReport {
  readonly lossSum: number;
  readonly tokens: number;
  readonly squares: SquareSum;
  /** Bits of the largest |gradient| that this rank owns; 0x7f800000 and more is infinity or NaN. */
  readonly most: number;
  /** A bound of |m| on this rank. */
  readonly moment: number;
  /** An earlier update left the bounds in which the next one is safe. */
  readonly beyond: boolean;
  /** The first value that was not finite here. */
  readonly first: FirstValue | undefined;
  readonly requests: Requests;
  /**
   * This rank's device has nothing left to check, measure or compile. When that is true of all, all swap to what is
   * better.
   */
  readonly settled: boolean;
}

/** Words of a report. */
export const REPORT_WORDS = 2 * (3 + BINS_KEPT) + 6 + BINS_KEPT;
const REQUESTS = ['stop', 'save', 'sample', 'pause'] as const;
const FLAGS = [...REQUESTS, 'beyond', 'settled'] as const;

function encode(report: StepReport): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(REPORT_WORDS);
  const view = new DataView(words.buffer);
  const { first, squares } = report;
  let at = 0;
  const u32 = (value: number): void => {
    view.setUint32(at, value, true);
    at += 4;
  };
  const f64 = (value: number): void => {
    view.setFloat64(at, value, true);
    at += 8;
  };
  [report.lossSum, report.tokens, report.moment, ...squares.whole].forEach(f64);
  [squares.top, ...squares.fraction, report.most].forEach(u32);
  const flags = { ...report.requests, beyond: report.beyond, settled: report.settled };
  u32(FLAGS.reduce((bits, flag, i) => bits | (Number(flags[flag] ?? false) << i), 0));
  [first ? 1 : 0, first?.order ?? 0, first?.from === undefined ? 0 : first.from + 1].forEach(u32);
  return words;
}

function decode(words: Uint32Array): StepReport {
  const view = new DataView(words.buffer, words.byteOffset, words.byteLength);
  let at = 0;
  const u32 = (): number => view.getUint32((at += 4) - 4, true);
  const f64 = (): number => view.getFloat64((at += 8) - 8, true);
  const list = (read: () => number): number[] => Array.from({ length: BINS_KEPT }, read);
  const [lossSum, tokens, moment] = [f64(), f64(), f64()];
  const whole = list(f64);
  const [top, fraction, most, flags] = [u32(), list(u32), u32(), u32()];
  const [found, order, from] = [u32(), u32(), u32()];
  const has = (flag: (typeof FLAGS)[number]): boolean => ((flags >> FLAGS.indexOf(flag)) & 1) === 1;
  return {
    lossSum,
    tokens,
    moment,
    squares: { top, whole, fraction },
    most,
    beyond: has('beyond'),
    settled: has('settled'),
    requests: { stop: has('stop'), save: has('save'), sample: has('sample'), pause: has('pause') },
    first: found ? { order, ...(from ? { from: from - 1 } : {}) } : undefined,
  };
}

/** The reports of all ranks, in their order. */
export async function shareReports(world: Group, own: StepReport): Promise<readonly StepReport[]> {
  const all = new Uint32Array(REPORT_WORDS * world.size);
  await allGather(
    world,
    encode(own),
    Array.from({ length: world.size + 1 }, (_, rank) => rank * REPORT_WORDS),
    all,
  );
  return Array.from({ length: world.size }, (_, rank) =>
    decode(all.subarray(rank * REPORT_WORDS, (rank + 1) * REPORT_WORDS)),
  );
}
