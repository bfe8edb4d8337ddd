// Nobody starts before everybody is connected to everybody and has its worker ready: the coordinator's pure state
// machine for one view. Members report their links; a pair counts as open when both ends say so for the same attempt. A
// pair that fails, or is not open at the deadline, is connected anew at most `maxAttempts` times, and every wait has a
// reason for people. Reports may come late, twice or in any order: only a later attempt or a better state changes
// anything. Pairs are numbered low * size + high. Cost: O(size^2) per report.

import type { LinkState, Pair, Report } from './messages.ts';

export interface Barrier {
  readonly view: number;
  readonly size: number;
  readonly names: readonly string[];
  readonly maxAttempts: number;
  /** attempt[low * size + high]: the attempt that counts now. */
  readonly attempts: readonly number[];
  /** Deadlines passed while only workers were missing. */
  readonly patience: number;
  readonly reports: readonly (Report | undefined)[];
  readonly outcome: 'waiting' | 'started' | 'failed';
}

export type BarrierEvent =
  | { readonly type: 'report'; readonly view: number; readonly report: Report }
  | { readonly type: 'deadline'; readonly view: number }
  | { readonly type: 'left'; readonly rank: number };

export type BarrierAction =
  | { readonly type: 'start' }
  | { readonly type: 'retry'; readonly pairs: readonly Pair[] }
  /** `again`: the rest could form another view. */
  | { readonly type: 'fail'; readonly reason: string; readonly again: boolean }
  | { readonly type: 'status'; readonly text: string };

export function newBarrier(view: number, names: readonly string[], maxAttempts = 3): Barrier {
  const size = names.length;
  return {
    view,
    size,
    names,
    maxAttempts,
    attempts: new Array<number>(size * size).fill(1),
    patience: 0,
    reports: new Array<Report | undefined>(size).fill(undefined),
    outcome: 'waiting',
  };
}

export function stepBarrier(
  barrier: Barrier,
  event: BarrierEvent,
): { state: Barrier; actions: readonly BarrierAction[] } {
  if (barrier.outcome !== 'waiting') return { state: barrier, actions: [] };
  if (event.type === 'left') {
    if (event.rank < 0 || event.rank >= barrier.size) return { state: barrier, actions: [] };
    return fail(barrier, `${title(barrier, event.rank)} left while the tabs were connecting`, true);
  }
  if (event.view !== barrier.view) return { state: barrier, actions: [] };
  if (event.type === 'deadline') return onDeadline(barrier);

  const { report } = event;
  if (report.rank >= barrier.size || report.links.length !== barrier.size) return { state: barrier, actions: [] };
  const merged = mergeReport(barrier.reports[report.rank], report);
  const state: Barrier = {
    ...barrier,
    reports: barrier.reports.map((known, rank) => (rank === report.rank ? merged : known)),
  };
  const failed = pairs(state).filter(([low, high]) => pairFailure(state, low, high) !== undefined);
  if (failed.length > 0) return retry(state, failed);
  if (missing(state).length === 0) return { state: { ...state, outcome: 'started' }, actions: [{ type: 'start' }] };
  return { state, actions: [{ type: 'status', text: progress(state) }] };
}

/** What is still missing, one reason for each pair or worker. */
export function missing(barrier: Barrier): readonly string[] {
  const reasons: string[] = [];
  barrier.reports.forEach((report, rank) => {
    if (!report) reasons.push(`${title(barrier, rank)}: no report yet`);
    else if (!report.ready) reasons.push(`${title(barrier, rank)}: ${report.note || 'its worker is not ready'}`);
  });
  for (const [low, high] of pairs(barrier)) {
    if (!pairOpen(barrier, low, high))
      reasons.push(`${title(barrier, low)} <-> ${title(barrier, high)}: ${pairReason(barrier, low, high)}`);
  }
  return reasons;
}

/** 'connecting: 4 of 6 pairs, 3 of 4 workers ready'; alone there is nobody to connect to. */
export function progress(barrier: Barrier): string {
  if (barrier.size === 1) return 'getting the worker ready';
  const all = pairs(barrier);
  const open = all.filter(([low, high]) => pairOpen(barrier, low, high)).length;
  const ready = barrier.reports.filter((report) => report?.ready).length;
  return `connecting: ${open} of ${all.length} pairs, ${ready} of ${barrier.size} workers ready`;
}

function onDeadline(barrier: Barrier): { state: Barrier; actions: readonly BarrierAction[] } {
  const closed = pairs(barrier).filter(([low, high]) => !pairOpen(barrier, low, high));
  const silent = barrier.reports.some((report) => !report?.ready);
  if (silent || closed.length === 0) {
    // A worker that compiles for long holds up its links as well: do not blame them yet.
    const patience = barrier.patience + 1;
    if (patience >= barrier.maxAttempts)
      return fail(barrier, `not everybody was ready in time: ${missing(barrier).join('; ')}`, false);
    return {
      state: { ...barrier, patience },
      actions: [
        { type: 'status', text: `waiting (${patience + 1} of ${barrier.maxAttempts}): ${missing(barrier).join('; ')}` },
      ],
    };
  }
  return retry(barrier, closed);
}

