// The threads that share the launches of one device. The rank's own thread is part 0; the others wait for what comes to
// the mailbox. Between two launches all have met, so nothing of one is seen half done by the next.

import { DeviceLostError } from '../../base/errors.ts';
import type { WasmInstance } from './instance.ts';
import { MAILBOX, MEETING_AT, scratchAt, SHARED_AT } from './instance.ts';
import type { WasmBuild, WasmFunction } from './module.ts';
import type { ThreadSetup } from './thread.ts';

/** A thread as the pool sees it. */
export interface Thread {
  /** Resolves (never rejects) to what it died of, if it does. */
  readonly died: Promise<string>;
  end(): void;
}

/** Starts a thread that runs `runThread(setup)`; resolves when it is ready. */
export type SpawnThread = (setup: ThreadSetup) => Promise<Thread>;

export class ThreadPool {
  readonly parts: number;
  readonly #instance: WasmInstance;
  readonly #names: readonly string[];
  readonly #threads: readonly Thread[];
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #meeting: Int32Array;
  #failure: DeviceLostError | undefined;
  #ended = false;
  readonly #lost: (error: DeviceLostError) => void;

  private constructor(
    instance: WasmInstance,
    names: readonly string[],
    threads: readonly Thread[],
    lost: (error: DeviceLostError) => void,
  ) {
    this.#instance = instance;
    this.#names = names;
    this.#threads = threads;
    this.#lost = lost;
    this.parts = threads.length + 1;
    const { buffer } = instance.memory;
    const { at, words, mostArguments } = MAILBOX;
    this.#words = new Int32Array(buffer, at, words);
    this.#doubles = new Float64Array(buffer, at + 4 * words, mostArguments);
    this.#meeting = new Int32Array(buffer, MEETING_AT, 3);
    for (const [i, { died }] of threads.entries())
      void died.then((why) => {
        if (!this.#ended) this.#fail(`thread ${i + 1} of ${this.parts}: ${why}`);
      });
  }

  /**
   * `parts - 1` threads beside this one. `lost` is called once, when one of them dies. Rejects when one cannot be
   * started; the others are ended then.
   */
  static async open(
    { module }: WasmBuild,
    instance: WasmInstance,
    parts: number,
    spawn: SpawnThread,
    lost: (error: DeviceLostError) => void,
  ): Promise<ThreadPool> {
    const names = Object.keys(instance.kernels);
    const setups = Array.from({ length: parts - 1 }, (_, i) => ({
      module,
      memory: instance.memory,
      names,
      part: i + 1,
      parts,
      meetingAt: MEETING_AT,
      mailbox: MAILBOX,
      sharedAt: SHARED_AT,
      scratchAt: scratchAt(i + 1),
    }));
    const started = await Promise.allSettled(setups.map(spawn));
    const threads = started.flatMap((thread) => (thread.status === 'fulfilled' ? [thread.value] : []));
    const failed = started.find((thread) => thread.status === 'rejected');
    if (failed) {
      for (const thread of threads) thread.end();
      throw failed.reason;
    }
    return new ThreadPool(instance, names, threads, lost);
  }

  /** The number by which the threads call `kernel`. */
  numberOf(kernel: string): number {
    return this.#names.indexOf(kernel);
  }

  /**
   * Runs one launch on all threads and returns when it is done. Throws DeviceLostError when a thread has died; one that
   * dies in the middle is noticed after 30 s.
   */
  run(number: number, kernel: WasmFunction, args: readonly number[]): void {
    if (this.#failure) throw this.#failure;
    if (this.#ended) throw new DeviceLostError('destroyed', 'the WebAssembly device');
    this.#doubles.set(args);
    this.#words[1] = number;
    this.#words[2] = args.length;
    Atomics.add(this.#words, 0, 1);
    Atomics.notify(this.#words, 0);
    kernel(...args, 0, this.parts);
    this.#instance.meet(this.parts);
    if (Atomics.load(this.#meeting, 2) !== 0)
      throw this.#fail('a thread did not finish its part of a kernel within 30 s');
  }

  /** Ends the threads. */
  end(): void {
    this.#ended = true;
    this.#words[1] = -1;
    Atomics.add(this.#words, 0, 1);
    Atomics.notify(this.#words, 0);
    for (const thread of this.#threads) thread.end();
  }

  #fail(why: string): DeviceLostError {
    if (!this.#failure) {
      this.#failure = new DeviceLostError(why, 'a thread');
      this.#lost(this.#failure);
    }
    return this.#failure;
  }
}
