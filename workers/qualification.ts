// How a worker qualifies its GPU: it remembers in IndexedDB, and tabs of one browser take turns, so that one measures
// and the others read what it found. Before the training the others wait for their turn; between steps they go on.

import { realWorld } from '../src/base/world.ts';
import { indexedDbTuneStore } from '../src/device/tune/indexed-db-store.ts';
import { Qualifier } from '../src/device/tune/qualifier.ts';
import type { TuneLock } from '../src/device/tune/store.ts';

const LOCK = 'tabmesh tune';
/** A frozen tab may hold the lock for ever; several that measure one after the other need this long. */
const PATIENCE_MS = 20_000;

/**
 * `tuneSeconds` as in RunConfig.tune. `later`: a software adapter measures between its steps; what makes no steps, as a
 * bench, measures at once.
 */
export async function browserQualifier(tuneSeconds: number, later: boolean): Promise<Qualifier> {
  return new Qualifier({
    world: realWorld,
    version: await browserVersion(),
    tuneMs: tuneSeconds * 1000,
    lock: takeTurns,
    later,
    turn: ifFree,
    ...(typeof indexedDB === 'undefined' ? {} : { store: indexedDbTuneStore(indexedDB) }),
  });
}

interface UserAgentData {
  getHighEntropyValues(
    hints: readonly string[],
  ): Promise<{ readonly uaFullVersion?: string; readonly platform?: string }>;
}

/** The whole version where the browser tells it; the user agent's has only its first number. */
async function browserVersion(): Promise<string> {
  const data = (navigator as { readonly userAgentData?: UserAgentData }).userAgentData;
  const { uaFullVersion = '' } = (await data?.getHighEntropyValues(['uaFullVersion']).catch(() => undefined)) ?? {};
  return `${navigator.userAgent} ${uaFullVersion}`.trim();
}

/** Works at once; undefined where another tab has the turn. */
export function ifFree<T>(work: () => Promise<T>): Promise<T | undefined> {
  return inTurn({ ifAvailable: true }, work);
}

const takeTurns: TuneLock = async (work) => {
  return (await inTurn({ signal: AbortSignal.timeout(PATIENCE_MS) }, work))!;
};

/** Where no turn comes, because the browser has no locks, refuses them, or lets nobody else go on, it works without. */
async function inTurn<T>(options: LockOptions, work: () => Promise<T>): Promise<T | undefined> {
  // Not in insecure contexts, nor in old browsers.
  if (!('locks' in navigator)) return work();
  let began = false;
  try {
    return await navigator.locks.request(LOCK, options, (lock) => {
      began = true;
      return lock ? work() : undefined;
    });
  } catch (error) {
    if (began) throw error;
    return work();
  }
}
