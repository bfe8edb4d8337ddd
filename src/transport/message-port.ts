// A Wire over a MessagePort: between two workers, a worker and its page, or two tabs of one browser. Each message
// travels as a transferred buffer. A port tells nothing about its queue, so the receiver acknowledges: on the port, an
// ArrayBuffer is a message, a number is the bytes handed over since the last number, a string is the reason for
// closing, a list of one string the same for a peer that broke the rules. Cost: one copy per message (the caller keeps
// its bytes), none for one that was lent. relayChannel is the page's half for browsers that cannot transfer a data
// channel: it pumps channel <-> port and lets acknowledgements wait for the channel.

import { BaseWire, LOW_WATER_BYTES } from './base-wire.ts';
import type { Port } from './pipes/pipes.ts';
import type { Wire } from './transport.ts';
import { channelWire } from './webrtc.ts';

/**
 * `kind` says what lies behind the port: 'message-port', 'same browser' for another tab, or 'webrtc relay' when the
 * page relays a data channel. `gone` aborts when the other end is known to be gone, from whoever can tell: a browser
 * may not tell it of the port.
 */
export function messagePortWire(port: Port, kind = 'message-port', gone?: AbortSignal): Wire {
  return new PortWire(port, kind, gone);
}

/**
 * Most that a page passes on to a worker that has not taken it: a sound worker is never so late that a sound peer gets
 * there.
 */
export const MAX_RELAYED_BYTES = 128 * 1024 * 1024;
export const MAX_RELAYED_MESSAGES = 65_536;
/** Of what the other end gives as a reason. */
const MAX_REASON = 300;

class PortWire extends BaseWire {
  readonly kind: string;
  readonly #port: Port;
  #buffered = 0;
  /** Messages that the other end has not acknowledged. */
  #unheard = 0;
  #closed = false;
  readonly #ended = new AbortController();
  #lent: Uint8Array<ArrayBuffer> | undefined;

  constructor(port: Port, kind: string, gone?: AbortSignal) {
    super();
    this.kind = kind;
    this.#port = port;
    port.addEventListener('message', (event: MessageEvent<unknown>) => this.#receive(event.data));
    port.addEventListener('messageerror', () => this.#end('a message on the port could not be read'));
    port.addEventListener('close', () => this.#end('the port was closed'));
    // The other end may live much longer than this port.
    gone?.addEventListener('abort', () => this.#end('the tab at the other end of the port is gone'), {
      signal: this.#ended.signal,
    });
    port.start();
  }

  get bufferedAmount(): number {
    return this.#buffered;
  }

  lend(bytes: number): Uint8Array<ArrayBuffer> {
    return (this.#lent = new Uint8Array(bytes));
  }

  send(message: Uint8Array<ArrayBuffer>): void {
    if (this.#closed) return;
    const { buffer } = message === this.#lent ? message : message.slice();
    this.#lent = undefined;
    this.#buffered += buffer.byteLength;
    this.#unheard++;
    this.#port.postMessage(buffer, [buffer]);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ended.abort();
    this.#port.postMessage('the other end closed the port', []);
    this.#port.close();
  }

  #receive(data: unknown): void {
    if (this.#closed) return;
    if (data instanceof ArrayBuffer) {
      const bytes = data.byteLength;
      this.deliver(new Uint8Array(data));
      if (!this.#closed) this.#port.postMessage(bytes, []);
    } else if (typeof data === 'number' && data >= 0 && data <= this.#buffered && this.#unheard > 0) {
      this.#unheard--;
      const before = this.#buffered;
      this.#buffered -= data;
      if (before >= LOW_WATER_BYTES && this.#buffered < LOW_WATER_BYTES) this.drained();
    } else if (typeof data === 'string') this.#end(data.slice(0, MAX_REASON));
    else
      this.#end(
        Array.isArray(data) && typeof data[0] === 'string'
          ? data[0].slice(0, MAX_REASON)
          : 'it broke the protocol of the port',
        true,
      );
  }

  #end(reason: string, broken = false): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ended.abort();
    this.#port.close();
    this.closed(reason, broken);
  }
}

/**
 * Joins a data channel of this page to a port whose other end a worker holds as `messagePortWire(port, 'webrtc
 * relay')`. Either end's close closes both.
 */
export function relayChannel(channel: RTCDataChannel, port: MessagePort): void {
  relayWire(channelWire(channel), port);
}

/**
 * The pump behind relayChannel, over any wire. What the worker has not taken is counted: nothing can hold a data
 * channel back, so a peer that sends more is cut off.
 */
export function relayWire(wire: Wire, port: MessagePort): void {
  let owed = 0;
  const untaken = { bytes: 0, messages: 0 };
  let ended = false;
  const settle = (): void => {
    if (owed === 0 || ended) return;
    port.postMessage(owed);
    owed = 0;
  };
  const end = (reason: string, broken = false): void => {
    if (ended) return;
    ended = true;
    wire.onMessage = wire.onClose = wire.onDrain = undefined;
    wire.close();
    port.postMessage(broken ? [reason] : reason);
    port.close();
  };
  port.addEventListener('message', (event: MessageEvent<unknown>) => {
    if (ended) return;
    const { data } = event;
    if (data instanceof ArrayBuffer) {
      owed += data.byteLength;
      wire.send(new Uint8Array(data));
      // Above the low-water mark a drain event is sure to come; below it none would.
      if (wire.bufferedAmount < LOW_WATER_BYTES) settle();
    } else if (typeof data === 'number') {
      // Our own worker: its count is right.
      untaken.bytes -= data;
      untaken.messages--;
    } else if (typeof data === 'string') end(data);
  });
  port.addEventListener('close', () => end('the worker closed its port'));
  wire.onDrain = settle;
  wire.onMessage = (message) => {
    untaken.bytes += message.byteLength;
    if (++untaken.messages > MAX_RELAYED_MESSAGES || untaken.bytes > MAX_RELAYED_BYTES) {
      end(
        `it sent ${untaken.bytes} bytes in ${untaken.messages} messages that this tab could not take yet; at most ${MAX_RELAYED_BYTES} and ${MAX_RELAYED_MESSAGES} are kept`,
        true,
      );
      return;
    }
    const whole = message.byteLength === message.buffer.byteLength ? message.buffer : message.slice().buffer;
    port.postMessage(whole, [whole]);
  };
  wire.onClose = end;
  port.start();
}