function retry(
  barrier: Barrier,
  again: readonly (readonly [number, number])[],
): { state: Barrier; actions: readonly BarrierAction[] } {
  const exhausted = again.filter(([low, high]) => attemptOf(barrier, low, high) >= barrier.maxAttempts);
  if (exhausted.length > 0) {
    const explained = exhausted.some(([low, high]) => notes(barrier, low, high).length > 0);
    const reasons = exhausted.map(
      ([low, high]) => `${title(barrier, low)} <-> ${title(barrier, high)}: ${pairReason(barrier, low, high)}`,
    );
    return fail(
      barrier,
      `${barrier.maxAttempts} attempts to connect failed: ${reasons.join('; ')}${explained ? '' : '; if the tabs are in different networks, set a TURN server'}`,
      false,
    );
  }
  const attempts = barrier.attempts.slice();
  const list: Pair[] = [];
  const reasons: string[] = [];
  for (const [low, high] of again) {
    const attempt = attemptOf(barrier, low, high) + 1;
    reasons.push(
      `${title(barrier, low)} <-> ${title(barrier, high)}: ${pairReason(barrier, low, high)}; attempt ${attempt} of ${barrier.maxAttempts}`,
    );
    attempts[low * barrier.size + high] = attempt;
    list.push({ low, high, attempt });
  }
  return {
    state: { ...barrier, attempts },
    actions: [
      { type: 'retry', pairs: list },
      { type: 'status', text: `connecting again: ${reasons.join('; ')}` },
    ],
  };
}

function fail(barrier: Barrier, reason: string, again: boolean): { state: Barrier; actions: readonly BarrierAction[] } {
  return { state: { ...barrier, outcome: 'failed' }, actions: [{ type: 'fail', reason, again }] };
}

/**
 * Of two states of one link, the later attempt; within an attempt connecting < open < failed. A barrier that took
 * `open` back for `connecting` would depend on the order of reports.
 */
function mergeLink(a: LinkState | undefined, b: LinkState | undefined): LinkState | undefined {
  if (!a || !b) return a ?? b;
  if (a.attempt !== b.attempt) return a.attempt > b.attempt ? a : b;
  const order = { connecting: 0, open: 1, failed: 2 };
  // Of two notes about one attempt the later one counts.
  return order[b.state] > order[a.state] || (a.state === b.state && b.state !== 'open' && b.note !== undefined) ? b : a;
}

function mergeReport(known: Report | undefined, report: Report): Report {
  if (!known) return report;
  const ready = known.ready || report.ready;
  return {
    rank: report.rank,
    ready,
    note: ready ? '' : report.note,
    links: report.links.map((link, peer) => mergeLink(known.links[peer], link)),
  };
}

function pairs(barrier: Barrier): (readonly [number, number])[] {
  const list: (readonly [number, number])[] = [];
  for (let low = 0; low < barrier.size; low++)
    for (let high = low + 1; high < barrier.size; high++) list.push([low, high]);
  return list;
}

function attemptOf(barrier: Barrier, low: number, high: number): number {
  return barrier.attempts[low * barrier.size + high]!;
}

/**
 * What both ends say of the attempt that counts; an end may be ahead of us by an attempt that the initiator began
 * itself.
 */
function ends(barrier: Barrier, low: number, high: number): readonly (LinkState | undefined)[] {
  const attempt = attemptOf(barrier, low, high);
  return [barrier.reports[low]?.links[high], barrier.reports[high]?.links[low]].map((link) =>
    link && link.attempt >= attempt ? link : undefined,
  );
}

function pairOpen(barrier: Barrier, low: number, high: number): boolean {
  const [a, b] = ends(barrier, low, high);
  return a?.state === 'open' && b?.state === 'open' && a.attempt === b.attempt;
}

function pairFailure(barrier: Barrier, low: number, high: number): string | undefined {
  for (const end of ends(barrier, low, high)) if (end?.state === 'failed') return end.reason;
  return undefined;
}

function pairReason(barrier: Barrier, low: number, high: number): string {
  const said = notes(barrier, low, high);
  if (said.length > 0) return said.join('; ');
  const failure = pairFailure(barrier, low, high);
  if (failure !== undefined) return failure;
  const [a, b] = ends(barrier, low, high);
  if (a?.state === 'open') return `only rank ${low} sees the connection`;
  if (b?.state === 'open') return `only rank ${high} sees the connection`;
  return 'no connection in time';
}

/** What both ends say once the connection doctor of one of them has a verdict; one text when they agree. */
function notes(barrier: Barrier, low: number, high: number): readonly string[] {
  const both = ends(barrier, low, high);
  if (!both.some((link) => link && link.state !== 'open' && link.note !== undefined)) return [];
  const [a, b] = both.map((link) => {
    if (link?.state !== 'failed') return link?.state === 'connecting' ? link.note : undefined;
    return link.note === undefined ? link.reason : `${link.reason.replace(/\.$/, '')}: ${link.note}`;
  });
  if (a && b && a !== b) return [`rank ${low} sees: ${a}`, `rank ${high} sees: ${b}`];
  return a || b ? [(a || b)!] : [];
}

function title(barrier: Barrier, rank: number): string {
  return `rank ${rank} (${barrier.names[rank]})`;
}
