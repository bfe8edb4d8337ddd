// Until every rank is known to hold the weights of a step, its update can be taken back: what it overwrites is kept
// beside it. A rank reports on step s + 1 only after it has the published weights of step s, so the reports of step
// s + 1 commit step s, at no message of its own. Hence when ranks are lost at any moment, those that are left have one
// step in common that each of them can go back to: a rank that has kept step s has heard that all others had it, and
// keeps it until it has heard the same of step s + 1. Costs the memory of weights and moments once more, and a copy on
// the device per step.

import type { Device, Range } from '../../device/device.ts';
import { InternalError } from '../../base/errors.ts';

interface Pair {
  readonly live: Range;
  readonly kept: Range;
}

export class CommitPoint {
  readonly device: Device;
  readonly #pairs: readonly Pair[];
  /** Steps done in the state that is kept beside; undefined before the first update. */
  #kept: number | undefined;
  /** Steps done in the live state; undefined while an update or its publication is under way. */
  #live: number | undefined;

  /** `state`: all that an update changes, as it is after `steps` steps. */
  constructor(device: Device, state: readonly Range[], steps: number) {
    this.device = device;
    this.#pairs = state.map((live) => {
      const buffer = device.alloc(live.bytes, 'optimizer', `committed ${live.buffer.label}`);
      return { live, kept: { buffer, offset: 0, bytes: live.bytes } };
    });
    this.#live = steps;
  }

  /** Steps done in each state that this rank can go back to, the later one first. */
  get states(): readonly number[] {
    return [this.#live, this.#kept].filter((steps) => steps !== undefined);
  }

  /** All ranks have reported on the next step, so they hold the live state: it takes the place of the one kept. */
  begin(): void {
    if (this.#live === undefined) throw new InternalError('a commit point begins where the last one has not ended');
    this.device.copy(this.#pairs.map(({ live, kept }) => ({ from: live, to: kept })));
    this.#kept = this.#live;
    this.#live = undefined;
  }

  /** The weights are updated and published: this rank holds the state after `steps` steps. */
  end(steps: number): void {
    this.#live = steps;
  }

  /** The live state was loaded anew. */
  reset(steps: number): void {
    this.#kept = undefined;
    this.#live = steps;
  }

  /** Goes back to the state after `steps` steps, which must be one of `states`. */
  restore(steps: number): void {
    if (this.#live === steps) return;
    if (this.#kept !== steps)
      throw new InternalError(
        `this rank holds the states after ${this.states.join(' and ')} steps, not after ${steps}`,
      );
    this.device.copy(this.#pairs.map(({ live, kept }) => ({ from: kept, to: live })));
    this.#live = steps;
  }

  dispose(): void {
    for (const { kept } of this.#pairs) this.device.free(kept.buffer);
  }
}
