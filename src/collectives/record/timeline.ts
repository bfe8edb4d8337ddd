// One timeline from the flight records of several ranks: each operation with what every member of its group did, the
// messages between two ranks that are under way, and the first rank that diverged. A pure function.
// Divergence, in this order of certainty: mismatch (a rank called something else), missing (a rank did not call what
// the others called), stalled (all called, and the chain of who waits for whom ends at a rank that waits for nobody).
// Of several the one that began longest before its rank's dump comes first: durations can be compared between ranks,
// clocks cannot. Source: parallelism.md section 14 (C4D), PyTorch's flight recorder.

import type { FlightDump, FlightRecord } from './flight-recorder.ts';

/** What one rank did in one operation. */
export interface RankCall {
  readonly rank: number;
  readonly state: 'ended' | 'waiting' | 'failed' | 'not called' | 'no record';
  readonly call: string;
  readonly waitsFor: number;
  readonly ageMs: number;
  readonly tookMs: number;
}

export interface TimelineEntry {
  readonly group: string;
  readonly seq: number;
  readonly kind: string;
  readonly steps: readonly RankCall[];
}

export interface Divergence {
  readonly kind: 'mismatch' | 'missing' | 'stalled';
  readonly rank: number;
  readonly group: string;
  readonly seq: number;
  readonly what: string;
}

/** A message that is numbered by its two ranks or by the caller, and has not ended. */
export interface Passage {
  readonly rank: number;
  readonly group: string;
  readonly kind: string;
  readonly seq: number;
  readonly waitsFor: number;
  readonly ageMs: number;
}

export interface Timeline {
  readonly passages: readonly Passage[];
  readonly entries: readonly TimelineEntry[];
  readonly diverged: Divergence | undefined;
  readonly reasons: readonly { readonly rank: number; readonly reason: string }[];
}

interface GroupView {
  readonly name: string;
  readonly ranks: readonly number[];
  readonly id: number;
}

export function mergeTimeline(dumps: readonly FlightDump[]): Timeline {
  const entries: TimelineEntry[] = [];
  for (const group of groupsOf(dumps)) entries.push(...entriesOf(group, dumps));
  const passages = dumps.flatMap(passagesOf);
  const found = entries.map(divergenceOf).filter((divergence) => divergence !== undefined);
  const order = { mismatch: 0, missing: 1, stalled: 2 } as const;
  found.sort((a, b) => order[a.divergence.kind] - order[b.divergence.kind] || b.ageMs - a.ageMs);
  return {
    entries,
    passages,
    diverged: found[0]?.divergence ?? heldUp(passages),
    reasons: dumps.map(({ rank, reason }) => ({ rank, reason })),
  };
}

function passagesOf({ rank, atMs, groups, records }: FlightDump): Passage[] {
  return records
    .filter(
      ({ point, sends, sendsEnded, receives, receivesEnded }) =>
        point && (sendsEnded < sends || receivesEnded < receives),
    )
    .map(({ groupId, kind, seq, waitsFor, startMs }) => ({
      rank,
      group: groups.find(({ id }) => id === groupId)?.name ?? String(groupId),
      kind,
      seq,
      waitsFor,
      ageMs: atMs - startMs,
    }));
}

/** The end of the chain of messages that wait for each other, where no collective tells more. */
function heldUp(passages: readonly Passage[]): Divergence | undefined {
  const waiting = passages.filter(({ waitsFor }) => waitsFor >= 0).sort((a, b) => b.ageMs - a.ageMs);
  if (waiting.length === 0) return undefined;
  const seen: Passage[] = [];
  let at: Passage | undefined = waiting[0];
  while (at && !seen.includes(at)) {
    seen.push(at);
    const next: number = at.waitsFor;
    at = waiting.find(({ rank }) => rank === next);
  }
  const { waitsFor: rank, group, seq, kind } = seen.at(-1)!;
  return {
    kind: 'stalled',
    rank,
    group,
    seq,
    what: `holds up ${seen.map((passage) => `rank ${passage.rank}`).join(', ')} in ${kind}`,
  };
}

/** Groups of the same id with other members are different groups (the meshes of several coordinates). */
function groupsOf(dumps: readonly FlightDump[]): GroupView[] {
  const groups = new Map<string, GroupView>();
  for (const { groups: known } of dumps)
    for (const group of known) groups.set(`${group.id} ${group.ranks.join(',')}`, group);
  return [...groups.values()];
}

