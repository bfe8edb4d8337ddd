// Carries a room between the tabs of one browser profile and origin, with no server. Everybody hears everything;
// signals are filtered by address. A dead tab is noticed by Web Locks: each member holds a lock named after its
// address, the others wait for it, and the browser frees it when the tab dies, crashes or is discarded. Where there are
// no Web Locks (Node), a heartbeat stands in: hidden tabs make heartbeats late, so it is patient. The surprising rule:
// the own lock is held before the first message goes out, or a watcher would be granted it and take us for dead.

import type { World } from '../base/world.ts';
import type { Carrier, CarrierHandlers } from './rendezvous.ts';
import type { Bytes } from './seal.ts';
import { isAddress } from './presence.ts';

/** The part of a BroadcastChannel in use. */
export interface Channel {
  postMessage(message: unknown): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

/** The part of navigator.locks in use. */
export interface Locks {
  request(name: string, options: { signal?: AbortSignal }, held: () => Promise<void>): Promise<unknown>;
}

export interface BroadcastChannelOptions {
  readonly world: World;
  readonly openChannel?: (name: string) => Channel;
  /** undefined: navigator.locks where there is one. null: heartbeats. */
  readonly locks?: Locks | null;
  readonly heartbeatMs?: number;
  readonly silentMs?: number;
}

interface Note {
  readonly kind: 'hello' | 'presence' | 'signal' | 'bye' | 'alive';
  readonly from: string;
  readonly to?: string;
  readonly bytes?: Bytes;
}

export function broadcastChannelCarrier(options: BroadcastChannelOptions): Carrier {
  return new BroadcastChannelCarrier(options);
}

class BroadcastChannelCarrier implements Carrier {
  readonly name = 'tabs of this browser';
  readonly graceMs = 0;
  readonly #world: World;
  readonly #openChannel: (name: string) => Channel;
  #locks: Locks | undefined;
  readonly #heartbeatMs: number;
  readonly #silentMs: number;
  readonly #heard = new Map<string, number>();
  readonly #watches = new Map<string, AbortController>();
  #channel: Channel | undefined;
  #handlers: CarrierHandlers | undefined;
  #room = '';
  #address = '';
  #freeLock = (): void => {};
  #cancelBeat = (): void => {};

  constructor(options: BroadcastChannelOptions) {
    this.#world = options.world;
    this.#openChannel = options.openChannel ?? ((name) => new BroadcastChannel(name));
    const found = (globalThis as { navigator?: { locks?: Locks } }).navigator?.locks;
    this.#locks = options.locks === undefined ? found : (options.locks ?? undefined);
    this.#heartbeatMs = options.heartbeatMs ?? 1000;
    this.#silentMs = options.silentMs ?? 10_000;
  }

  async open(room: string, address: string, handlers: CarrierHandlers): Promise<void> {
    this.#room = room;
    this.#address = address;
    this.#handlers = handlers;
    // A browser that refuses locks to this page refuses them to all of its pages.
    if (this.#locks)
      await this.#holdOwnLock(this.#locks).catch(() => {
        this.#locks = undefined;
      });
    this.#channel = this.#openChannel(`tabmesh/${room}`);
    this.#channel.onmessage = (event) => {
      const note = readNote(event.data);
      if (note && note.from !== address) this.#hear(note, handlers);
    };
    if (!this.#locks) this.#beat(handlers, this.#world.now());
  }

  hello(sealed: Bytes): void {
    this.#post({ kind: 'hello', from: this.#address, bytes: sealed });
  }

  announce(sealed: Bytes): void {
    this.#post({ kind: 'presence', from: this.#address, bytes: sealed });
  }

  signal(to: string, sealed: Bytes): void {
    this.#post({ kind: 'signal', from: this.#address, to, bytes: sealed });
  }

