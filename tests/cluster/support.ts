// Rooms for tests: presences, a carrier in memory (everything in order, no broker), connections without WebRTC whose
// pairs fail on demand, and a recorder of events.

import type { PeerConnections, PeerConnectionsOptions } from '../../src/cluster/peer-connections.ts';
import { PROTOCOL_VERSION } from '../../src/cluster/presence.ts';
import type { Presence } from '../../src/cluster/presence.ts';
import type { Carrier, CarrierHandlers } from '../../src/cluster/rendezvous.ts';
import type { Bytes } from '../../src/cluster/seal.ts';
import type { SessionEvent } from '../../src/cluster/session.ts';

export const ROOM_KEY = 'AAECAwQFBgcICQoLDA0ODw';
export const OTHER_KEY = 'zzzzzzzzzzzzzzzzzzzzzw';

export function presence(n: number, fields: Partial<Presence> = {}): Presence {
  return {
    id: `tab-${n}`,
    name: `Tab ${n}`,
    address: n.toString(16).padStart(16, '0'),
    order: n + 1,
    protocolVersion: PROTOCOL_VERSION,
    adapter: 'test',
    software: true,
    role: 'trainer',
    ...fields,
  };
}

export const introduction = (
  n: number,
): { name: string; adapter: string; software: boolean; role: 'trainer' | 'observer' } => ({
  name: `Tab ${n}`,
  adapter: 'test',
  software: true,
  role: 'trainer',
});

/** All members of one room in one process. */
export class MemoryHub {
  readonly #members = new Map<string, CarrierHandlers>();
  /** What reaches the member of this address; for those who speak in the names of others. */
  handlersOf(address: string): CarrierHandlers {
    return this.#members.get(address)!;
  }
  /** Sees every payload; returning undefined loses it. */
  tamper: (kind: 'hello' | 'presence' | 'signal' | 'bye', bytes: Bytes, from: string) => Bytes | undefined = (
    _,
    bytes,
  ) => bytes;

  carrier(): Carrier & { die(): void } {
    let address = '';
    const others = (tell: (handlers: CarrierHandlers) => void): void => {
      for (const [member, handlers] of this.#members) if (member !== address) tell(handlers);
    };
    const gone = (tell: (handlers: CarrierHandlers) => void): void => {
      if (this.#members.delete(address)) others(tell);
    };
    return {
      name: 'memory',
      graceMs: 0,
      open: (_room, mine, handlers) => {
        address = mine;
        this.#members.set(mine, handlers);
        return Promise.resolve();
      },
      hello: (sealed) => {
        const bytes = this.tamper('hello', sealed, address);
        if (bytes && this.#members.has(address)) others((handlers) => handlers.onHello(address, bytes));
      },
      announce: (sealed) => {
        const bytes = this.tamper('presence', sealed, address);
        if (bytes && this.#members.has(address)) others((handlers) => handlers.onPresence(address, bytes, true));
      },
      signal: (to, sealed) => {
        const bytes = this.tamper('signal', sealed, address);
        if (bytes && this.#members.has(address)) this.#members.get(to)?.onSignal(address, bytes);
      },
      watch: () => {},
      unwatch: () => {},
      close: (sealed) => {
        const bytes = sealed && this.tamper('bye', sealed, address);
        gone((handlers) => {
          if (bytes) handlers.onBye(address, bytes);
        });
        return Promise.resolve();
      },
      die: () => gone((handlers) => handlers.onGone(address, 'certain')),
    };
  }
}

/** Connects by an offer and an answer through the signals; `refuse` gives the reason why an attempt of a pair fails. */
export function fakeConnections(
  refuse: (low: number, high: number, attempt: number) => string | undefined = () => undefined,
): (options: PeerConnectionsOptions) => PeerConnections {
  return ({ rank, onLink, onSignal }) => {
    const attempts = new Map<number, number>();
    let closed = false;
    const open = (peer: number, attempt: number): void => {
      const reason = refuse(Math.min(rank, peer), Math.max(rank, peer), attempt);
      onLink(peer, reason === undefined ? { state: 'open', attempt } : { state: 'failed', attempt, reason });
    };
    const connections: PeerConnections = {
      connect({ peer, attempt }) {
        if (closed || (attempts.get(peer) ?? 0) >= attempt) return;
        attempts.set(peer, attempt);
        onLink(peer, { state: 'connecting', attempt });
        if (rank < peer) onSignal(peer, attempt, { type: 'offer', sdp: 'x' });
      },
      signal(peer, attempt, data) {
        connections.connect({ peer, attempt });
        if (closed || attempts.get(peer) !== attempt) return;
        if (data.type === 'offer') onSignal(peer, attempt, { type: 'answer', sdp: 'y' });
        open(peer, attempt);
      },
      lanes: () => new Map(),
      routes: () => Promise.resolve(new Map()),
      examine: () => Promise.resolve(new Map()),
      close() {
        closed = true;
      },
    };
    return connections;
  };
}

/** Keeps all events and lets a test wait for one, past or future. */
export class Events<E> {
  readonly all: E[] = [];
  readonly #waiting = new Set<() => void>();

  readonly push = (event: E): void => {
    this.all.push(event);
    for (const check of [...this.#waiting]) check();
  };

  /** Resolves with the first event that `wanted` takes. */
  find<T extends E>(wanted: (event: E) => event is T): Promise<T>;
  find(wanted: (event: E) => boolean): Promise<E>;
  find(wanted: (event: E) => boolean): Promise<E> {
    return new Promise((resolve) => {
      const check = (): void => {
        const found = this.all.find(wanted);
        if (found === undefined) return;
        this.#waiting.delete(check);
        resolve(found);
      };
      this.#waiting.add(check);
      check();
    });
  }
}

export class SessionEvents extends Events<SessionEvent> {
  started(view?: number): Promise<Extract<SessionEvent, { type: 'started' }>> {
    return this.find(
      (event): event is Extract<SessionEvent, { type: 'started' }> =>
        event.type === 'started' && (view === undefined || event.place.view === view),
    );
  }
  failed(): Promise<Extract<SessionEvent, { type: 'failed' }>> {
    return this.find((event): event is Extract<SessionEvent, { type: 'failed' }> => event.type === 'failed');
  }
  notice(pattern: RegExp): Promise<SessionEvent> {
    return this.find((event) => event.type === 'notice' && pattern.test(event.text));
  }
  status(pattern: RegExp): Promise<SessionEvent> {
    return this.find((event) => event.type === 'status' && pattern.test(event.text));
  }
  members(count: number): Promise<SessionEvent> {
    return this.find((event) => event.type === 'roster' && event.members.length === count);
  }
}
