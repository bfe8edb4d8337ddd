// The one place where events leave the training. Whoever shows or keeps them may fail (a full disk, a closed window, a
// value that cannot be cloned): the training goes on, and the failure is told as a note. A result that could not be
// handed over is also thrown, but only when the run is over.

import type { RunEvent } from '../run.ts';

const RESULTS: ReadonlySet<RunEvent['kind']> = new Set(['gradients', 'checkpoint', 'model']);

export class Telling {
  readonly #onEvent: (event: RunEvent) => void;
  #lost: { readonly error: unknown } | undefined;

  constructor(onEvent: (event: RunEvent) => void) {
    this.#onEvent = onEvent;
  }

  /** Never throws. `step` is the number of steps done. */
  readonly tell = (event: RunEvent, step: number): void => {
    try {
      this.#onEvent(event);
    } catch (error) {
      if (RESULTS.has(event.kind)) this.#lost ??= { error };
      this.#note(step, `what was told of the ${event.kind} could not be used (${sentence(error)})`);
    }
  };

  /** Throws the first error of whoever should have taken a result. */
  settle(): void {
    if (this.#lost) throw this.#lost.error;
  }

  #note(step: number, text: string): void {
    try {
      this.#onEvent({ kind: 'note', step, text });
    } catch {
      // Who cannot take the event and cannot take the note about it can be told nothing.
    }
  }
}

export function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
