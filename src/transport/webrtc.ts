// A Wire over an open or opening RTCDataChannel (ordered, reliable), on the page or in a worker that the channel was
// transferred to. Traps. Chromium closes a channel that sends more than 256 KiB at once and throws when 16 MiB are
// queued; a bufferedAmountLowThreshold at or above the sender's window never fires. The link has 64 KiB frames and a
// 256 KiB window unless its tuner finds better (tune-link.ts).

import { LimitError } from '../base/errors.ts';
import { BaseWire, LOW_WATER_BYTES, MAX_MESSAGE_BYTES } from './base-wire.ts';
import type { ChannelMaker, DataChannel, StatsSource } from './pipes/pipes.ts';
import type { Wire } from './transport.ts';

/**
 * `kind` tells people where the channel lives: 'webrtc page' or 'webrtc worker'. `gone` aborts when the tab at the
 * other end is known to be gone.
 */
export function channelWire(channel: DataChannel, kind = 'webrtc page', gone?: AbortSignal): Wire {
  return new ChannelWire(channel, kind, gone);
}

class ChannelWire extends BaseWire {
  readonly kind: string;
  readonly #channel: DataChannel;
  /** Sent while the channel was still opening. */
  #opening: Uint8Array<ArrayBuffer>[] = [];
  #openingBytes = 0;
  #fault: string | undefined;
  /**
   * Aborts when the wire has ended. Chromium keeps a channel with listeners, and with it the connection, for as long as
   * it has not told of its close: for ever if it never does.
   */
  readonly #ended = new AbortController();

  constructor(channel: DataChannel, kind: string, gone?: AbortSignal) {
    super();
    this.kind = kind;
    this.#channel = channel;
    channel.binaryType = 'arraybuffer';
    // The event fires at or below the threshold, onDrain below the mark.
    channel.bufferedAmountLowThreshold = LOW_WATER_BYTES - 1;
    const { signal } = this.#ended;
    const on = (type: string, listener: (event: any) => void): void => {
      channel.addEventListener(type, listener);
      signal.addEventListener('abort', () => channel.removeEventListener?.(type, listener), { once: true });
    };
    on('message', (event: MessageEvent<unknown>) => {
      if (event.data instanceof ArrayBuffer) this.deliver(new Uint8Array(event.data));
      else this.#end('it sent text on a binary channel', true);
    });
    on('bufferedamountlow', () => this.drained());
    on('open', () => this.#flush());
    on('error', (event: Event) => {
      this.#fault = faultOf(event);
    });
    on('close', () => this.#end(this.#closeReason()));
    gone?.addEventListener('abort', () => this.#end('the tab at the other end of the data channel is gone'), {
      signal,
    });
    if (channel.readyState === 'closed' || channel.readyState === 'closing') this.#end(this.#closeReason());
  }

  get bufferedAmount(): number {
    return this.#channel.bufferedAmount + this.#openingBytes;
  }

  send(message: Uint8Array<ArrayBuffer>): void {
    if (message.length > MAX_MESSAGE_BYTES)
      throw new LimitError(
        `data channel: expected a message of at most ${MAX_MESSAGE_BYTES} bytes, got ${message.length}; send it in pieces`,
      );
    const { readyState } = this.#channel;
    if (readyState === 'open' && this.#opening.length === 0) this.#put(message);
    else if (readyState === 'connecting' || readyState === 'open') {
      this.#opening.push(message.slice());
      this.#openingBytes += message.length;
    }
  }

  close(): void {
    this.#opening = [];
    this.#openingBytes = 0;
    this.#ended.abort();
    this.#channel.close();
  }

  #flush(): void {
    for (const message of this.#opening) this.#put(message);
    this.#opening = [];
    this.#openingBytes = 0;
    // What was refused while the channel opened has no drain event of its own.
    if (this.#channel.bufferedAmount < LOW_WATER_BYTES) this.drained();
  }

  #put(message: Uint8Array<ArrayBuffer>): void {
    try {
      this.#channel.send(message);
    } catch (error) {
      this.#end(
        `the data channel refused ${message.length} bytes with ${this.#channel.bufferedAmount} queued (${error instanceof Error ? error.message : String(error)})`,
      );
    }
  }

  #end(reason: string, broken = false): void {
    this.#ended.abort();
    this.#channel.close();
    this.closed(reason, broken);
  }

  #closeReason(): string {
    return this.#fault === undefined ? 'the data channel was closed' : `the data channel failed (${this.#fault})`;
  }
}

/** What an RTCErrorEvent says; a worker's global scope may not know the class. */
function faultOf(event: Event): string {
  const { error } = event as Event & { error?: { message?: unknown; errorDetail?: unknown } };
  const text = error?.message ?? error?.errorDetail;
  return typeof text === 'string' && text ? text : 'no detail given';
}

/**
 * The three channels to one peer. Both sides create them under fixed ids (negotiated), before the connection
 * negotiates, so that nothing is said in band. A channel may be transferred to a worker only in the task that created
 * it.
 */
export function openLanes<C extends DataChannel>(pc: ChannelMaker<C>): { control: C; bulk: C; latency: C } {
  const open = (label: string, id: number): C => {
    const channel = pc.createDataChannel(label, { negotiated: true, id, ordered: true });
    channel.binaryType = 'arraybuffer';
    if ('getStats' in pc) connections.set(channel, pc as unknown as StatsSource);
    return channel;
  };
  return { control: open('control', 10), bulk: open('bulk', 11), latency: open('latency', 12) };
}

/** Whose channels are whose: a channel itself does not tell its connection. */
const connections = new WeakMap<DataChannel, StatsSource>();

/**
 * The connection that `openLanes` made this channel on; undefined for other channels, and where the channel was
 * transferred to.
 */
export function connectionOf(channel: DataChannel): StatsSource | undefined {
  return connections.get(channel);
}

let transferable: boolean | undefined;

/** True if this browser can transfer a data channel to a worker; asked once, of a channel that is thrown away. */
export function channelTransferWorks(): boolean {
  if (transferable === undefined) {
    const pc = new RTCPeerConnection();
    const { port1 } = new MessageChannel();
    try {
      const channel = pc.createDataChannel('test', { negotiated: true, id: 1 });
      port1.postMessage(channel, [channel as unknown as Transferable]);
      transferable = true;
    } catch {
      // DataCloneError: the browser does not know channels as transferable.
      transferable = false;
    } finally {
      port1.close();
      pc.close();
    }
  }
  return transferable;
}
