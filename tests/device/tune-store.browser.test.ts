// The store of tuned choices in a browser's IndexedDB: it survives its own closing, keeps adapters apart, and rejects
// where there is no database.

import { expect, test } from 'vitest';
import { indexedDbTuneStore } from '../../src/device/tune/indexed-db-store.ts';

test('keeps a text per adapter', async () => {
  await indexedDbTuneStore(indexedDB).write('one', 'a');
  await Promise.all([indexedDbTuneStore(indexedDB).write('two', 'b'), indexedDbTuneStore(indexedDB).write('one', 'c')]);
  const later = indexedDbTuneStore(indexedDB);
  expect(await Promise.all(['one', 'two', 'three'].map((key) => later.read(key)))).toEqual(['c', 'b', undefined]);
});

test('rejects where the database cannot be opened', async () => {
  const broken = {
    open: () => {
      throw new DOMException('private mode', 'SecurityError');
    },
  } as unknown as IDBFactory;
  await expect(indexedDbTuneStore(broken).read('one')).rejects.toThrow('private mode');
});
