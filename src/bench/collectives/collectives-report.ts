// What a run of the collectives says: one row per collective, size and library, in MB/s (10^6 bytes per second), as
// JSON, as a table and in a few sentences.

import { geometricMean } from '../turns.ts';
import type { RawSetting } from './raw.ts';
import { sizeName } from './sizes.ts';

export const OWN = 'tabmesh';

export interface CollectiveResult {
  readonly collective: string;
  readonly ranks: number;
  /** Of the array, as nccl-tests count them. */
  readonly bytes: number;
  /** Of one call: the slowest rank of a round, the median over the rounds. */
  readonly medianMs: number;
  readonly algbw: number;
  readonly busbw: number;
  /** One bare data channel that sends as many bytes one way, in the same rounds; 0 for no bytes. */
  readonly rawPipe: number;
  /** Elements of all ranks and rounds that were not exactly right. */
  readonly wrong: number;
  /** 'tabmesh', 'peerjs', 'trystero' or 'simple-peer'. */
  readonly library: string;
  /**
   * busbw that bare channels reach with the same bytes between the same pairs of ranks, all at once, in the same
   * rounds; 0 for no bytes.
   */
  readonly rawRing: number;
  /** busbw / rawPipe and busbw / rawRing: medians over the rounds; null without bytes. */
  readonly ofPipe: number | null;
  readonly ofRing: number | null;
  readonly minMs: number;
  readonly maxMs: number;
  readonly rounds: number;
  /** Calls that followed each other in a round. */
  readonly times: number;
  /**
   * Rows of other libraries, and tabmesh's own among them: how many times as fast tabmesh was, the median over the
   * rounds; null for itself.
   */
  readonly ratio?: number | null;
}

export interface Latency {
  /** There and back over a bare channel. */
  readonly roundTripMs: number;
  readonly allReduceMs: number;
  /** allReduceMs / (2 (n - 1) half round trips): the median over the rounds. */
  readonly ratio: number;
  /**
   * Bare channels that move the bytes of its steps, one after the other, all ranks at once; and allReduceMs / that, the
   * median over the rounds.
   */
  readonly rawStepsMs: number;
  readonly ofRawSteps: number;
  readonly bytes: number;
}

export interface MissingLibrary {
  readonly library: string;
  readonly reason: string;
}

/** How bare channels are used: the fastest of those tried, for one pipe and for all ranks in a ring. */
export interface RawFound {
  readonly pipe: RawSetting;
  readonly ring: RawSetting;
  /**
   * MB/s one way of a channel that stays on the page, and of one in the worker, where tabmesh's are, in the same
   * rounds.
   */
  readonly onPage: number;
  readonly inWorker: number;
  /** MB/s: one way, and of each rank in the ring. */
  readonly tried: readonly (RawSetting & { readonly pipe: number; readonly ring: number })[];
}

export interface CollectivesMeasured {
  readonly ranks: number;
  /** What the links of tabmesh went over: 'webrtc worker', 'same browser', ... */
  readonly links: readonly string[];
  readonly raw: RawFound;
  readonly latency: Latency | null;
  readonly results: readonly CollectiveResult[];
  readonly missing: readonly MissingLibrary[];
}

export interface CollectivesReport extends CollectivesMeasured {
  readonly adapter: string;
  readonly browser: string;
  /** ISO 8601. */
  readonly date: string;
  /** How it ended; a run that did not come to its end has the rows until then. */
  readonly end: 'complete' | 'stopped' | 'failed';
  /** Why it failed. */
  readonly problem?: string;
}

/** What a page says of its run, as JSON, to a program that drives it. */
export type CollectivesEvent =
  | { readonly kind: 'status'; readonly text: string; readonly done: number; readonly total: number }
  | { readonly kind: 'rows'; readonly rows: readonly CollectiveResult[] }
  | { readonly kind: 'done'; readonly report: CollectivesReport }
  | { readonly kind: 'failed'; readonly text: string };

export const COLUMNS = [
  'collective',
  'size',
  'library',
  'ms',
  'algbw',
  'busbw',
  'raw pipe',
  'of pipe',
  'raw alike',
  'of alike',
  'ratio',
  'wrong',
] as const;
export const ALIGN = 'lrlrrrrrrrrr';

