// What test files took, remembered between runs in node_modules/.cache; on a fresh clone the table that comes with the
// tests. Only ever used to guess how long is left: a table that cannot be read or written is no error.

import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Durations, KindSeconds } from './progress.ts';

const REMEMBERED = 'node_modules/.cache/tabmesh/test-durations.json';
/** To renew it, copy the remembered one of a whole run over it. */
const SHIPPED = 'tests/durations.json';

const isSeconds = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0;
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What makes sense of a table that somebody may have spoiled. */
function readTable(path: string): Record<string, KindSeconds> {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return {};
  }
  return Object.fromEntries(
    Object.entries(isObject(json) ? json : {}).flatMap(([kind, value]) => {
      if (!isObject(value) || !isSeconds(value['wall']) || !isObject(value['files'])) return [];
      const files = Object.entries(value['files']).filter((entry): entry is [string, number] => isSeconds(entry[1]));
      return [[kind, { wall: value['wall'], files: Object.fromEntries(files) }]];
    }),
  );
}

/** Seconds by kind and file; a kind that this machine has not run yet comes from the shipped table. */
export function readDurations(root: string): Durations {
  return { ...readTable(join(root, SHIPPED)), ...readTable(join(root, REMEMBERED)) };
}

/** Remembers a kind that ran whole. */
export function rememberDurations(root: string, kind: string, seconds: KindSeconds): void {
  const path = join(root, REMEMBERED);
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${JSON.stringify({ ...readTable(path), [kind]: seconds }, null, 1)}\n`);
  } catch {
    // A folder that cannot be written: the next run guesses as this one did.
  }
}

/** The kind of a test file by its name; as vitest.config.ts sorts them. */
export function kindOf(path: string): string | undefined {
  return /\.(gpu|browser|tabs)\.test\.ts$/.exec(path)?.[1] ?? (path.endsWith('.test.ts') ? 'node' : undefined);
}

/** The test files of each kind; `words`: only those whose path contains one of them. */
export function testFiles(
  root: string,
  kinds: readonly string[],
  words: readonly string[] = [],
): ReadonlyMap<string, readonly string[]> {
  const all = (readdirSync(join(root, 'tests'), { recursive: true }) as string[]).map(
    (name) => `tests/${name.replaceAll('\\', '/')}`,
  );
  const chosen = all.filter((path) => words.length === 0 || words.some((word) => path.includes(word)));
  return new Map(kinds.map((kind) => [kind, chosen.filter((path) => kindOf(path) === kind)]));
}
