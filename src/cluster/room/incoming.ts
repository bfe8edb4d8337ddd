// What arrived and waits to be handled, in order, because opening it is asynchronous. Bounded: a flood is dropped, not
// stored.

const MAX_WAITING = 2048;
/** Of these from one address. */
const MAX_WAITING_OF_ONE = 256;

export class Incoming {
  readonly #isOver: () => boolean;
  readonly #onFatal: (error: Error) => void;
  #handled: Promise<void> = Promise.resolve();
  #waiting = 0;
  readonly #waitingOf = new Map<string, number>();

  /** Nothing is handled once `isOver`; `onFatal` hears what a handler throws. */
  constructor(isOver: () => boolean, onFatal: (error: Error) => void) {
    this.#isOver = isOver;
    this.#onFatal = onFatal;
  }

  /** Resolves when all that has come so far is handled. */
  handled(): Promise<void> {
    return this.#handled;
  }

  take(from: string, handle: () => Promise<void> | void): void {
    const ofOne = this.#waitingOf.get(from) ?? 0;
    if (this.#waiting >= MAX_WAITING || ofOne >= MAX_WAITING_OF_ONE || this.#isOver()) return;
    this.#waiting++;
    this.#waitingOf.set(from, ofOne + 1);
    this.#handled = this.#handled.then(async () => {
      this.#waiting--;
      const left = this.#waitingOf.get(from)! - 1;
      if (left === 0) this.#waitingOf.delete(from);
      else this.#waitingOf.set(from, left);
      if (this.#isOver()) return;
      try {
        await handle();
      } catch (error) {
        this.#onFatal(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }
}
