// What Node remembers about adapters: one JSON file in the user's cache folder, a text per adapter key. Every write
// replaces the file as a whole, so that a process that dies leaves the old one; of two processes that write at once the
// later one wins, which costs a measurement.

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TuneStore } from '../../device/tune/store.ts';

export function tuneFile(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'tabmesh', 'tune.json');
}

/**
 * A store in `path`. A file that is absent or broken counts as empty. `write` rejects where the folder cannot be
 * written.
 */
export function fileTuneStore(path = tuneFile()): TuneStore {
  const load = async (): Promise<Record<string, unknown>> => {
    try {
      const value: unknown = JSON.parse(await readFile(path, 'utf8'));
      return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
    } catch {
      return {};
    }
  };
  return {
    async read(key) {
      const entries = await load();
      const text = Object.hasOwn(entries, key) ? entries[key] : undefined;
      return typeof text === 'string' ? text : undefined;
    },
    async write(key, text) {
      const entries = { ...(await load()), [key]: text };
      await mkdir(dirname(path), { recursive: true });
      const next = `${path}.${process.pid}`;
      await writeFile(next, JSON.stringify(entries));
      await rename(next, path);
    },
  };
}