export function cellsOf({
  collective,
  bytes,
  library,
  medianMs,
  algbw,
  busbw,
  rawPipe,
  ofPipe,
  rawRing,
  ofRing,
  ratio,
  wrong,
}: CollectiveResult): string[] {
  const share = (value: number | null): string => (value === null ? '' : `${Math.round(100 * value)} %`);
  const rate = (value: number): string => (value === 0 ? '' : value.toFixed(value < 10 ? 2 : 1));
  return [
    collective,
    sizeName(bytes),
    library,
    medianMs.toFixed(medianMs < 10 ? 3 : 1),
    rate(algbw),
    rate(busbw),
    rate(rawPipe),
    share(ofPipe),
    rate(rawRing),
    share(ofRing),
    typeof ratio === 'number' ? `${ratio.toFixed(2)}x` : '',
    String(wrong),
  ];
}

/** Large enough that the bytes count and not the steps. */
const LARGE = 1024 * 1024 - 256;

/** What the run comes to, in sentences. */
export function summarise({ results, latency, ranks, missing, raw }: CollectivesMeasured): readonly string[] {
  const large = results.filter(
    ({ bytes, library, ofPipe, collective }) =>
      library === OWN &&
      bytes >= LARGE &&
      ofPipe !== null &&
      collective !== 'transfer' &&
      !collective.startsWith('gpu'),
  );
  const rates = `${raw.inWorker.toFixed(1)} MB/s; ${raw.onPage.toFixed(1)} if it stays on the page`;
  const lines: string[] = [
    `bare channel: ${describeRaw(raw.pipe)} one way (${rates}), ${describeRaw(raw.ring)} with all ${ranks} ranks sending`,
  ];
  if (large.length) {
    lines.push(
      `from 1 MiB on: busbw is ${spread(large.map(({ ofPipe }) => ofPipe!))} of one bare channel alone, and ${spread(large.map(({ ofRing }) => ofRing!))} of bare channels with the same traffic (geometric mean; least and most)`,
    );
  }
  if (latency) {
    const { bytes, allReduceMs, ratio, roundTripMs, rawStepsMs, ofRawSteps } = latency;
    lines.push(
      `latency: all-reduce of ${sizeName(bytes)} takes ${allReduceMs.toFixed(2)} ms, ${ratio.toFixed(2)} times 2(n - 1) halves of the bare round trip of ${roundTripMs.toFixed(2)} ms, ` +
        `and ${ofRawSteps.toFixed(2)} times its steps over bare channels, ${rawStepsMs.toFixed(2)} ms`,
    );
  }
  for (const library of new Set(results.filter(({ ratio }) => typeof ratio === 'number').map((row) => row.library))) {
    const rows = results.filter(
      (row) => row.library === library && typeof row.ratio === 'number' && row.bytes >= LARGE,
    );
    if (rows.length)
      lines.push(
        `tabmesh sends ${rows.map(({ ratio, bytes }) => `${ratio!.toFixed(2)}x as fast as ${library} at ${sizeName(bytes)}`).join(', ')}`,
      );
  }
  for (const { library, reason } of missing) lines.push(`no ${library}: ${reason}`);
  const wrong = results.reduce((sum, row) => sum + row.wrong, 0);
  lines.push(
    wrong === 0
      ? 'every element of every result was exactly right'
      : `${wrong} elements were wrong: ${results
          .filter((row) => row.wrong > 0)
          .map((row) => `${row.library} ${row.collective} at ${sizeName(row.bytes)}`)
          .join(', ')}`,
  );
  return lines;
}

function describeRaw({ frame, window }: RawSetting): string {
  return `messages of ${sizeName(frame)}, at most ${sizeName(window)} under way`;
}

function spread(shares: readonly number[]): string {
  const percent = (value: number): string => `${Math.round(100 * value)} %`;
  return `${percent(geometricMean(shares))} (${percent(Math.min(...shares))} to ${percent(Math.max(...shares))})`;
}
