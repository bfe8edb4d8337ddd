// The command line drives real tabs: results that cannot be written make the run fail instead of vanishing in the page,
// and a Ctrl-C stops the tabs after their step and keeps what they hand over.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readSafetensors } from '../../../src/base/safetensors.ts';
import { tabmesh, tabmeshWith } from './support.ts';
import { sample } from '../../support/sample.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tabmesh-tabs-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const small = [
  'train',
  '--model',
  'gpt2-nano',
  '--data',
  'copy',
  '--batch',
  '4',
  '--context',
  '16',
  '--eval-every',
  '0',
  '--sample-every',
  '0',
  '--tune',
  'none',
];

test('a file that cannot be written is told and fails the run', async () => {
  const { code, out, err } = await tabmesh(
    ...small,
    '--tabs',
    '1',
    '--steps',
    '4',
    '--checkpoint',
    '/dev/full',
    '--checkpoint-every',
    '2',
    '--log',
    '/dev/full',
  );
  expect(err).toContain('the checkpoint of step 2, the checkpoint of step 4, 4 lines of the log');
  expect(out).toContain('trained 4 steps');
  expect(code).toBe(1);
});

test('a place where nothing can be written is told before a tab opens', async () => {
  writeFileSync(at('plain'), '');
  const { code, err } = await tabmesh(...small, '--tabs', '1', '--steps', '4', '--save', at('plain'));
  expect(err).toContain('cannot be written');
  expect(code).toBe(1);
});

test.each(
  sample(
    [
      ['two tabs', ['--tabs', '2', '--layout', 'dp=2']],
      ['two workers of a tab', ['--backend', 'chromium', '--devices', '2', '--layout', 'pp=2']],
    ] as const,
    1,
  ),
)('a Ctrl-C stops %s after their step', async (_what, ranks) => {
  const stop = new AbortController();
  const err = (line: string): void => {
    if (line.startsWith('step 1/')) stop.abort({ text: 'Ctrl-C', readerGone: false });
  };
  const result = await tabmeshWith(
    { signal: stop.signal, err },
    ...small,
    ...ranks,
    '--steps',
    '5000',
    '--log',
    at('log'),
    '--checkpoint',
    at('c'),
    '--save',
    at('m'),
  );
  expect(result.code, result.err).toBe(130);
  const { metadata } = readSafetensors(new Uint8Array(readFileSync(at('c'))));
  expect(readFileSync(at('log'), 'utf8').trim().split('\n')).toHaveLength(Number(metadata.get('step')));
  expect(result.out).toContain(`stopped after ${metadata.get('step')} step`);
  expect(readdirSync(at('m')).sort()).toEqual(['config.json', 'model.safetensors']);
});

test('a Ctrl-C before the first step ends at once', async () => {
  const stop = new AbortController();
  const err = (line: string): void => {
    if (line.includes('compiling')) stop.abort({ text: 'Ctrl-C', readerGone: false });
  };
  const result = await tabmeshWith(
    { signal: stop.signal, err },
    ...small,
    '--backend',
    'chromium',
    '--devices',
    '1',
    '--steps',
    '5000',
    '--checkpoint',
    at('c'),
  );
  expect(result.code, result.err).toBe(130);
  expect(existsSync(at('c'))).toBe(false);
});