function entriesOf({ id, name, ranks }: GroupView, dumps: readonly FlightDump[]): TimelineEntry[] {
  const members = ranks.map((rank) => {
    const dump = dumps.find(
      (each) =>
        each.rank === rank && each.groups.some((group) => group.id === id && group.ranks.join() === ranks.join()),
    );
    const own = new Map<number, FlightRecord>();
    for (const record of dump?.records ?? []) if (record.groupId === id && !record.point) own.set(record.seq, record);
    return { rank, dump, own, first: own.size > 0 ? Math.min(...own.keys()) : -1 };
  });
  const seqs = [...new Set(members.flatMap(({ own }) => [...own.keys()]))].sort((a, b) => a - b);
  return seqs.map((seq) => {
    const steps = members.map(({ rank, dump, own, first }): RankCall => {
      const record = own.get(seq);
      // Below the first that it has a record of, they were overwritten; one between those was passed over, because
      // operations may start in another order than that of their numbers.
      if (!record || !dump)
        return {
          rank,
          state: dump && seq > first ? 'not called' : 'no record',
          call: '',
          waitsFor: elsewhere(dump),
          ageMs: 0,
          tookMs: 0,
        };
      const pending = record.receivesEnded < record.receives || record.sendsEnded < record.sends;
      return {
        rank,
        state: pending ? (record.failed && record.waitsFor < 0 ? 'failed' : 'waiting') : 'ended',
        call: `${record.kind}${record.call ? ` ${record.call}` : ''}`,
        waitsFor: record.waitsFor,
        ageMs: dump.atMs - record.startMs,
        tookMs: record.endMs - record.startMs,
      };
    });
    return { group: name, seq, kind: steps.find(({ call }) => call)!.call.split(' ')[0], steps };
  });
}

/**
 * Whom a rank waits for in any operation, also between two ranks alone: then it cannot call the next, and somebody else
 * holds it up.
 */
function elsewhere(dump: FlightDump | undefined): number {
  return dump?.records.find(({ waitsFor }) => waitsFor >= 0)?.waitsFor ?? -1;
}

function divergenceOf({ group, seq, steps }: TimelineEntry): { divergence: Divergence; ageMs: number } | undefined {
  const called = steps.filter(({ call }) => call !== '');
  const ageMs = Math.max(...called.map((step) => step.ageMs));
  const found = (kind: Divergence['kind'], rank: number, what: string) => ({
    divergence: { kind, rank, group, seq, what },
    ageMs,
  });
  const counts = new Map<string, number>();
  for (const { call } of called) counts.set(call, (counts.get(call) ?? 0) + 1);
  if (counts.size > 1) {
    const usual = [...counts].sort((a, b) => b[1] - a[1])[0][0];
    const odd = called.find(({ call }) => call !== usual)!;
    return found('mismatch', odd.rank, `called ${odd.call}, ${counts.get(usual)} of ${called.length} called ${usual}`);
  }
  const absent = steps.filter(({ state }) => state === 'not called');
  const missing = absent.find(({ waitsFor }) => waitsFor < 0) ?? absent[0];
  if (missing && called.some(({ state }) => state !== 'ended'))
    return found(
      'missing',
      missing.rank,
      `did not call ${called[0].call}, which ${called.length} of ${steps.length} called`,
    );
  const waiting = steps.find(({ state, waitsFor }) => state === 'waiting' && waitsFor >= 0);
  if (!waiting) return undefined;
  const seen = new Set<number>();
  let rank = waiting.rank;
  for (;;) {
    const step = steps.find((each) => each.rank === rank);
    if (seen.has(rank) || !step || step.state !== 'waiting' || step.waitsFor < 0) break;
    seen.add(rank);
    rank = step.waitsFor;
  }
  return found('stalled', rank, `holds up ${[...seen].map((each) => `rank ${each}`).join(', ')} in ${waiting.call}`);
}

/** The timeline for people: runs of operations that ended everywhere in one line, then each that did not. */
export function formatTimeline({ entries, passages, diverged, reasons }: Timeline): string {
  const lines = reasons.map(({ rank, reason }) => `rank ${rank}: ${reason}`);
  let run: TimelineEntry[] = [];
  const flush = (): void => {
    if (run.length > 0)
      lines.push(
        `${run[0].group} ${run[0].seq}${run.length > 1 ? ` to ${run.at(-1)!.seq}` : ''}: ${run.length === 1 ? 'ended' : `${run.length} operations ended`} on all ranks`,
      );
    run = [];
  };
  for (const entry of entries) {
    if (run.length > 0 && run[0].group !== entry.group) flush();
    if (entry.steps.every(({ state }) => state === 'ended' || state === 'no record')) {
      run.push(entry);
      continue;
    }
    flush();
    lines.push(`${entry.group} ${entry.seq}: ${entry.steps.map(formatRankCall).join(' | ')}`);
  }
  flush();
  for (const { rank, group, kind, seq, waitsFor, ageMs } of passages)
    lines.push(
      `${group} ${seq}: ${rank} ${kind} ${waitsFor >= 0 ? `waiting for ${waitsFor}` : 'sending'} since ${Math.round(ageMs)} ms`,
    );
  if (diverged)
    lines.push(
      `first to diverge: rank ${diverged.rank} (${diverged.kind}) in ${diverged.group} ${diverged.seq}: it ${diverged.what}`,
    );
  return lines.join('\n');
}

function formatRankCall({ rank, state, call, waitsFor, ageMs, tookMs }: RankCall): string {
  if (state === 'not called' || state === 'no record')
    return `${rank} ${state}${waitsFor >= 0 ? ` (it waits for ${waitsFor} elsewhere)` : ''}`;
  const what =
    state === 'ended'
      ? `ended in ${Math.round(tookMs)} ms`
      : `${state}${waitsFor >= 0 ? ` for ${waitsFor}` : ''} since ${Math.round(ageMs)} ms`;
  return `${rank} ${call} ${what}`;
}
