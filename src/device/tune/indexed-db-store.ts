// What a browser remembers about its adapters: an object store in IndexedDB, a text per adapter key. Works in workers.
// Every failure (private mode, no space, a blocked database) rejects; the qualifier goes on without.

import type { TuneStore } from './store.ts';

const DATABASE = 'tabmesh';
const VERSION = 1;
const TEXTS = 'tune';

export function indexedDbTuneStore(factory: IDBFactory): TuneStore {
  const open = (): Promise<IDBDatabase> => {
    const request = factory.open(DATABASE, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(TEXTS);
    };
    return settled(request);
  };
  const once = async <T>(mode: IDBTransactionMode, work: (texts: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
    const database = await open();
    try {
      return await settled(work(database.transaction(TEXTS, mode).objectStore(TEXTS)));
    } finally {
      database.close();
    }
  };
  return {
    async read(key) {
      const text: unknown = await once('readonly', (texts) => texts.get(key) as IDBRequest<unknown>);
      return typeof text === 'string' ? text : undefined;
    },
    async write(key, text) {
      await once('readwrite', (texts) => texts.put(text, key));
    },
  };
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(new Error(`IndexedDB: ${request.error?.message ?? 'unknown error'}`));
  });
}
