// One file more in src/model/families of a copy of the sources, and nothing else: the commands know its preset, train
// it on two tensor ranks as on one, save it, and go on from the folder.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { copySources } from '../support/source-copy.ts';
import type { SourceCopy } from '../support/source-copy.ts';

let copy: SourceCopy;

const train = (...args: string[]) =>
  copy.tabmesh(
    ...['train', '--backend', 'cpu', '--data', 'copy', '--context', '16', '--batch', '4', '--steps', '2'],
    ...args,
  );
const lossesIn = (file: string): number[] =>
  readFileSync(join(copy.folder, file), 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { loss: number }).loss);

beforeAll(() => {
  copy = copySources();
  // With the mixer of a test it would be two files.
  copy.plant('tests/support/parallel-family.ts', 'src/model/families/parallel.ts', (text) =>
    text.replace('average_heads: 1,', ''),
  );
});
afterAll(() => {
  copy.remove();
});

it('is known to the commands, trains in a layout, and is saved and loaded', () => {
  expect(copy.changes()).toEqual(['src/model/families/parallel.ts']);
  expect(copy.tabmesh('train', '--help').stdout).toMatch(/gpt2-mini, llama-nano, .*, parallel-nano/);
  for (const layout of ['dp=1', 'tp=2', 'pp=2,sp=2']) {
    const { status, stderr } = train('--model', 'parallel-nano', '--layout', layout, '--log', `${layout}.jsonl`);
    expect({ layout, status, stderr }).toMatchObject({ status: 0 });
  }
  const [want, ...others] = ['dp=1', 'tp=2', 'pp=2,sp=2'].map((layout) => lossesIn(`${layout}.jsonl`));
  expect(want.length).toBe(2);
  for (const losses of others)
    losses.forEach((loss, step) => expect(Math.abs(loss / want[step] - 1)).toBeLessThan(2e-6));

  expect(train('--model', 'parallel-nano', '--save', 'folder')).toMatchObject({ status: 0 });
  expect(JSON.parse(readFileSync(join(copy.folder, 'folder/config.json'), 'utf8'))).toMatchObject({
    model_type: 'parallel',
  });
  const more = train('--model', 'folder', '--log', 'more.jsonl');
  expect(more, more.stderr).toMatchObject({ status: 0 });
  // The weights that were saved, not those of the beginning.
  expect(lossesIn('more.jsonl')[0]).toBeLessThan(want[0]);
});
