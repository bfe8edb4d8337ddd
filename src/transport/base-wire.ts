// What every Wire does alike: messages that arrive before somebody listens wait (bounded), the close is told once and
// after them. A subclass calls `deliver`, `drained` and `closed`; onClose is not called for one's own close().

import type { Wire } from './transport.ts';

/**
 * onDrain fires when bufferedAmount falls below this. A sender's window must exceed it by one message, or it waits for
 * ever.
 */
export const LOW_WATER_BYTES = 64 * 1024;
/** Chromium closes a data channel that sends more at once. */
export const MAX_MESSAGE_BYTES = 256 * 1024;
/**
 * Before anybody listens a sound peer says hello and gives signs of life, no more. Three lanes of this are within what
 * a link keeps.
 */
export const MAX_WAITING_MESSAGES = 1024;
export const MAX_WAITING_BYTES = 8 * 1024 * 1024;

export abstract class BaseWire implements Wire {
  abstract readonly kind: string;
  abstract readonly bufferedAmount: number;
  onDrain: (() => void) | undefined = undefined;
  #onMessage: ((message: Uint8Array<ArrayBuffer>) => void) | undefined;
  #onClose: Wire['onClose'];
  #waiting: Uint8Array<ArrayBuffer>[] = [];
  #waitingBytes = 0;
  #reason: string | undefined;
  #broken = false;
  #told = false;

  abstract send(message: Uint8Array<ArrayBuffer>): void;
  abstract close(): void;

  get onMessage(): ((message: Uint8Array<ArrayBuffer>) => void) | undefined {
    return this.#onMessage;
  }
  set onMessage(handler: ((message: Uint8Array<ArrayBuffer>) => void) | undefined) {
    this.#onMessage = handler;
    if (handler) queueMicrotask(() => this.#flush());
  }

  get onClose(): Wire['onClose'] {
    return this.#onClose;
  }
  set onClose(handler: Wire['onClose']) {
    this.#onClose = handler;
    if (handler) queueMicrotask(() => this.#flush());
  }

  /** Hands a message to the listener, now or once there is one. */
  protected deliver(message: Uint8Array<ArrayBuffer>): void {
    if (this.#reason !== undefined) return;
    if (this.#onMessage && this.#waiting.length === 0) {
      this.#onMessage(message);
      return;
    }
    if (this.#waiting.length >= MAX_WAITING_MESSAGES || this.#waitingBytes + message.length > MAX_WAITING_BYTES) {
      this.close();
      this.closed(
        `more than ${MAX_WAITING_MESSAGES} messages or ${MAX_WAITING_BYTES} bytes came before anybody listened`,
        true,
      );
      return;
    }
    this.#waiting.push(message);
    this.#waitingBytes += message.length;
  }

  protected drained(): void {
    this.onDrain?.();
  }

  /**
   * The pipe has ended, by the peer or by a fault; told once, after the waiting messages. `broken`: by what no sound
   * peer does.
   */
  protected closed(reason: string, broken = false): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#broken = broken;
    this.#flush();
  }

  #flush(): void {
    while (this.#onMessage && this.#waiting.length > 0) {
      const message = this.#waiting.shift()!;
      this.#waitingBytes -= message.length;
      this.#onMessage(message);
    }
    if (this.#reason === undefined || this.#told || this.#waiting.length > 0 || !this.#onClose) return;
    this.#told = true;
    this.#onClose(this.#reason, this.#broken);
  }
}
