// Start of a link: both ends say hello (ranks, lanes, time for the tuner), and what speaks of messages waits for the
// peer's hello, so a late peer loses nothing. The peer may have started after our hello was lost with an older link:
// answered until it has heard us.

import { encodeHello } from '../control.ts';
import type { Hello } from '../control.ts';
import type { Frame } from '../frame.ts';

/**
 * A peer that has not heard us says hello anew for each link that it starts; more answers than this would fill our
 * control lane at its will.
 */
const MAX_HELLOS = 64;

/** What a link says of itself, and expects of its peer. */
export interface Ends {
  readonly self: number;
  readonly peer: number;
  /** Wires that carry data. */
  readonly lanes: number;
  /** Longest that this end lets the tuner take. */
  readonly tuneMs: number;
}

export interface HandshakeEvents {
  fault(evidence: 'corrupt', detail: string): void;
  sendHello(payload: Uint8Array<ArrayBuffer>): void;
  /** On the control lane. */
  transmit(frame: Frame): void;
  /** The peer is there, and has been told what waited; both ends allow the tuner `budgetMs`. */
  opened(budgetMs: number): void;
}

export class Handshake {
  readonly #ends: Ends;
  readonly #events: HandshakeEvents;
  #open = false;
  #hellos = 0;
  /** Announces, grants and credits that wait for the peer's hello. */
  #waiting: Frame[] = [];

  constructor(ends: Ends, events: HandshakeEvents) {
    this.#ends = ends;
    this.#events = events;
  }

  /** The peer has said hello. */
  get open(): boolean {
    return this.#open;
  }

  sayHello(): void {
    const { self, peer, lanes, tuneMs } = this.#ends;
    this.#events.sendHello(encodeHello({ sender: self, receiver: peer, heard: this.#open, lanes, tuneMs }));
  }

  hello({ sender, receiver, heard, lanes, tuneMs }: Hello): void {
    const { self, peer } = this.#ends;
    const fault = (detail: string): void => this.#events.fault('corrupt', detail);
    if (sender !== peer || receiver !== self)
      return fault(`it says that it is rank ${sender} and speaks to rank ${receiver}, expected ${peer} and ${self}`);
    if (++this.#hellos > MAX_HELLOS) return fault(`it said hello more than ${MAX_HELLOS} times`);
    if (lanes !== this.#ends.lanes)
      return fault(
        `it has ${lanes} lanes for data, this tab ${this.#ends.lanes}; both ends must open the same channels`,
      );
    const first = !this.#open;
    this.#open = true;
    if (!heard) this.sayHello();
    if (!first) return;
    for (const waiting of this.#waiting) this.#events.transmit(waiting);
    this.#waiting = [];
    this.#events.opened(Math.min(tuneMs, this.#ends.tuneMs));
  }

  /** Sends the frame as soon as the peer is there. */
  whenOpen(frame: Frame): void {
    if (this.#open) this.#events.transmit(frame);
    else this.#waiting.push(frame);
  }

  fail(): void {
    this.#waiting = [];
  }
}
