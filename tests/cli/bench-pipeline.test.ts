// `tabmesh bench pipeline`: the step that follows from measured passes, and what the simulator says of it.

import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../../src/cli/main.ts';
import type { PipelineResult } from '../../src/bench/pipeline/compare.ts';

const SMALL = ['--model', 'gpt2-nano', '--tokens', '96', '--stages', '2', '--microbatches', '4', '--context', '16'];

async function bench(args: readonly string[]): Promise<{ code: number; lines: readonly string[] }> {
  const lines: string[] = [];
  const say = (line: string): void => {
    lines.push(line);
  };
  const code = await run(['bench', 'pipeline', ...args], {
    out: say,
    err: say,
    columns: 100,
    interactive: false,
    signal: new AbortController().signal,
  });
  return { code, lines };
}

test('compares forms of the vocabulary, from passes of every stage and shard', async () => {
  const file = join(tmpdir(), `tabmesh-pipeline-${process.pid}.json`);
  const { code, lines } = await bench([...SMALL, '--vocab', 'none,alg1', '--rounds', '1', '--json', file]);
  const { results } = JSON.parse(readFileSync(file, 'utf8')) as { results: PipelineResult[] };
  rmSync(file);
  expect(code, lines.join('\n')).toBe(0);
  expect(results.map(({ vocab }) => vocab)).toEqual(['none', 'alg1']);
  const kinds = results.map(({ passes }) =>
    passes.map((byStage) => Object.values(byStage).map((of) => Object.keys(of))),
  );
  expect(kinds[0]).toEqual([[['F', 'B']], [['F', 'B']]]);
  const shared = [
    ['F', 'B'],
    ['IF', 'IB'],
    ['S', 'T'],
  ];
  expect(kinds[1]).toEqual([shared, shared]);
  for (const { stepMs, simulatedMs, tokensPerSecond, passes } of results) {
    expect(Math.abs(simulatedMs / stepMs - 1)).toBeLessThan(0.1);
    expect(tokensPerSecond * stepMs).toBeCloseTo(1000 * 4 * 16, 3);
    for (const byStage of passes)
      for (const times of Object.values(byStage)) for (const ms of Object.values(times)) expect(ms).toBeGreaterThan(0);
  }
  expect(lines.some((line) => /^1f1b\s+alg1\s/.test(line))).toBe(true);
});

test.each([
  [['--vocab', 'none,alg3'], "--vocab: expected names of none, naive, alg1, alg2, interlaced, got 'alg3'"],
  [['--delay', '-1'], '--delay: expected 0 to 10000 ms, got -1'],
  [['--bandwidth', '0'], '--bandwidth: expected more than 0 MB/s, got 0'],
  [['--stages', '9', '--model', 'gpt2-nano'], 'layers: pp(9) needs a layer per stage'],
])('%j is refused with exit code 2', async (args, sentence) => {
  const { code, lines } = await bench(args);
  expect(code).toBe(2);
  expect(lines.join('\n')).toContain(sentence);
});
