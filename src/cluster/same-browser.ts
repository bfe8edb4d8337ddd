// The fast lane between tabs of one browser: connections that first try to meet each peer inside the browser and hand
// everything else to WebRTC. A peer that lives elsewhere, or wants WebRTC alone, is known at once (`here` looks for its
// lock) and costs nothing; one that is here and does not come, `waitMs`. A meeting has a name that only these two
// members of this view can know (their addresses are drawn anew at each join), so who comes is the peer, and shares our
// browser: what carries the meeting does not leave it. Both then exchange random numbers over what they will use; an
// end that hears its own back knows that the pipe works both ways. Should one end give up while the other is content,
// its WebRTC offer tells: a signal ends the fast lane to that peer. A port tells nothing when the tab at its other end
// is gone: witness.ts does.

import { randomHex } from '../base/world.ts';
import type { World } from '../base/world.ts';
import type { ConnectTo, PeerConnections, PeerConnectionsOptions } from './peer-connections.ts';
import type { IceSignal } from './messages.ts';

/**
 * What two tabs have when they met: ports that a SharedWorker made, or the name of a BroadcastChannel, and `talk`, over
 * which they greet.
 */
export type Met =
  | { readonly kind: 'ports'; readonly control: MessagePort; readonly bulk: MessagePort; readonly talk: Talk }
  | { readonly kind: 'broadcast'; readonly name: string; readonly talk: Talk };

/** The part of a MessagePort or BroadcastChannel that a greeting needs. */
export interface Talk {
  postMessage(message: unknown): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

/** By ports that a SharedWorker makes, or by a BroadcastChannel. */
export type Way = 'ports' | 'channel';

export interface SameBrowserOptions {
  readonly world: World;
  /** How the tab of this address can be met in this browser; undefined when it is not here, or does not want to. */
  readonly here: (address: string) => Promise<Way | undefined>;
  /**
   * Resolves when the other end has come to the meeting of this name; never, when it does not come. `signal` ends the
   * wait.
   */
  readonly meet: (name: string, signal: AbortSignal, way: Way) => Promise<Met>;
  /** Gives the worker what was met. Resolves when the worker has it. */
  readonly adopt: (peer: number, met: Met) => Promise<void>;
  readonly fallback: (options: PeerConnectionsOptions) => PeerConnections;
  readonly waitMs?: number;
}

interface Try {
  readonly attempt: number;
  readonly stop: AbortController;
  met: Met | undefined;
}

export function createSameBrowserConnections(
  options: PeerConnectionsOptions,
  lane: SameBrowserOptions,
): PeerConnections {
  return new SameBrowserConnections(options, lane);
}

class SameBrowserConnections implements PeerConnections {
  readonly #options: PeerConnectionsOptions;
  readonly #lane: SameBrowserOptions;
  readonly #fallback: PeerConnections;
  readonly #tries = new Map<number, Try>();
  /** Peers with whom the lane was tried; they get no second try. */
  readonly #tried = new Set<number>();
  #closed = false;

  constructor(options: PeerConnectionsOptions, lane: SameBrowserOptions) {
    this.#options = options;
    this.#lane = lane;
    this.#fallback = lane.fallback(options);
  }

  connect(to: ConnectTo): void {
    const { peer, attempt } = to;
    const known = this.#tries.get(peer);
    if (this.#closed || (known && known.attempt >= attempt)) return;
    if (known) this.#drop(peer, known);
    if (
      this.#tried.has(peer) ||
      attempt > 1 ||
      this.#options.name === undefined ||
      this.#options.members?.[peer] === undefined
    ) {
      this.#fallback.connect(to);
      return;
    }
    this.#tried.add(peer);
    const mine: Try = { attempt, stop: new AbortController(), met: undefined };
    this.#tries.set(peer, mine);
    this.#options.onLink(peer, { state: 'connecting', attempt });
    this.#attempt(peer, mine).then(
      () => {
        if (this.#tries.get(peer) === mine) this.#options.onLink(peer, { state: 'open', attempt });
      },
      () => {
        if (this.#closed || this.#tries.get(peer) !== mine) return;
        this.#drop(peer, mine);
        this.#fallback.connect(to);
      },
    );
  }

  signal(peer: number, attempt: number, data: IceSignal): void {
    const known = this.#tries.get(peer);
    if (known) this.#drop(peer, known);
    this.#tried.add(peer);
    this.#fallback.signal(peer, attempt, data);
  }

  lanes(): ReturnType<PeerConnections['lanes']> {
    return this.#fallback.lanes();
  }

  async routes(): Promise<ReadonlyMap<number, string>> {
    return new Map([
      ...(await this.#fallback.routes()),
      ...[...this.#tries.keys()].map((peer) => [peer, 'same browser'] as const),
    ]);
  }

  examine(): ReturnType<PeerConnections['examine']> {
    return this.#fallback.examine();
  }

  close(): void {
    this.#closed = true;
    for (const [peer, mine] of this.#tries) this.#drop(peer, mine);
    this.#fallback.close();
  }

  async #attempt(peer: number, mine: Try): Promise<void> {
    const { world, here, meet, adopt, waitMs = 3000 } = this.#lane;
    const { signal } = mine.stop;
    const late = new Promise<never>((_, reject) => {
      const cancel = world.timer(waitMs, () => reject(new Error(`nobody came within ${waitMs} ms`)));
      signal.addEventListener('abort', () => {
        cancel();
        reject(new Error('given up'));
      });
    });
    late.catch(() => undefined);
    const { name = '', members, rank } = this.#options;
    const way = await Promise.race([here(members![peer]!), late]);
    if (way === undefined || signal.aborted) throw new Error('not in this browser');
    const meeting = meet(`${name} ${Math.min(rank, peer)} ${Math.max(rank, peer)}`, signal, way);
    // Also one that comes too late, when nobody waits for it.
    meeting.then(
      (met) => {
        if (signal.aborted) discard(met);
      },
      () => undefined,
    );
    const met = (mine.met = await Promise.race([meeting, late]));
    await Promise.race([greet(met.talk, world), late]);
    // From here on the pipe is the worker's, and no timer ends it.
    mine.met = undefined;
    await Promise.race([adopt(peer, met), late]);
    if (signal.aborted) throw new Error('given up');
  }

  #drop(peer: number, mine: Try): void {
    this.#tries.delete(peer);
    mine.stop.abort();
    if (mine.met) discard(mine.met);
  }
}

function discard(met: Met): void {
  met.talk.close();
  if (met.kind !== 'ports') return;
  met.control.close();
  met.bulk.close();
}

/**
 * Resolves when the other end has given our number back and we have given back its. Each end says its number at once,
 * and answers the first number that it hears; on a BroadcastChannel the first word of the earlier end is lost, and the
 * answer to the later one's serves as well.
 */
export function greet(talk: Talk, world: Pick<World, 'randomBytes'>): Promise<void> {
  const mine = randomHex(world, 16);
  return new Promise((resolve) => {
    let theirs: string | undefined;
    talk.onmessage = ({ data }: MessageEvent<unknown>) => {
      const { number, echo } = (typeof data === 'object' && data !== null ? data : {}) as Record<string, unknown>;
      if (typeof number !== 'string' || number.length !== mine.length || number === mine) return;
      if (theirs === undefined) talk.postMessage({ number: mine, echo: (theirs = number) });
      if (echo !== mine || number !== theirs) return;
      talk.onmessage = null;
      resolve();
    };
    talk.postMessage({ number: mine });
  });
}
