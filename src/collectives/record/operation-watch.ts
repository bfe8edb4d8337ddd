// The deadline of an operation: from its first unfinished message until none is left. Needed besides the link's deadline of one receive, because a ring of many
// short waits may take for ever, and because a peer that lives but does not call is silent to nobody.
// One timer for all operations of a rank, armed only while something is under way. The culprit is the rank that the oldest message waits for, or, where
// that rank is known to wait itself, the rank at the end of the chain (`blame`).

import { ConfigError, PeerError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';

/** Milliseconds; each at least twice the one inside it, so that the innermost names the cause before an outer one gives up. Infinity switches one off. */
export interface Deadlines {
  /** Silence of a peer: nothing at all came from it. Heartbeats come every second. */
  readonly silentMs: number;
  /** One receive from a peer that gives signs of life. */
  readonly receiveMs: number;
  /** All messages of one operation. */
  readonly operationMs: number;
}

export function checkNested({ silentMs, receiveMs, operationMs }: Deadlines): void {
  const steps: [string, number, string, number][] = [['silence', silentMs, 'a receive', receiveMs], ['a receive', receiveMs, 'an operation', operationMs], ['silence', silentMs, 'an operation', operationMs]];
  for (const [inner, innerMs, outer, outerMs] of steps) {
    if (outerMs < Infinity && innerMs < Infinity && !(outerMs >= 2 * innerMs)) throw new ConfigError('deadlines', `${outer} must be given at least twice the ${innerMs} ms of ${inner}, got ${outerMs} ms`);
  }
}

interface Watched { readonly name: string; readonly kind: string; readonly seq: number; readonly peer: number; readonly since: number }

export interface OperationWatch {
  /** A message to or from rank `peer` is under way. A send waits as well: a large one until its receiver asks for it. */
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
  readonly expired: (error: PeerError) => void;
}

export function createOperationWatch({ world, self, operationMs, blame = (peer) => peer, expired }: OperationWatchOptions): OperationWatch {
  // In order of start, as a Map keeps it; so the first is the oldest.
  const running = new Map<number, Watched>();
  /** When the first message of an operation that still has one under way began. */
  const since = new Map<string, { at: number; open: number }>();
  let next = 0;
  let cancel: (() => void) | undefined;

  const keyOf = (watched: Watched): string => `${watched.name} ${watched.kind} ${watched.seq}`;

  function arm(): void {
    if (operationMs === Infinity || cancel || running.size === 0) return;
    const [oldest] = since.values();
    cancel = world.timer(Math.max(0, oldest.at + operationMs - world.now()), check);
  }

  function check(): void {
    cancel = undefined;
    const late = [...since].find(([, { at }]) => world.now() - at >= operationMs);
    const first = late && [...running.values()].find((watched) => keyOf(watched) === late[0]);
    if (first) {
      const culprit = blame(first.peer);
      const chain = culprit === first.peer ? '' : ` (rank ${self} waits for rank ${first.peer}, which waits for others in turn)`;
      expired(new PeerError(culprit, 'slow', `${first.kind} ${first.seq} of group ${first.name} did not end within ${operationMs} ms${chain}`));
    } else arm();
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
      if (running.size === 0) { cancel?.(); cancel = undefined; }
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
