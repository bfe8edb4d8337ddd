// The history in this browser's IndexedDB, one record per run. Rejects where the browser refuses storage or has no
// room.

import { isKeptRun } from './kept-run.ts';
import type { KeptRun } from './kept-run.ts';

const NAME = 'tabmesh-history';
const STORE = 'runs';
/** The oldest are dropped. */
export const MOST_RUNS = 50;

export interface HistoryStore {
  all(): Promise<readonly KeptRun[]>;
  put(run: KeptRun): Promise<void>;
  delete(id: string): Promise<void>;
}

let opened: Promise<IDBDatabase> | undefined;

function database(): Promise<IDBDatabase> {
  opened ??= new Promise<IDBDatabase>((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(STORE, { keyPath: 'id' });
    };
    request.onsuccess = () => {
      const forget = (): void => {
        opened = undefined;
      };
      // Another tab may bring a newer version, or the person clears the storage. Our own close is no event.
      request.result.onversionchange = () => {
        request.result.close();
        forget();
      };
      request.result.onclose = forget;
      resolve(request.result);
    };
    request.onerror = () => reject(request.error ?? new Error('the store cannot be opened'));
    request.onblocked = () => reject(new Error('another tab holds an older store open'));
  });
  // Whoever asks next tries again.
  opened.catch(() => {
    opened = undefined;
  });
  return opened;
}

/** Resolves when the transaction is on disk, to what `work` asked for. */
async function inStore<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const transaction = (await database()).transaction(STORE, mode);
  return new Promise((resolve, reject) => {
    const request = work(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = transaction.onerror = () =>
      reject(transaction.error ?? request.error ?? new Error('the store did not take it'));
  });
}

export const historyStore: HistoryStore = {
  /** Newest first. */
  all: async () =>
    (await inStore<unknown[]>('readonly', (store) => store.getAll()))
      .filter(isKeptRun)
      .sort((a, b) => b.startedAtMs - a.startedAtMs),
  put: async (run) => {
    await inStore('readwrite', (store) => store.put(run));
  },
  delete: async (id) => {
    await inStore('readwrite', (store) => store.delete(id));
  },
};