  close(bye?: Bytes): Promise<void> {
    if (bye) this.#post({ kind: 'bye', from: this.#address, bytes: bye });
    this.#cancelBeat();
    for (const watch of this.#watches.values()) watch.abort();
    this.#watches.clear();
    this.#freeLock();
    if (this.#channel) this.#channel.onmessage = null;
    this.#channel?.close();
    this.#channel = undefined;
    return Promise.resolve();
  }

  #post(note: Note): void {
    this.#channel?.postMessage(note);
  }

  #hear(note: Note, handlers: CarrierHandlers): void {
    if (this.#heard.has(note.from)) this.#heard.set(note.from, this.#world.now());
    if (!note.bytes) return;
    if (note.kind === 'hello') handlers.onHello(note.from, note.bytes);
    else if (note.kind === 'presence') handlers.onPresence(note.from, note.bytes, true);
    else if (note.kind === 'signal' && note.to === this.#address) handlers.onSignal(note.from, note.bytes);
    else if (note.kind === 'bye') handlers.onBye(note.from, note.bytes);
  }

  watch(address: string): void {
    this.#heard.set(address, this.#world.now());
    if (this.#locks && this.#handlers) this.#waitFor(this.#locks, address, this.#handlers);
  }

  unwatch(address: string): void {
    this.#watches.get(address)?.abort();
    this.#watches.delete(address);
    this.#heard.delete(address);
  }

  #lost(address: string, handlers: CarrierHandlers): void {
    this.unwatch(address);
    handlers.onGone(address, 'certain');
  }

  #lockName(address: string): string {
    return `tabmesh/${this.#room}/${address}`;
  }

  #holdOwnLock(locks: Locks): Promise<void> {
    return new Promise((granted, refused) => {
      const held = locks.request(
        this.#lockName(this.#address),
        {},
        () =>
          new Promise<void>((free) => {
            this.#freeLock = free;
            granted();
          }),
      );
      held.catch(refused);
    });
  }

  #waitFor(locks: Locks, address: string, handlers: CarrierHandlers): void {
    if (this.#watches.has(address)) return;
    const watch = new AbortController();
    this.#watches.set(address, watch);
    const waiting = locks.request(this.#lockName(address), { signal: watch.signal }, () => {
      if (this.#watches.get(address) === watch) this.#lost(address, handlers);
      return Promise.resolve();
    });
    waiting.catch((error: unknown) => {
      // Our own abort ends the wait; anything else means that this watch is blind.
      if (!watch.signal.aborted) handlers.onDown(`cannot watch a tab (${String(error)})`);
    });
  }

  #beat(handlers: CarrierHandlers, lastBeat: number): void {
    this.#cancelBeat = this.#world.timer(this.#heartbeatMs, () => {
      const now = this.#world.now();
      this.#post({ kind: 'alive', from: this.#address });
      // After a pause of our own (a frozen tab) the silence of the others proves nothing: they get the pause as extra
      // time.
      const slept = Math.max(0, now - lastBeat - 2 * this.#heartbeatMs);
      for (const [address, heard] of this.#heard) {
        if (slept > 0) this.#heard.set(address, heard + slept);
        else if (now - heard > this.#silentMs) this.#lost(address, handlers);
      }
      this.#beat(handlers, now);
    });
  }
}

function readNote(data: unknown): Note | undefined {
  if (typeof data !== 'object' || data === null) return undefined;
  const { kind, from, to, bytes } = data as Partial<Record<keyof Note, unknown>>;
  if (kind !== 'hello' && kind !== 'presence' && kind !== 'signal' && kind !== 'bye' && kind !== 'alive')
    return undefined;
  if (!isAddress(from)) return undefined;
  return {
    kind,
    from,
    ...(typeof to === 'string' ? { to } : {}),
    // Another realm's typed array is not an instance of ours; a copy is.
    ...(ArrayBuffer.isView(bytes) ? { bytes: new Uint8Array(bytes as Uint8Array<ArrayBuffer>) } : {}),
  };
}
