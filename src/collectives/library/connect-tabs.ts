// Tabs (or iframes, or workers) of one browser find each other by a name, without a server: they meet on a
// BroadcastChannel (meeting.ts) with a random number each, take their place in the order of numbers as their rank, and
// open a channel per pair. Links begin when all are ready. A tab that dies is noticed by the Web Lock it held, at once,
// where the browser has locks; by silence otherwise.

import { ConfigError } from '../../base/errors.ts';
import { randomHex, realWorld } from '../../base/world.ts';
import { broadcastChannelWire } from '../../transport/broadcast-channel.ts';
import type { BroadcastWire } from '../../transport/broadcast-channel.ts';
import { holdTabLock, whenTabLockReleased } from '../../transport/tab-lock.ts';
import type { Lanes } from '../../transport/transport.ts';
import { createCommunicator } from './communicator.ts';
import type { Communicator, ConnectOptions } from './communicator.ts';
import { oneLane } from './connect.ts';
import { meet } from './meeting.ts';

export interface ConnectTabsOptions extends ConnectOptions {
  /** How long to wait for the others. */
  readonly timeoutMs?: number;
}

/**
 * Resolves in all `size` tabs with their communicators when the last has come. Rejects with RoomError when that takes
 * longer than `timeoutMs` (60 s), when more than `size` come, or when one goes before all are ready: take another name
 * for another set, also after a failure. ConfigError for a size that is no count.
 */
export async function connectTabs(name: string, size: number, options: ConnectTabsOptions = {}): Promise<Communicator> {
  const { world = realWorld, timeoutMs = 60_000 } = options;
  if (!Number.isInteger(size) || size < 1) throw new ConfigError('size', `expected a number of tabs, got ${size}`);
  const me = randomHex(world, 16);
  const scope = `tabmesh collectives ${name}`;
  const release = await holdTabLock(`${scope} ${me}`);
  const room = new BroadcastChannel(scope);
  let wires = new Map<number, BroadcastWire>();
  try {
    const ids = await meet({
      room,
      me,
      size,
      timeoutMs,
      timer: (delayMs, fire) => world.timer(delayMs, fire),
      whenGone: (id, signal, then) => whenTabLockReleased(`${scope} ${id}`, signal, then),
      known: (all) => {
        const rank = all.indexOf(me);
        const pairOf = (peer: number): string => `${scope} ${[all[rank], all[peer]].sort().join(' ')}`;
        wires = new Map(
          all.flatMap((_, peer) => (peer === rank ? [] : [[peer, broadcastChannelWire(pairOf(peer))] as const])),
        );
      },
    });
    const lanes = new Map<number, Lanes>([...wires].map(([peer, { wire }]) => [peer, oneLane(wire)]));
    const communicator = createCommunicator(ids.indexOf(me), lanes, options);
    const stop = new AbortController();
    for (const [peer, wire] of wires) whenTabLockReleased(`${scope} ${ids[peer]}`, stop.signal, () => wire.lost());
    const end = (): void => {
      stop.abort();
      release();
    };
    void communicator.failed.then(end);
    return {
      ...communicator,
      leave: () => {
        communicator.leave();
        end();
      },
    };
  } catch (error) {
    release();
    for (const { wire } of wires.values()) wire.close();
    throw error;
  } finally {
    room.close();
  }
}
