// Launches that a thread computes itself, as the queue of a GPU: what is written or submitted later sees all of what
// was submitted before, though a submission lets other tasks of the thread in between.

import { nextTask } from '../base/world.ts';
import type { DeviceCounters, Launch, Range } from './device.ts';

export interface HostLaunch extends Launch {
  /** About how long it takes, in the unit of the queue's breath. */
  readonly work: number;
  run(): void;
}

interface Submission {
  readonly launches: readonly HostLaunch[];
  next: number;
  readonly readback: readonly Range[];
  results?: ArrayBuffer[];
}

export class HostQueue {
  readonly #counters: DeviceCounters;
  readonly #breath: number;
  readonly #read: (range: Range) => ArrayBuffer;
  #current: Submission | undefined;
  #sinceBreath = 0;

  /** `breath`: work between two tasks of the thread, counted over submits. `read` copies the bytes of a range. */
  constructor(counters: DeviceCounters, breath: number, read: (range: Range) => ArrayBuffer) {
    this.#counters = counters;
    this.#breath = breath;
    this.#read = read;
  }

  /** Of what is under way, all that is left, now. */
  finish(): void {
    if (this.#current) this.#finish(this.#current);
  }

  /** Nothing more of what is under way is run: the device is gone. */
  drop(): void {
    this.#current = undefined;
  }

  /** `check` throws when the device is gone. What a launch throws ends its submission. */
  async run(
    launches: readonly HostLaunch[],
    readback: readonly Range[],
    check: () => void,
  ): Promise<readonly ArrayBuffer[]> {
    this.finish();
    const own: Submission = { launches, next: 0, readback };
    this.#current = own;
    try {
      // A GPU would leave this thread free to hear a stop, a pause or a signal.
      while (this.#current === own && own.next < launches.length) {
        this.#sinceBreath += launches[own.next].work;
        this.#runNext(own);
        if (this.#sinceBreath < this.#breath) continue;
        this.#sinceBreath = 0;
        await nextTask();
        check();
      }
      this.#finish(own);
      return own.results!;
    } finally {
      if (this.#current === own) this.#current = undefined;
    }
  }

  #runNext(submission: Submission): void {
    submission.launches[submission.next++].run();
    this.#counters.launches++;
  }

  #finish(submission: Submission): void {
    if (submission.results) return;
    while (submission.next < submission.launches.length) this.#runNext(submission);
    if (submission.readback.length) this.#counters.readbacks++;
    submission.results = submission.readback.map((range) => {
      this.#counters.bytesRead += range.bytes;
      return this.#read(range);
    });
    if (this.#current === submission) this.#current = undefined;
  }
}
