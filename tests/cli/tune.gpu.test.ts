// `tabmesh tune` on Dawn: the table, the file that it leaves, and that the next start needs no measurement.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../src/cli/main.ts';

const before = process.env['XDG_CACHE_HOME'];
let cache: string;
beforeAll(() => {
  process.env['XDG_CACHE_HOME'] = cache = mkdtempSync(join(tmpdir(), 'tabmesh-tune-'));
});
afterAll(() => {
  rmSync(cache, { recursive: true, force: true });
  if (before === undefined) delete process.env['XDG_CACHE_HOME'];
  else process.env['XDG_CACHE_HOME'] = before;
});

async function tabmesh(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const lines = { out: [] as string[], err: [] as string[] };
  const code = await run(args, {
    out: (line) => lines.out.push(line),
    err: (line) => lines.err.push(line),
    signal: new AbortController().signal,
    interactive: false,
    columns: 100,
  });
  return { code, out: lines.out.join('\n'), err: lines.err.join('\n') };
}

test('tunes a plan, prints a row per shape, and remembers', async () => {
  const common = ['tune', '--batch', '2', '--context', '16', '--budget'];
  // A limit: all shapes are decided in a second or two, unless the machine is busy.
  const first = await tabmesh(...common, '60', '--reasons');
  expect(first.code, first.err).toBe(0);
  expect(first.out).toMatch(/^adapter: .*Dawn in Node/);
  expect(first.out).toMatch(/^matmul +M=\d+ .* \d+\.\d\d +\d/m);
  expect(first.out).toMatch(/matmul (keeps|takes) \S+/);
  expect(Object.keys(JSON.parse(readFileSync(join(cache, 'tabmesh', 'tune.json'), 'utf8')) as object)).toHaveLength(1);
  const second = await tabmesh(...common, '0');
  expect(second.out).toMatch(/qualified \d+ kernel variants .* remembered in 0\.0 s/);
});

test('tunes the cases of one kernel, and names those there are', async () => {
  const { code, out } = await tabmesh('tune', '--kernel', 'layerNorm', '--budget', '1', '--json');
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ refused: [], notes: [] });
  const wrong = await tabmesh('tune', '--kernel', 'layernorm');
  expect(wrong.code).toBe(2);
  expect(wrong.err).toMatch(/--kernel: there is no kernel 'layernorm'; the kernels are .*layerNorm/);
});
