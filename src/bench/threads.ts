// Threads of libraries on WebAssembly. They compute with one each, which not every library can be asked for (jax-js
// takes all cores where memory can be shared), and what they say of themselves need not be so. Threads of a page are
// workers, so those that a library starts are counted.

/**
 * From here on nothing in this page or worker can share memory between threads, as in a page that is not isolated.
 * For good: a library that compiled code for memory of one kind would mix it with the other.
 */
export function keepToOneThread(): void {
  // Node has no workers of this kind, and the process is not ours alone.
  if (typeof Worker !== 'undefined') Reflect.deleteProperty(globalThis, 'SharedArrayBuffer');
}

/** Counts the workers that each library starts. */
export class ThreadMeter {
  readonly #started = new Map<string, number>();
  readonly #original: typeof Worker | undefined;
  #now = '';

  constructor() {
    if (typeof Worker === 'undefined') return;
    this.#original = Worker;
    const count = (): void => {
      this.#started.set(this.#now, (this.#started.get(this.#now) ?? 0) + 1);
    };
    globalThis.Worker = class extends Worker {
      constructor(...given: ConstructorParameters<typeof Worker>) {
        super(...given);
        count();
      }
    };
  }

  /** What `work` starts is of `library`; one at a time. */
  async during<T>(library: string, work: () => Promise<T>): Promise<T> {
    this.#now = library;
    return work();
  }

  /** With the one that calls it. */
  threadsOf(library: string): number {
    return 1 + (this.#started.get(library) ?? 0);
  }

  stop(): void {
    if (this.#original) globalThis.Worker = this.#original;
  }
}
