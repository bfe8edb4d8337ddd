// Web Locks as signs of life between tabs of one browser: a tab holds a lock for as long as it lives, and the browser
// gives it to the next in line at once when the tab is closed or crashes. Where there are no locks nothing is held and
// nobody is watched: a dead tab is then noticed by its port, or by silence.

type Locks = Pick<LockManager, 'request' | 'query'>;

function locks(): Locks | undefined {
  return (globalThis as { navigator?: { locks?: Locks } }).navigator?.locks;
}

/**
 * Holds a lock until the returned function is called, or this tab is gone; `shared`: together with others who hold it
 * so. Rejects when the browser refuses locks to this page.
 */
export async function holdTabLock(name: string, mode: LockMode = 'exclusive'): Promise<() => void> {
  const manager = locks();
  if (!manager) return () => undefined;
  return new Promise((resolve, reject) => {
    manager
      .request(
        name,
        { mode },
        () =>
          new Promise<void>((release) => {
            resolve(release);
          }),
      )
      .catch(reject);
  });
}

/** How many in this browser hold the lock now. Rejects as holdTabLock does. */
export async function countTabLockHolders(name: string): Promise<number> {
  const { held = [] } = (await locks()?.query()) ?? {};
  return held.filter((lock) => lock.name === name).length;
}

/** Whether anybody in this browser holds the lock now. Rejects as holdTabLock does. */
export async function isTabLockHeld(name: string): Promise<boolean> {
  return (await countTabLockHolders(name)) > 0;
}

/** Calls `then` when whoever holds the lock has let it go, unless `signal` aborts before. */
export function whenTabLockReleased(name: string, signal: AbortSignal, then: () => void): void {
  // Shared: the next who waits need not wait for us. Rejects when the signal aborts: nobody waits any more.
  locks()
    ?.request(name, { signal, mode: 'shared' }, then)
    .catch(() => undefined);
}
