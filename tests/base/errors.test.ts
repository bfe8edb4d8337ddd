// Errors say their name whatever a bundler calls their class: a program that gets one from a minified page still finds
// `error.name === 'PeerError'`.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'vite';
import { afterAll, expect, it } from 'vitest';
import * as errors from '../../src/base/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'tabmesh-errors-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Errors = Readonly<Record<string, new (...given: never[]) => Error>>;

/** Arguments that suit every constructor: a rank or a word, a record that may be empty, a sentence. */
const GIVEN = ['where', {}, 'detail'] as never[];

function namesOf(classes: Errors): Record<string, readonly [name: string, stack: string, isError: boolean]> {
  return Object.fromEntries(
    Object.entries(classes).map(([exported, Kind]) => {
      const error = new Kind(...GIVEN);
      return [exported, [error.name, String(error).split(':')[0], error instanceof Error] as const];
    }),
  );
}

const EXPECTED = Object.fromEntries(Object.keys(errors).map((name) => [name, [name, name, true]]));

it('has a name of its own for each class', () => {
  expect(Object.keys(errors).length).toBeGreaterThan(10);
  expect(namesOf(errors as unknown as Errors)).toEqual(EXPECTED);
});

it('keeps the names in minified code', async () => {
  await build({
    configFile: false,
    logLevel: 'error',
    publicDir: false,
    build: {
      outDir: folder,
      minify: true,
      lib: {
        entry: fileURLToPath(new URL('../../src/base/errors.ts', import.meta.url)),
        formats: ['es'],
        fileName: () => 'errors.mjs',
      },
    },
  });
  const file = join(folder, 'errors.mjs');
  // The minifier has renamed the classes, or this would prove nothing.
  expect(readFileSync(file, 'utf8')).not.toMatch(/class \w+Error\b/);
  const minified = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as Errors;
  expect(namesOf(minified)).toEqual(EXPECTED);
});
