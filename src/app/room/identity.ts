// The key pair of this tab. Its name lies in sessionStorage and the pair in IndexedDB, so that both survive a reload; the private key leaves the browser's
// keeping in neither. A duplicated tab carries a copy of sessionStorage: while a page lives it holds the name, by a Web Lock or, where there are none, by
// answering on a BroadcastChannel, and whoever finds it held is the copy and takes a new name and key.
// A browser that keeps nothing gives a key for this page alone, and a sentence that says so.

import { randomHex, realWorld } from '../../base/world.ts';
import { identityOf, newKeyPair } from '../../cluster/identity/keys.ts';
import type { Identity } from '../../cluster/identity/keys.ts';

export interface TabIdentity {
  readonly identity: Identity;
  /** What this browser does not keep, for people. */
  readonly notes: readonly string[];
}

const NAME = 'tabmesh.tab';
/** Of its own: whoever opens a database first decides what it holds. */
const DATABASE = 'tabmesh-identities';
const STORE = 'keys';
/** The page before a reload lets go of its lock while it ends, the holder of a duplicated tab never. */
const HOLDER_MS = 1500;
/** How long a living holder takes to answer at most, where there are no locks. */
const ANSWER_MS = 500;
/** Of the tabs of this browser; of more, those not used for longest are forgotten. */
const MAX_KEPT = 200;

let found: Promise<TabIdentity> | undefined;
let known: string | undefined;

/** The identity of this page, the same at every call. Rejects with ConfigError where the page has no WebCrypto. */
export function tabIdentity(): Promise<TabIdentity> {
  return found ??= findIdentity().then((tab) => {
    known = tab.identity.id;
    return tab;
  });
}

/** The identity as digits, once `tabIdentity` has resolved. */
export function knownIdentity(): string | undefined { return known; }

async function findIdentity(): Promise<TabIdentity> {
  const notes: string[] = [];
  const before = readName();
  const name = typeof before === 'string' && await hold(before) ? before : randomHex(realWorld, 8);
  if (name !== before) {
    await hold(name);
    if (before === null || !writeName(name)) notes.push('this browser keeps no session storage for this page: after a reload the room takes this tab for a new one');
  }
  let pair: CryptoKeyPair | undefined;
  try {
    if (notes.length === 0) pair = await keptPair(name);
  } catch (error) {
    notes.push(`this browser keeps no keys for this page (${error instanceof Error ? error.message : String(error)}): after a reload the room takes this tab for a new one`);
  }
  return { identity: await identityOf(pair ?? await newKeyPair()), notes };
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

/** Whether the name is ours now, for as long as this page lives. */
async function hold(name: string): Promise<boolean> {
  const locks = (navigator as Partial<Navigator>).locks;
  if (!locks) return holdByChannel(name);
  const waited = new AbortController();
  const timer = setTimeout(() => waited.abort(), HOLDER_MS);
  return new Promise((resolve) => {
    locks.request(`tabmesh name ${name}`, { signal: waited.signal }, () => {
      clearTimeout(timer);
      resolve(true);
      return new Promise<never>(() => undefined);
    }).catch(() => {
      clearTimeout(timer);
      // Held by a page that lives; or locks are refused here, and then a question must do.
      resolve(waited.signal.aborted ? false : holdByChannel(name));
    });
  });
}

interface Question { readonly ask?: string; readonly held?: string }

async function holdByChannel(name: string): Promise<boolean> {
  let channel: BroadcastChannel;
  try {
    channel = new BroadcastChannel('tabmesh names');
  } catch {
    // There is none, or it is refused to this page: nobody can tell a copy.
    return true;
  }
  const taken = await new Promise<boolean>((resolve) => {
    const timer = setTimeout(() => resolve(false), ANSWER_MS);
    channel.onmessage = ({ data }: MessageEvent<Question>) => {
      if (data.held !== name) return;
      clearTimeout(timer);
      resolve(true);
    };
    channel.postMessage({ ask: name } satisfies Question);
  });
  if (taken) {
    channel.close();
    return false;
  }
  channel.onmessage = ({ data }: MessageEvent<Question>) => { if (data.ask === name) channel.postMessage({ held: name } satisfies Question); };
  return true;
}

interface Kept { readonly pair: CryptoKeyPair; readonly usedAt: number }

async function keptPair(name: string): Promise<CryptoKeyPair> {
  const database = await settled(Object.assign(indexedDB.open(DATABASE, 1), {
    onupgradeneeded(this: IDBOpenDBRequest) { this.result.createObjectStore(STORE).createIndex('usedAt', 'usedAt'); },
  }));
  try {
    const kept = await settled(database.transaction(STORE).objectStore(STORE).get(name) as IDBRequest<Kept | undefined>);
    const pair = kept?.pair ?? await newKeyPair();
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
