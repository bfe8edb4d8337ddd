// The repository stands alone: no file reads what lies beside it, so that a clone with nothing beside it runs all
// tests.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const FOLDERS = ['bin', 'examples', 'shaders', 'src', 'tests', 'workers'];
/**
 * Paths that are meant from the place of the file: new URL('...', import.meta.url), join(import.meta.dirname, '...').
 */
const FROM_HERE = [
  /new URL\(\s*(['"`])(\.{1,2}\/[^'"`\n]*)\1\s*,\s*import\.meta\.url/g,
  /import\.meta\.dirname\s*,\s*(['"`])([^'"`\n]*)\1/g,
];

/** Their texts are files at made-up places. */
const EXAMPLES = ['tests/layers.test.ts', 'tests/self-contained.test.ts'];

/** The paths in `text`, a file at `path` in the repository, that lead out of it. */
function leaving(path: string, text: string): string[] {
  const targets = FROM_HERE.flatMap((pattern) => [...text.matchAll(pattern)].map(([, , target]) => target));
  return targets.filter((target) => relative(root, join(root, dirname(path), target)).startsWith('..'));
}

test('no file reads what lies beside the repository', () => {
  const files = FOLDERS.flatMap((folder) =>
    (readdirSync(join(root, folder), { recursive: true }) as string[]).map((name) => `${folder}/${name}`),
  ).filter((path) => /\.(ts|mjs|js)$/.test(path) && !EXAMPLES.includes(path));
  expect(files.length).toBeGreaterThan(300);
  expect(
    files.flatMap((path) =>
      leaving(path, readFileSync(join(root, path), 'utf8')).map((target) => `${path}: ${target}`),
    ),
  ).toEqual([]);
});

test('a path that leads out is found', () => {
  const text = [
    "new URL('../golden/x', import.meta.url)",
    "join(import.meta.dirname, '../../../beside/data')",
    'new URL(`../../../other/${name}/`, import.meta.url)',
    "join(import.meta.dirname, '..', 'x')",
    "request('../../../etc/passwd')",
  ].join('\n');
  expect(leaving('tests/cli/a.test.ts', text)).toEqual(['../../../other/${name}/', '../../../beside/data']);
});
