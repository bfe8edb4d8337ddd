// The deadline of an operation: from its first unfinished message until none is left. Needed besides the link's
// deadline of one receive, because a ring of many short waits may take for ever, and because a peer that lives but does
// not call is silent to nobody. One timer for all operations of a rank, armed only while something is under way. The
// culprit is the rank that the oldest message waits for, or, where that rank is known to wait itself, the rank at the
// end of the chain (`blame`). A rank that takes its time on purpose (paused, compiling) is excused: as long as it is at
// the end of the chain, the clock of what waits for it starts anew at each look, eight of them per deadline. So does
// time in which this tab itself was frozen not count.

import { ConfigError, PeerError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';

/**
 * Milliseconds; each at least twice the one inside it, so that the innermost names the cause before an outer one gives
 * up. Infinity switches one off.
 */
export interface Deadlines {
  /** Silence of a peer: nothing at all came from it. Heartbeats come every second. */
  readonly silentMs: number;
  /** One receive from a peer that gives signs of life. */
  readonly receiveMs: number;
  /** All messages of one operation. */
  readonly operationMs: number;
}

export function checkNested({ silentMs, receiveMs, operationMs }: Deadlines): void {
  const steps: [string, number, string, number][] = [
    ['silence', silentMs, 'a receive', receiveMs],
    ['a receive', receiveMs, 'an operation', operationMs],
    ['silence', silentMs, 'an operation', operationMs],
  ];
  for (const [inner, innerMs, outer, outerMs] of steps) {
    if (outerMs < Infinity && innerMs < Infinity && !(outerMs >= 2 * innerMs))
      throw new ConfigError(
        'deadlines',
        `${outer} must be given at least twice the ${innerMs} ms of ${inner}, got ${outerMs} ms`,
      );
  }
}

interface Watched {
  readonly name: string;
  readonly kind: string;
  readonly seq: number;
  readonly peer: number;
  readonly since: number;
}

export interface OperationWatch {
  /**
   * A message to or from rank `peer` is under way. A send waits as well: a large one until its receiver asks for it.
   */
  started(name: string, kind: string, seq: number, peer: number): number;
  ended(id: number): void;
  /** Rank that this rank has waited for longest, or undefined when it waits for nobody. */
  waitsFor(): number | undefined;
  stop(): void;
}

export interface OperationWatchOptions {
  readonly world: World;
  readonly self: number;
  readonly operationMs: number;
  /** Follows from the rank that is waited for to the one at fault. */
  readonly blame?: (peer: number) => number;
  /** True for a rank that has said that it takes its time. */
  readonly excused?: (rank: number) => boolean;
  readonly expired: (error: PeerError) => void;
}

const LOOKS = 8;

export function createOperationWatch({
  world,
  self,
  operationMs,
  blame = (peer) => peer,
  excused,
  expired,
}: OperationWatchOptions): OperationWatch {
  // In order of start, as a Map keeps it; so the first is the oldest.
  const running = new Map<number, Watched>();
  /** When the first message of an operation that still has one under way began. */
  const since = new Map<string, { at: number; open: number }>();
  const lookMs = operationMs / LOOKS;
  let next = 0;
  let due = 0;
  let cancel: (() => void) | undefined;

  const keyOf = (watched: Watched): string => `${watched.name} ${watched.kind} ${watched.seq}`;
  const oldestOf = (key: string): Watched => [...running.values()].find((watched) => keyOf(watched) === key)!;

  function arm(): void {
    if (operationMs === Infinity || cancel || running.size === 0) return;
    const first = Math.min(...Array.from(since.values(), ({ at }) => at)) + operationMs;
    due = Math.max(world.now(), excused ? Math.min(first, world.now() + lookMs) : first);
    cancel = world.timer(due - world.now(), check);
  }

  function check(): void {
    cancel = undefined;
    const now = world.now();
    // A timer that comes so late was held up with this whole tab; what the peers sent meanwhile is still in our queues,
    // so give it a look to show.
    const frozenMs = now - due > lookMs ? now - due + lookMs : 0;
    for (const [key, operation] of since) {
      operation.at = Math.min(now, operation.at + frozenMs);
      if (excused?.(blame(oldestOf(key).peer))) operation.at = now;
    }
    const late = [...since].find(([, { at }]) => now - at >= operationMs);
    if (!late) {
      arm();
      return;
    }
    const first = oldestOf(late[0]);
    const culprit = blame(first.peer);
    const chain =
      culprit === first.peer ? '' : ` (rank ${self} waits for rank ${first.peer}, which waits for others in turn)`;
    expired(
      new PeerError(
        culprit,
        'slow',
        `${first.kind} ${first.seq} of group ${first.name} did not end within ${operationMs} ms${chain}`,
      ),
    );
  }

  return {
    started(name, kind, seq, peer) {
      const id = next++;
      const watched: Watched = { name, kind, seq, peer, since: world.now() };
      running.set(id, watched);
      const key = keyOf(watched);
      const known = since.get(key);
      if (known) known.open++;
      else since.set(key, { at: watched.since, open: 1 });
      arm();
      return id;
    },
    ended(id) {
      const watched = running.get(id);
      if (!watched) return;
      running.delete(id);
      const key = keyOf(watched);
      const known = since.get(key)!;
      if (--known.open === 0) since.delete(key);
      if (running.size === 0) {
        cancel?.();
        cancel = undefined;
      }
    },
    waitsFor() {
      for (const { peer } of running.values()) return peer;
      return undefined;
    },
    stop() {
      cancel?.();
      cancel = undefined;
      running.clear();
      since.clear();
    },
  };
}

/**
 * Whom to blame when `peer` keeps `self` waiting: the rank at the end of the chain of who waits for whom, as heartbeats
 * told it. A rank that waits for itself takes its time on purpose, and is an end. Ranks that wait for each other in a
 * circle have lost a message between them: the first of the circle that we come to is named, or, where the circle comes
 * back to ourselves, the peer.
 */
export function culpritOf(peer: number, self: number, waitsFor: (rank: number) => number | undefined): number {
  const seen = new Set([self]);
  let at = peer;
  for (;;) {
    if (seen.has(at)) return at === self ? peer : at;
    seen.add(at);
    const next = waitsFor(at);
    if (next === undefined || next === at) return at;
    at = next;
  }
}
