// The file store of tuned choices: keeps several adapters apart, and takes a broken or absent file for an empty one.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fileTuneStore } from '../../src/cli/machine/tune-file.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tabmesh-tune-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('keeps a text per adapter, in a folder that it makes', async () => {
  const path = join(folder, 'a', 'b', 'tune.json');
  expect(await fileTuneStore(path).read('one')).toBe(undefined);
  await fileTuneStore(path).write('one', '1');
  await fileTuneStore(path).write('two', '2');
  await fileTuneStore(path).write('one', '3');
  expect(await Promise.all(['one', 'two', 'toString'].map((key) => fileTuneStore(path).read(key)))).toEqual([
    '3',
    '2',
    undefined,
  ]);
  expect(readdirSync(join(folder, 'a', 'b'))).toEqual(['tune.json']);
});

test.each(['', '{"one":', '[1]', 'null', '{"one":5}'])(
  'takes %j for an empty file and writes over it',
  async (content) => {
    const path = join(folder, 'tune.json');
    writeFileSync(path, content);
    const store = fileTuneStore(path);
    expect(await store.read('one')).toBe(undefined);
    await store.write('one', 'x');
    expect(await store.read('one')).toBe('x');
  },
);

test('rejects where it cannot write', async () => {
  writeFileSync(join(folder, 'file'), '');
  await expect(fileTuneStore(join(folder, 'file', 'tune.json')).write('one', 'x')).rejects.toThrow();
});
