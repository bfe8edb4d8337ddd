// One file more in src/model/families of a copy of the sources, and nothing else: the commands know its preset, train
// it on two tensor ranks as on one, save it, and go on from the folder.

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const copy = mkdtempSync(join(tmpdir(), 'tabmesh-family-'));

const tabmesh = (...args: string[]) =>
  spawnSync(process.execPath, [join(copy, 'bin/tabmesh.mjs'), ...args], { encoding: 'utf8', cwd: copy });
const train = (...args: string[]) =>
  tabmesh('train', '--backend', 'cpu', '--data', 'copy', '--context', '16', '--batch', '4', '--steps', '2', ...args);
const lossesIn = (file: string): number[] =>
  readFileSync(join(copy, file), 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { loss: number }).loss);

beforeAll(() => {
  for (const name of ['bin', 'src', 'shaders', 'workers', 'package.json', 'package-lock.json'])
    cpSync(join(root, name), join(copy, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'), 'junction');
  const family = readFileSync(join(root, 'tests/support/parallel-family.ts'), 'utf8')
    .replaceAll('../../src/model/', '../')
    .replaceAll('../../src/', '../../')
    // With the mixer of a test it would be two files.
    .replace('average_heads: 1,', '');
  writeFileSync(join(copy, 'src/model/families/parallel.ts'), family);
});
afterAll(() => {
  rmSync(copy, { recursive: true, force: true });
});

it('is known to the commands, trains in a layout, and is saved and loaded', () => {
  expect(tabmesh('train', '--help').stdout).toMatch(/gpt2-mini, llama-nano, .*, parallel-nano/);
  for (const layout of ['dp=1', 'tp=2', 'pp=2,sp=2']) {
    const { status, stderr } = train('--model', 'parallel-nano', '--layout', layout, '--log', `${layout}.jsonl`);
    expect({ layout, status, stderr }).toMatchObject({ status: 0 });
  }
  const [want, ...others] = ['dp=1', 'tp=2', 'pp=2,sp=2'].map((layout) => lossesIn(`${layout}.jsonl`));
  expect(want.length).toBe(2);
  for (const losses of others)
    losses.forEach((loss, step) => expect(Math.abs(loss / want[step] - 1)).toBeLessThan(2e-6));

  expect(train('--model', 'parallel-nano', '--save', 'folder')).toMatchObject({ status: 0 });
  expect(JSON.parse(readFileSync(join(copy, 'folder/config.json'), 'utf8'))).toMatchObject({ model_type: 'parallel' });
  const more = train('--model', 'folder', '--log', 'more.jsonl');
  expect(more, more.stderr).toMatchObject({ status: 0 });
  // The weights that were saved, not those of the beginning.
  expect(lossesIn('more.jsonl')[0]).toBeLessThan(want[0]);
});
