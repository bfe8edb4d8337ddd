// Issue early, wait late. A collective starts, and takes its number, when it is called; its promise may be awaited at
// any time. A promise that rejects before it is awaited would count as unhandled, so what is awaited late goes through
// `issue`.

export interface Handle<T> {
  /** True when the operation has ended, well or not. */
  readonly ended: boolean;
  /** Resolves or rejects as the operation did; may be called any number of times. */
  wait(): Promise<T>;
}

/**
 * `const sum = issue(allReduce(world, gradient)); ...; await sum.wait();` The arrays belong to the operation until
 * then.
 */
export function issue<T>(running: Promise<T>): Handle<T> {
  let ended = false;
  const end = (): void => {
    ended = true;
  };
  running.then(end, end);
  return {
    get ended() {
      return ended;
    },
    wait: () => running,
  };
}
