// Notices at once when a tab of this browser is gone, however it is connected: a closed or crashed tab says nothing
// over WebRTC, and silence takes seconds to be believed. Each page holds a lock for as long as it is connected, under a
// name that only the members of this view know. Whoever has connected to a peer looks whether the peer's lock is held
// in this browser; if so its worker waits for it, else the peer is elsewhere and only silence can tell.

import type { ConnectTo, PeerConnections, PeerConnectionsOptions } from './peer-connections.ts';

export interface Witness {
  /** Holds a lock until the returned function is called, or the page is gone. */
  readonly holdLock: (name: string) => Promise<() => void>;
  /** Whether anybody in this browser holds the lock now. */
  readonly isHeld: (name: string) => Promise<boolean>;
  /** The page at the other end of the open link holds this lock as long as it lives. */
  readonly watch: (peer: number, lock: string) => void;
}

/** The connections of `make` whose peers are watched where they can be. A view without a name is not. */
export function createWitnessedConnections(
  options: PeerConnectionsOptions,
  witness: Witness,
  make: (options: PeerConnectionsOptions) => PeerConnections,
): PeerConnections {
  return options.name === undefined ? make(options) : new WitnessedConnections(options, options.name, witness, make);
}

class WitnessedConnections implements PeerConnections {
  readonly #name: string;
  readonly #witness: Witness;
  readonly #inner: PeerConnections;
  readonly #locked: Promise<() => void>;
  #closed = false;

  constructor(
    options: PeerConnectionsOptions,
    name: string,
    witness: Witness,
    make: (options: PeerConnectionsOptions) => PeerConnections,
  ) {
    this.#name = name;
    this.#witness = witness;
    // A browser that refuses locks still trains.
    this.#locked = witness.holdLock(this.#lockOf(options.rank)).catch(() => () => undefined);
    this.#inner = make({
      ...options,
      onLink: (peer, state) => {
        if (state.state === 'open') void this.#look(peer);
        options.onLink(peer, state);
      },
    });
  }

  /** When our lock is held: a peer looks for it as soon as the link is open. */
  connect(to: ConnectTo): void {
    void this.#locked.then(() => {
      if (!this.#closed) this.#inner.connect(to);
    });
  }

  signal(...parts: Parameters<PeerConnections['signal']>): void {
    this.#inner.signal(...parts);
  }
  lanes(): ReturnType<PeerConnections['lanes']> {
    return this.#inner.lanes();
  }
  routes(): ReturnType<PeerConnections['routes']> {
    return this.#inner.routes();
  }
  examine(): ReturnType<PeerConnections['examine']> {
    return this.#inner.examine();
  }

  close(): void {
    this.#closed = true;
    this.#inner.close();
    void this.#locked.then((release) => release());
  }

  async #look(peer: number): Promise<void> {
    const lock = this.#lockOf(peer);
    const held = await this.#witness.isHeld(lock).catch(() => false);
    if (held && !this.#closed) this.#witness.watch(peer, lock);
  }

  #lockOf(rank: number): string {
    return `tabmesh tab ${this.#name} ${rank}`;
  }
}
