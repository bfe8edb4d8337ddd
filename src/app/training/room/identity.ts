// The key pair of this tab. Its name lies in sessionStorage and the pair in IndexedDB, so that both survive a reload;
// the private key leaves the browser's keeping in neither. A duplicated tab carries a copy of sessionStorage: while a
// page lives it holds the name, by a Web Lock, and answers to it on a BroadcastChannel; whoever hears the answer is the
// copy and takes a new name and key. A page that was reloaded waits for the lock instead: its old self answers no more,
// and lets go as late as a busy machine ends it. A browser that keeps nothing gives a key for this page alone, and a
// sentence that says so.

import { randomHex, realWorld } from '../../../base/world.ts';
import { identityOf, newKeyPair } from '../../../cluster/identity/keys.ts';
import type { Identity } from '../../../cluster/identity/keys.ts';

export interface TabIdentity {
  readonly identity: Identity;
  /** What this browser does not keep, for people. */
  readonly notes: readonly string[];
}

const NAME = 'tabmesh.tab';
/** Of its own: whoever opens a database first decides what it holds. */
const DATABASE = 'tabmesh-identities';
const STORE = 'keys';
/** A holder that neither answers nor lets go for so long is frozen. */
const HOLDER_MS = 15_000;
/** How long a living holder takes to answer at most, where there are no locks. */
const ANSWER_MS = 500;
/** A holder that has only just come may not listen yet. */
const ASK_EVERY_MS = 250;
/** Of the tabs of this browser; of more, those not used for longest are forgotten. */
const MAX_KEPT = 200;

let found: Promise<TabIdentity> | undefined;
let known: string | undefined;

/** The identity of this page, the same at every call. Rejects with ConfigError where the page has no WebCrypto. */
export function tabIdentity(): Promise<TabIdentity> {
  return (found ??= findIdentity().then((tab) => {
    known = tab.identity.id;
    return tab;
  }));
}

/** The identity as digits, once `tabIdentity` has resolved. */
export function knownIdentity(): string | undefined {
  return known;
}

async function findIdentity(): Promise<TabIdentity> {
  const notes: string[] = [];
  const before = readName();
  const name = typeof before === 'string' && (await hold(before)) ? before : randomHex(realWorld, 8);
  if (name !== before) {
    await hold(name);
    if (before === null || !writeName(name))
      notes.push(
        'this browser keeps no session storage for this page: after a reload the room takes this tab for a new one',
      );
  }
  let pair: CryptoKeyPair | undefined;
  try {
    if (notes.length === 0) pair = await keptPair(name);
  } catch (error) {
    notes.push(
      `this browser keeps no keys for this page (${error instanceof Error ? error.message : String(error)}): after a reload the room takes this tab for a new one`,
    );
  }
  return { identity: await identityOf(pair ?? (await newKeyPair())), notes };
}

/** undefined: there is none yet. null: storage is refused. */
function readName(): string | null | undefined {
  try {
    return sessionStorage.getItem(NAME) ?? undefined;
  } catch {
    // A browser may throw at the very mention of it (blocked cookies, sandboxed frames).
    return null;
  }
}

function writeName(name: string): boolean {
  try {
    sessionStorage.setItem(NAME, name);
    return true;
  } catch {
    return false;
  }
}

interface Question {
  readonly ask?: string;
  readonly held?: string;
}

/** Whether the name is ours now, for as long as this page lives. */
export function hold(name: string): Promise<boolean> {
  const channel = openNames();
  const locks = (navigator as Partial<Navigator>).locks;
  const waiting = new AbortController();
  return new Promise((resolve) => {
    let ours: boolean | undefined;
    let limit: ReturnType<typeof setTimeout> | undefined;
    const ask = (): void => channel?.postMessage({ ask: name } satisfies Question);
    const asking = setInterval(ask, ASK_EVERY_MS);
    const settle = (taken: boolean): void => {
      if (ours !== undefined) return;
      ours = taken;
      clearInterval(asking);
      clearTimeout(limit);
      if (!taken) {
        waiting.abort();
        channel?.close();
      }
      resolve(taken);
    };
    const settleAfter = (ms: number, taken: boolean): void => {
      clearTimeout(limit);
      limit = setTimeout(() => settle(taken), ms);
    };
    if (channel) {
      channel.onmessage = ({ data }: MessageEvent<Question>) => {
        if (data.held === name) settle(false);
        else if (data.ask === name && ours) channel.postMessage({ held: name } satisfies Question);
      };
    }
    ask();
    // Where nobody can be asked either, nobody can tell a copy.
    const askAlone = (): void => settleAfter(channel ? ANSWER_MS : 0, true);
    if (!locks) return askAlone();
    settleAfter(HOLDER_MS, false);
    locks
      .request(`tabmesh name ${name}`, { signal: waiting.signal }, () => {
        settle(true);
        return ours ? new Promise<never>(() => undefined) : undefined;
        // Refused here, unless we gave up.
      })
      .catch(() => {
        if (ours === undefined) askAlone();
      });
  });
}

/** undefined where there are no channels, or they are refused to this page. */
function openNames(): BroadcastChannel | undefined {
  try {
    return new BroadcastChannel('tabmesh names');
  } catch {
    return undefined;
  }
}

interface Kept {
  readonly pair: CryptoKeyPair;
  readonly usedAt: number;
}

async function keptPair(name: string): Promise<CryptoKeyPair> {
  const database = await settled(
    Object.assign(indexedDB.open(DATABASE, 1), {
      onupgradeneeded(this: IDBOpenDBRequest) {
        this.result.createObjectStore(STORE).createIndex('usedAt', 'usedAt');
      },
    }),
  );
  try {
    const kept = await settled(
      database.transaction(STORE).objectStore(STORE).get(name) as IDBRequest<Kept | undefined>,
    );
    const pair = kept?.pair ?? (await newKeyPair());
    const store = database.transaction(STORE, 'readwrite').objectStore(STORE);
    await settled(store.put({ pair, usedAt: Date.now() } satisfies Kept, name));
    // By the index: those not used for longest first.
    const names = await settled(store.index('usedAt').getAllKeys());
    for (const old of names.slice(0, Math.max(0, names.length - MAX_KEPT))) await settled(store.delete(old));
    return pair;
  } finally {
    database.close();
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('the database failed'));
  });
}
