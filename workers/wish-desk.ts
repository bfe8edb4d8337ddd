// What a page wants of the run of its rank: taken with the exchange that ends a step, or while all ranks wait.

import type { SampleAsk } from '../src/train/beside/ask.ts';
import type { Word } from '../src/train/beside/waiting.ts';
import type { Requests } from '../src/train/step/requests.ts';

/**
 * `sample`: true for a plain one. With nothing in it: somebody else in the room wants something of a run that waits.
 */
export interface Wish {
  readonly stop?: boolean;
  readonly save?: boolean;
  readonly sample?: boolean | SampleAsk;
}

/** Who asks for more has to wait for an answer first. */
const MOST_ASKS = 8;

export class WishDesk {
  #stop = false;
  #save = false;
  #plain = false;
  #paused = false;
  /** Somebody wants something, and nobody has looked since. */
  #rung = false;
  readonly #asks: SampleAsk[] = [];
  #wake = (): void => {};

  /** A new run begins. */
  clear(): void {
    this.#stop = this.#save = this.#plain = this.#paused = this.#rung = false;
    this.#asks.length = 0;
  }

  /** The run is over: what it was asked to do is done, and what comes now is for its model. */
  over(): void {
    this.#stop = this.#paused = false;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#wake();
  }

  request({ stop, save, sample }: Wish): void {
    this.#stop ||= stop === true;
    this.#save ||= save === true;
    if (typeof sample === 'object') {
      if (this.#asks.length < MOST_ASKS) this.#asks.push(sample);
    } else this.#plain ||= sample === true;
    this.#rung = true;
    this.#wake();
  }

  /** The wishes for the exchange that is made now. A stop and a pause stay. */
  take(): Requests {
    const now = {
      stop: this.#stop,
      save: this.#save,
      sample: this.#plain || this.#asks.length > 0,
      pause: this.#paused,
    };
    this.#save = this.#plain = this.#rung = false;
    return now;
  }

  takeAsk(): SampleAsk | undefined {
    return this.#asks.shift();
  }

  /**
   * Resolves when a run that waits has something to do; only one may wait. Without a pause, nobody can let it go on.
   */
  async next(paused: boolean): Promise<Word> {
    for (;;) {
      if (this.#rung || this.#stop || this.#asks.length > 0) return 'serve';
      if (paused && !this.#paused) return 'go';
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
