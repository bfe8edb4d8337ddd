// A room over two carriers: `near`, the tabs of this browser, from the start, and `far`, a broker, as soon as there is
// one. Everything is said over both, and what comes by both counts once, because the second copy is a repetition. So
// tabs of one browser meet whatever becomes of the broker, and a tab that began without one is found by the others when
// it answers, at the same address, with its run and its links.

import type { Carrier, CarrierHandlers } from '../rendezvous.ts';
import type { Bytes } from '../seal.ts';

export interface TwoCarriersOptions {
  readonly near: Carrier;
  /**
   * Resolves when there may be one, undefined when there will be none. A carrier that cannot be opened is told by
   * `onFar`, and the room stays without.
   */
  readonly far: Promise<Carrier | undefined>;
  /** Whether the room is joined only with `far`, and fails without: it is known to answer. */
  readonly waits: boolean;
  /** `far` is there, or failed to open. */
  readonly onFar?: (carrier: Carrier, failure?: unknown) => void;
}

/** Addresses of tabs of this browser that are remembered. */
const MAX_NEIGHBOURS = 512;

export function twoCarriers(options: TwoCarriersOptions): Carrier {
  return new TwoCarriers(options);
}

class TwoCarriers implements Carrier {
  readonly #options: TwoCarriersOptions;
  readonly #open: Carrier[] = [];
  readonly #watched = new Set<string>();
  /** Who was heard over `near`: it can tell of nobody else that they are gone. */
  readonly #neighbours = new Set<string>();
  #closed = false;

  constructor(options: TwoCarriersOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#open.map(({ name }) => name).join(' and ') || this.#options.near.name;
  }
  get graceMs(): number {
    return Math.max(0, ...this.#open.map(({ graceMs }) => graceMs));
  }

  async open(room: string, address: string, handlers: CarrierHandlers): Promise<void> {
    const { near, far, waits, onFar } = this.#options;
    const join = async (): Promise<void> => {
      const carrier = await far;
      if (!carrier || this.#closed) return;
      await carrier.open(room, address, handlers);
      if (this.#closed) return carrier.close();
      this.#open.push(carrier);
      for (const watched of this.#watched) carrier.watch(watched);
      onFar?.(carrier);
    };
    const joining = join();
    try {
      await near.open(room, address, this.#heardNear(handlers));
      this.#open.unshift(near);
    } catch (error) {
      // A browser may refuse its channels to a page; the broker alone will do, if there is one.
      if (!waits) throw error;
    }
    if (waits) return joining;
    joining.then(
      () => {
        if (this.#open.length > 1) handlers.onUp();
      },
      async (error: unknown) => {
        onFar?.((await far)!, error);
      },
    );
  }

  hello(sealed: Bytes): void {
    for (const carrier of this.#open) carrier.hello(sealed);
  }
  announce(sealed: Bytes): void {
    for (const carrier of this.#open) carrier.announce(sealed);
  }
  signal(to: string, sealed: Bytes): void {
    for (const carrier of this.#open) carrier.signal(to, sealed);
  }

  watch(address: string): void {
    this.#watched.add(address);
    for (const carrier of this.#open)
      if (carrier !== this.#options.near || this.#neighbours.has(address)) carrier.watch(address);
  }

  #heardNear(handlers: CarrierHandlers): CarrierHandlers {
    const heard = (from: string): void => {
      if (this.#neighbours.has(from)) return;
      const [oldest] = this.#neighbours;
      if (this.#neighbours.size >= MAX_NEIGHBOURS && oldest !== undefined) this.#neighbours.delete(oldest);
      this.#neighbours.add(from);
      if (this.#watched.has(from)) this.#options.near.watch(from);
    };
    return {
      ...handlers,
      onHello: (from, sealed) => {
        heard(from);
        handlers.onHello(from, sealed);
      },
      onPresence: (from, sealed, live) => {
        heard(from);
        handlers.onPresence(from, sealed, live);
      },
      onSignal: (from, sealed) => {
        heard(from);
        handlers.onSignal(from, sealed);
      },
      onBye: (from, sealed) => {
        heard(from);
        handlers.onBye(from, sealed);
      },
      // Whoever says something near may lie about who it is: one who lives elsewhere would be missed here for certain.
      onGone: (from, evidence) => {
        this.#neighbours.delete(from);
        handlers.onGone(from, this.#open.length > 1 ? 'said' : evidence);
      },
    };
  }

  unwatch(address: string): void {
    this.#watched.delete(address);
    for (const carrier of this.#open) carrier.unwatch(address);
  }

  async close(bye?: Bytes): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#open.splice(0).map((carrier) => carrier.close(bye)));
  }
}
