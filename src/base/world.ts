// The one place where the runtime meets clocks, timers and randomness. A test passes a virtual World, so a whole
// cluster runs in one process under a seeded clock. tests/layers.test.ts refuses these globals anywhere else below
// level 7.

export interface World {
  /** Milliseconds on a monotonic clock with an arbitrary origin. */
  now(): number;
  /** Calls `fire` once after `delayMs`; the returned function cancels it. Never used to pace training. */
  timer(delayMs: number, fire: () => void): () => void;
  /** `length` random bytes, good enough for identities and keys. */
  randomBytes(length: number): Uint8Array<ArrayBuffer>;
}

/** `length` random bytes as lower-case hexadecimal digits: an address or a name that nobody else takes. */
export function randomHex(world: Pick<World, 'randomBytes'>, length: number): string {
  return Array.from(world.randomBytes(length), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The real clock of this browser, worker or Node process. */
export const realWorld: World = {
  now: () => performance.now(),
  timer(delayMs, fire) {
    const id = setTimeout(fire, delayMs);
    return () => clearTimeout(id);
  },
  randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
};

/**
 * Resolves in a later task of this thread, behind the messages, signals and input that wait now. Who computes for long
 * without waiting for anything awaits it now and then, so that the thread hears what it is told. No delay: neither a
 * timer nor its throttling.
 */
export function nextTask(): Promise<void> {
  if (typeof setImmediate === 'function')
    return new Promise((resolve) => {
      setImmediate(resolve);
    });
  tasks ??= messageTasks();
  return tasks();
}

let tasks: (() => Promise<void>) | undefined;

/** Tasks of a browser: messages to oneself. */
function messageTasks(): () => Promise<void> {
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()!();
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      port2.postMessage(null);
    });
}

/** A World whose time moves only when `advance` is called; timers fire in order of due time, then of creation. */
export class VirtualWorld implements World {
  #now = 0;
  #order = 0;
  #seed: number;
  readonly #timers = new Map<number, { due: number; fire: () => void }>();

  constructor(seed = 1) {
    this.#seed = seed >>> 0;
  }

  now(): number {
    return this.#now;
  }

  timer(delayMs: number, fire: () => void): () => void {
    const id = this.#order++;
    this.#timers.set(id, { due: this.#now + delayMs, fire });
    return () => {
      this.#timers.delete(id);
    };
  }

  randomBytes(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      // xorshift32: any seeded stream will do, nothing here is a secret.
      this.#seed ^= this.#seed << 13;
      this.#seed >>>= 0;
      this.#seed ^= this.#seed >>> 17;
      this.#seed ^= this.#seed << 5;
      this.#seed >>>= 0;
      bytes[i] = this.#seed & 255;
    }
    return bytes;
  }

  /** Timers that have not fired. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves time forward by `ms`, firing what falls due; lets promise reactions run between two timers. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      for (let i = 0; i < 20; i++) await Promise.resolve();
      let next = -1;
      let due = Infinity;
      for (const [id, timer] of this.#timers)
        if (timer.due < due) {
          next = id;
          due = timer.due;
        }
      if (next < 0 || due > end) break;
      const { fire } = this.#timers.get(next)!;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, due);
      fire();
    }
    this.#now = end;
  }
}
