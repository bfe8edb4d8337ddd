// What tabs of one browser can do for each other: hear at once that one is gone, by Web Locks, and meet for the fast
// lane, by a SharedWorker that makes ports for two tabs, or, where there is none or it fails, by BroadcastChannel.
// While it is in a room, a tab holds locks that say how it can be met: whoever finds none of an address knows at once
// that the tab is elsewhere, or wants WebRTC alone.

import { realWorld } from '../../base/world.ts';
import type { PeerConnections, PeerConnectionsOptions } from '../../cluster/peer-connections.ts';
import { createWebRtcConnections } from '../../cluster/webrtc-connections.ts';
import type { Carrier } from '../../cluster/rendezvous.ts';
import { createSameBrowserConnections } from '../../cluster/same-browser.ts';
import type { Met, Way } from '../../cluster/same-browser.ts';
import { createWitnessedConnections } from '../../cluster/witness.ts';
import { holdTabLock, isTabLockHeld } from '../../transport/tab-lock.ts';
import type { Introduction, Wish } from '../../../workers/introduce.ts';

/** What the connections of a room need of the worker that computes. */
export interface LaneWorker {
  watch(peer: number, lock: string): void;
  accuse(peer: number, what: string): Promise<void>;
  adoptSameBrowser(peer: number, met: Met): Promise<void>;
}

/** What holds the worker of a rank; its calls reject when that worker is gone. */
export interface LaneHost {
  watch(peer: number, lock: string): Promise<void>;
  accuse(peer: number, what: string): Promise<void>;
  adoptSameBrowser(peer: number, met: Met): Promise<void>;
}

/** The worker of the rank that this page hosts now. */
export function laneWorker(host: () => LaneHost | undefined): LaneWorker {
  return {
    watch: (peer, lock) => {
      void host()
        ?.watch(peer, lock)
        .catch(() => undefined);
    },
    accuse: async (peer, what) => host()?.accuse(peer, what),
    adoptSameBrowser: (peer, met) => host()!.adoptSameBrowser(peer, met),
  };
}

/** How a tab of a room joins others: ports within the browser where they can be, or WebRTC alone. */
export interface TabLanes {
  /** The carrier, which says in this browser how this tab can be met for as long as it is open. */
  tell<C extends Pick<Carrier, 'open' | 'close'>>(carrier: C): C;
  readonly createConnections: (options: PeerConnectionsOptions) => PeerConnections;
}

export function tabLanes(lane: 'webrtc' | 'same-browser', worker: LaneWorker): TabLanes {
  const places = lane === 'webrtc' ? undefined : new MeetingPlaces();
  const inner = (options: PeerConnectionsOptions): PeerConnections =>
    places
      ? createSameBrowserConnections(options, {
          world: realWorld,
          here: places.here,
          meet: places.meet,
          adopt: (peer, met) => worker.adoptSameBrowser(peer, met),
          fallback: createWebRtcConnections,
        })
      : createWebRtcConnections(options);
  return {
    tell: (carrier) => (places ? told(carrier, places) : carrier),
    createConnections: (options) =>
      createWitnessedConnections(
        { ...options, accuse: (peer, what) => worker.accuse(peer, what) },
        { holdLock: holdTabLock, isHeld: isTabLockHeld, watch: (peer, lock) => worker.watch(peer, lock) },
        inner,
      ),
  };
}

/** The locks are held before the room hears of the address: nobody looks in vain. */
function told<C extends Pick<Carrier, 'open' | 'close'>>(carrier: C, places: MeetingPlaces): C {
  const [open, close] = [carrier.open.bind(carrier), carrier.close.bind(carrier)];
  carrier.open = async (...given) => {
    await places.enter(given[1]);
    return open(...given);
  };
  carrier.close = async (...given) => {
    places.leave();
    return close(...given);
  };
  return carrier;
}

const lockOf = (way: Way, address: string): string => `tabmesh ${way} ${address}`;

class MeetingPlaces {
  #ports = meetByWorker(() => this.#withoutPorts());
  #address: string | undefined;
  readonly #held: { readonly way: Way; readonly release: () => void }[] = [];

  /** Says how this tab can be met. A browser that refuses locks meets nobody, and uses WebRTC. */
  async enter(address: string): Promise<void> {
    this.leave();
    this.#address = address;
    if (typeof BroadcastChannel === 'undefined') return;
    for (const way of this.#ports ? (['channel', 'ports'] as const) : (['channel'] as const)) {
      const release = await holdTabLock(lockOf(way, address)).catch(() => undefined);
      if (release) this.#held.push({ way, release });
    }
  }

  leave(): void {
    for (const { release } of this.#held.splice(0)) release();
    this.#address = undefined;
  }

  /** Both look at the same locks, and so take the same way. */
  readonly here = async (address: string): Promise<Way | undefined> => {
    if (this.#address === undefined) return undefined;
    for (const way of ['ports', 'channel'] as const) {
      const both = await Promise.all(
        [address, this.#address].map((who) => isTabLockHeld(lockOf(way, who)).catch(() => false)),
      );
      if (both.every(Boolean)) return way;
    }
    return undefined;
  };

  readonly meet = (name: string, signal: AbortSignal, way: Way): Promise<Met> => {
    if (way === 'channel') return meetByChannel(name);
    return this.#ports ? this.#ports(name, signal) : Promise.reject(new Error('the SharedWorker has failed'));
  };

  #withoutPorts(): void {
    this.#ports = undefined;
    for (const { release } of this.#held.filter(({ way }) => way === 'ports')) release();
  }
}

/**
 * A meeting gives ports that the SharedWorker made. Undefined where there is no SharedWorker, or it throws; `failed` is
 * called when its script does not run.
 */
export function meetByWorker(
  failed: () => void = () => undefined,
): ((name: string, signal: AbortSignal) => Promise<Met>) | undefined {
  if (typeof SharedWorker === 'undefined') return undefined;
  let shared: SharedWorker;
  try {
    shared = new SharedWorker(new URL('../../../workers/introduce.ts', import.meta.url), {
      type: 'module',
      name: 'tabmesh introductions',
    });
  } catch {
    return undefined;
  }
  const { port } = shared;
  const waiting = new Map<string, { readonly resolve: (met: Met) => void; readonly reject: (error: Error) => void }>();
  let broken: Error | undefined;
  shared.onerror = () => {
    broken = new Error('the SharedWorker of introductions does not run');
    for (const { reject } of waiting.values()) reject(broken);
    waiting.clear();
    failed();
  };
  port.onmessage = ({
    data: {
      meet,
      ports: [talk, control, bulk],
    },
  }: MessageEvent<Introduction>) => {
    const taken = waiting.get(meet);
    waiting.delete(meet);
    if (taken) taken.resolve({ kind: 'ports', talk, control, bulk });
    else for (const end of [talk, control, bulk]) end.close();
  };
  const say = (wish: Wish): void => port.postMessage(wish);
  return (name, signal) =>
    new Promise((resolve, reject) => {
      if (broken) {
        reject(broken);
        return;
      }
      waiting.set(name, { resolve, reject });
      signal.addEventListener('abort', () => {
        if (waiting.delete(name)) say({ meet: name, leave: true });
      });
      say({ meet: name });
    });
}

/** Both are there when they have greeted; the data then has a channel of its own. */
async function meetByChannel(name: string): Promise<Met> {
  return { kind: 'broadcast', name: `tabmesh lane ${name} data`, talk: new BroadcastChannel(`tabmesh lane ${name}`) };
}
