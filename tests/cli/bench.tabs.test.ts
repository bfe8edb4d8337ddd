// `tabmesh bench` in Chromium from the command line to the JSON file.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { run } from '../../src/cli/main.ts';
import { alsoTest } from '../support/sample.ts';
import { adamw } from '../../shaders/optimizer/adamw.ts';

const folder = mkdtempSync(join(tmpdir(), 'tabmesh-bench-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function bench(
  ...args: string[]
): Promise<{
  code: number;
  lines: readonly string[];
  report: Record<string, unknown> & { results: Record<string, unknown>[] };
}> {
  const lines: string[] = [];
  const say = (line: string) => {
    lines.push(line);
  };
  const json = join(folder, 'report.json');
  const code = await run(['bench', ...args, '--json', json], {
    out: say,
    err: say,
    signal: new AbortController().signal,
    interactive: false,
    columns: 120,
  });
  expect(lines.join('\n')).not.toContain('tabmesh bench:');
  return { code, lines, report: JSON.parse(readFileSync(json, 'utf8')) as Awaited<ReturnType<typeof bench>>['report'] };
}

const WHERE = {
  adapter: expect.stringMatching(/\w/),
  browser: expect.stringMatching(/^Chromium \d/),
  date: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
};

it('a step beside tfjs and jax-js in one page: losses agree', async () => {
  const { code, lines, report } = await bench('step', '--peers', '--rounds', '1', '--batch', '1', '--context', '8');
  expect(report).toMatchObject({
    ...WHERE,
    ratios: { tfjs: [expect.any(Number)], 'jax-js': [expect.any(Number)] },
    missing: [],
  });
  expect(report.results.map(({ workload, library, correct }) => [workload, library, correct])).toEqual([
    ['gpt-step', 'tabmesh', true],
    ['gpt-step', 'tfjs', true],
    ['gpt-step', 'jax-js', true],
  ]);
  expect(lines.at(-1)).toMatch(/^jax-js takes [\d.]+ times as long as tabmesh \(rounds: [\d.]+\)$/);
  expect(code).toBe(0);
});

alsoTest('a workload beside all libraries in one page', async () => {
  const { code, lines, report } = await bench('kernels', '--peers', '--quick', '--only', 'adamw');
  expect(report).toMatchObject({
    ...WHERE,
    missing: [],
    ceilings: { bandwidth: { copy: expect.any(Number), triad: expect.any(Number) }, peakGflops: expect.any(Number) },
  });
  expect(report.results.map(({ workload, shape, library, correct }) => [workload, shape, library, correct])).toEqual(
    ['tabmesh', 'jax-js', 'onnxruntime-web', 'tfjs'].map((library) => ['adamw', '1M', library, true]),
  );
  expect(lines.at(-1)).toMatch(
    /^adamw: [\d.]+x jax-js, [\d.]+x onnxruntime-web, [\d.]+x tfjs \(geometric mean of 1 shape; least /,
  );
  expect(code).toBe(0);
});

it('a step in WebAssembly beside tfjs and jax-js: losses agree, with one thread each', async () => {
  const { code, lines, report } = await bench(
    ...['step', '--backend', 'wasm', '--peers', '--rounds', '1', '--batch', '1', '--context', '8'],
  );
  expect(report).toMatchObject({
    ...WHERE,
    adapter: expect.stringContaining('wasm'),
    ratios: { tfjs: [expect.any(Number)], 'jax-js': [expect.any(Number)] },
    missing: [],
  });
  expect(report.results.map(({ library, correct, threads }) => [library, correct, threads])).toEqual(
    ['tabmesh', 'tfjs', 'jax-js'].map((library) => [library, true, 1]),
  );
  expect(lines).toContain('threads: tabmesh 1, tfjs 1, jax-js 1');
  expect(code).toBe(0);
});

it('a workload in WebAssembly beside all libraries, with one thread each', async () => {
  const { code, report } = await bench(...['kernels', '--backend', 'wasm', '--peers', '--quick', '--only', 'adamw']);
  expect(report).toMatchObject({ ...WHERE, adapter: expect.stringContaining('wasm'), missing: [] });
  expect(report.results.map(({ library, correct, threads }) => [library, correct, threads])).toEqual(
    ['tabmesh', 'jax-js', 'onnxruntime-web', 'tfjs'].map((library) => [library, true, 1]),
  );
  expect(code).toBe(0);
});

it('a workload in WebAssembly with two threads', async () => {
  const { code, report } = await bench(
    ...['kernels', '--backend', 'wasm', '--threads', '2', '--quick', '--only', 'adamw'],
  );
  expect(report).toMatchObject({ ...WHERE, adapter: expect.stringContaining('2 threads'), missing: [] });
  expect(report.results.map(({ library, correct, threads }) => [library, correct, threads])).toEqual([
    ['tabmesh', true, 2],
  ]);
  expect(code).toBe(0);
});

it('Ctrl-C ends it with exit code 130', async () => {
  const stop = new AbortController();
  const err = (line: string) => {
    if (line.startsWith('matmul')) stop.abort();
  };
  expect(
    await run(['bench', 'kernels', '--only', 'matmul'], {
      out: () => {},
      err,
      signal: stop.signal,
      interactive: false,
      columns: 80,
    }),
  ).toBe(130);
});

alsoTest('a kernel', async () => {
  const { code, lines, report } = await bench('kernels', '--cases', '--only', 'adamw');
  expect(report).toMatchObject(WHERE);
  for (const result of report.results)
    expect(result).toEqual({
      workload: 'adamw',
      shape: expect.stringContaining('N='),
      library: 'tabmesh',
      medianMs: expect.any(Number),
      gflops: expect.any(Number),
      correct: true,
    });
  const { length } = adamw.cases;
  expect(length).toBeGreaterThan(2);
  expect(report.results).toHaveLength(length);
  expect(lines.at(-1)).toBe(`${length} of ${length} cases correct`);
  expect(code).toBe(0);
});
