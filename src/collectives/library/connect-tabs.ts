// Tabs (or iframes, or workers) of one browser find each other by a name, without a server: each says `here` with a random number on a BroadcastChannel until
// `size` are known, takes its place in the order of numbers as its rank, opens a channel per pair, and says `ready`. Links begin when all are ready.
// A tab that dies is noticed by the Web Lock it held, at once, where the browser has locks; by silence otherwise.

import { RoomError } from '../../base/errors.ts';
import { randomHex, realWorld } from '../../base/world.ts';
import { broadcastChannelWire } from '../../transport/broadcast-channel.ts';
import type { BroadcastWire } from '../../transport/broadcast-channel.ts';
import { holdTabLock, whenTabLockReleased } from '../../transport/tab-lock.ts';
import type { Lanes } from '../../transport/transport.ts';
import { createCommunicator } from './communicator.ts';
import type { Communicator, ConnectOptions } from './communicator.ts';
import { oneLane } from './connect.ts';

export interface ConnectTabsOptions extends ConnectOptions {
  /** How long to wait for the others. */
  readonly timeoutMs?: number;
}

interface Word { readonly word: 'here' | 'ready'; readonly id: string }

/** Whatever a foreign script says under our name gives undefined. */
function wordOf(data: unknown): Word | undefined {
  const { word, id } = (typeof data === 'object' && data !== null ? data : {}) as Record<string, unknown>;
  return (word === 'here' || word === 'ready') && typeof id === 'string' && /^[0-9a-f]{32}$/.test(id) ? { word, id } : undefined;
}

/**
 * Resolves in all `size` tabs with their communicators when the last has come. Rejects with RoomError when that takes longer than `timeoutMs` (60 s), or when more
 * than `size` come: take another name for another set, also after a failure.
 */
export async function connectTabs(name: string, size: number, options: ConnectTabsOptions = {}): Promise<Communicator> {
  const { world = realWorld, timeoutMs = 60_000 } = options;
  const me = randomHex(world, 16);
  const scope = `tabmesh collectives ${name}`;
  const release = await holdTabLock(`${scope} ${me}`);
  const room = new BroadcastChannel(scope);
  let wires = new Map<number, BroadcastWire>();
  try {
    const ids = await meet(room, me, size, (delayMs, fire) => world.timer(delayMs, fire), timeoutMs, (all) => {
      const rank = all.indexOf(me);
      const pairOf = (peer: number): string => `${scope} ${[all[rank], all[peer]].sort().join(' ')}`;
      wires = new Map(all.flatMap((_, peer) => (peer === rank ? [] : [[peer, broadcastChannelWire(pairOf(peer))] as const])));
    });
    const lanes = new Map<number, Lanes>([...wires].map(([peer, { wire }]) => [peer, oneLane(wire)]));
    const communicator = createCommunicator(ids.indexOf(me), lanes, options);
    const stop = new AbortController();
    for (const [peer, wire] of wires) whenTabLockReleased(`${scope} ${ids[peer]}`, stop.signal, () => wire.lost());
    const end = (): void => { stop.abort(); release(); };
    void communicator.failed.then(end);
    return { ...communicator, leave: () => { communicator.leave(); end(); } };
  } catch (error) {
    release();
    for (const { wire } of wires.values()) wire.close();
    throw error;
  } finally {
    room.close();
  }
}

/** Resolves with the sorted numbers of all when all are ready; `known` is called once when they are known. */
function meet(
  room: BroadcastChannel, me: string, size: number, timer: (delayMs: number, fire: () => void) => () => void, timeoutMs: number, known: (all: readonly string[]) => void,
): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const here = new Set([me]);
    const ready = new Set<string>();
    let said = false;
    const say = (word: Word['word']): void => room.postMessage({ word, id: me } satisfies Word);
    const cancel = timer(timeoutMs, () => reject(new RoomError('unreachable', `${here.size} of ${size} tabs came within ${timeoutMs} ms`)));
    const look = (): void => {
      if (here.size > size) { cancel(); reject(new RoomError('duplicate', `more than ${size} tabs came; take another name for another set`)); return; }
      if (here.size < size) return;
      const all = [...here].sort();
      if (!said) { said = true; known(all); ready.add(me); say('ready'); }
      if (all.every((id) => ready.has(id))) { cancel(); resolve(all); }
    };
    room.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
      const word = wordOf(data);
      if (!word) return;
      const fresh = !here.has(word.id);
      here.add(word.id);
      if (word.word === 'ready') ready.add(word.id);
      // Who came later has not heard us.
      if (fresh && here.size <= size) say('here');
      look();
    });
    say('here');
    look();
  });
}
