// Web Locks as signs of life between tabs of one browser: a tab holds a lock for as long as it lives, and the browser
// gives it to the next in line at once when the tab is closed or crashes. Where there are no locks nothing is held and
// nobody is watched: a dead tab is then noticed by its port, or by silence.

type Locks = Pick<LockManager, 'request' | 'query'>;

function locks(): Locks | undefined {
  return (globalThis as { navigator?: { locks?: Locks } }).navigator?.locks;
}

/**
 * Holds a lock until the returned function is called, or this tab is gone. Rejects when the browser refuses locks to
 * this page.
 */
export async function holdTabLock(name: string): Promise<() => void> {
  const manager = locks();
  if (!manager) return () => undefined;
  return new Promise((resolve, reject) => {
    manager
      .request(
        name,
        () =>
          new Promise<void>((release) => {
            resolve(release);
          }),
      )
      .catch(reject);
  });
}

/** Whether anybody in this browser holds the lock now. */
export async function isTabLockHeld(name: string): Promise<boolean> {
  const { held = [] } = (await locks()?.query()) ?? {};
  return held.some((lock) => lock.name === name);
}

/** Calls `then` when whoever holds the lock has let it go, unless `signal` aborts before. */
export function whenTabLockReleased(name: string, signal: AbortSignal, then: () => void): void {
  // Shared: the next who waits need not wait for us. Rejects when the signal aborts: nobody waits any more.
  locks()
    ?.request(name, { signal, mode: 'shared' }, then)
    .catch(() => undefined);
}
