// Rows of several documents, contexts that do not divide, and tokens that lie otherwise than in runs: every layout
// learns what PyTorch learned, to the tolerances of the golden run.

import { afterEach, describe, expect, test, vi } from 'vitest';
import { runInProcess } from '../../src/cli/in-process.ts';
import { verifyRunFolder } from '../../src/cli/verify/run-folder.ts';
import type { RunExecutor } from '../../src/cli/verify/run-folder.ts';
import { writeSafetensors } from '../../src/base/safetensors.ts';
import type { WriteEntry } from '../../src/base/safetensors.ts';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import { goldenConfig, goldenModel, tensorsOf } from '../support/local-run.ts';
import { sample } from '../support/sample.ts';

// Defects: intervals that go back to the beginning of the row, and positions that go on through its documents.
const defects = vi.hoisted(() => ({ wholeRows: false, positions: false }));
vi.mock('../../src/model/language/token-rows.ts', async (original) => {
  const real = await original<typeof import('../../src/model/language/token-rows.ts')>();
  const whole = <T extends { readonly starts: Int32Array }>(rows: T): T => ({
    ...rows,
    starts: rows.starts.map(() => 0),
  });
  return {
    ...real,
    intervalsOf: (rows, rank) => real.intervalsOf(defects.wholeRows ? whole(rows) : rows, rank),
    positionsOf: (rows, rank) => real.positionsOf(defects.positions ? whole(rows) : rows, rank),
  } satisfies typeof real;
});
afterEach(() => {
  Object.assign(defects, { wholeRows: false, positions: false });
});

const execute: RunExecutor = async (config, files) => {
  const steps: { readonly loss: number; readonly gradNorm: number }[] = [];
  const bytes: Record<string, Uint8Array<ArrayBuffer>> = {};
  await runInProcess({
    backend: 'cpu',
    config,
    files,
    wantGradients: true,
    wantModel: true,
    onEvent: (rank, event) => {
      if (event.kind === 'step' && rank === 0) steps.push(event.metrics);
      if (event.kind === 'gradients' || event.kind === 'model') bytes[event.kind] = event.bytes;
    },
  });
  return {
    losses: steps.map(({ loss }) => loss),
    gradNorms: steps.map(({ gradNorm }) => gradNorm),
    gradients: bytes['gradients'],
    weights: bytes['model'],
  };
};

async function wrong(model: string, ...settings: (readonly [string, string])[]): Promise<readonly string[]> {
  const checks = await verifyRunFolder(goldenModel(model), settings, execute);
  expect(checks.length).toBeGreaterThan(50);
  return checks.filter(({ passed }) => !passed).map(({ name }) => name);
}

describe('packed documents', () => {
  test.each(sample(['dp=1', 'sp=2', 'pp=2,tp=2', 'dp=2,sp=2', 'dp=2', 'pp=2', 'tp=2', 'sp=4', 'dp=4'], 4))(
    '%s',
    async (layout) => {
      expect(await wrong('packed-tiny', ['layout', layout])).toEqual([]);
    },
  );

  test('attention across the borders of documents is found', async () => {
    defects.wholeRows = true;
    const found = await wrong('packed-tiny', ['layout', 'dp=1']);
    expect(found).toContain('loss 0');
    expect(found.length).toBeGreaterThan(30);
  });

  // GPT-2 looks positions up in a table. Two documents in a row, or each in a row of its own before one that does not
  // count: the same loss and the same gradients.
  const firstStep = async (documents: 'packed' | 'apart', layout: string) => {
    const T = 16;
    const rows = documents === 'packed' ? 2 : 4;
    const at = (row: number, t: number): number => {
      const [own, place] = documents === 'packed' ? [2 * row + (t < 8 ? 0 : 1), t % 8] : [row, t];
      return place < 8 ? (7 * own + 5 * place + own * place) % 64 : 0;
    };
    const counts = (t: number): boolean => t % 8 < 7 && (documents === 'packed' || t < 8);
    const i32 = (width: number, value: (row: number, t: number) => number): WriteEntry => ({
      dtype: 'I32',
      shape: [1, rows, width],
      data: Int32Array.from({ length: rows * width }, (_, i) => value(Math.floor(i / width), i % width)),
    });
    const tokens = writeSafetensors([
      ['tokens', i32(T + 1, (row, t) => at(row, Math.min(t, T - 1)))],
      ['documents', i32(T, (_, t) => Math.floor(t / 8))],
      ['targets', i32(T, (row, t) => (counts(t) ? at(row, t + 1) : -100))],
    ]);
    const { losses, gradNorms, gradients } = await execute(
      { ...goldenConfig('gpt2-tiny', layout), steps: 1, batch: rows, microbatches: 1 },
      { ...readRunFiles(goldenModel('gpt2-tiny')), tokens },
      '',
    );
    return { loss: losses[0], norm: gradNorms[0], gradients: tensorsOf(gradients) };
  };

  test.each(['dp=1', 'sp=2'])('learned positions begin anew in each document: %s', async (layout) => {
    const [packed, apart] = [await firstStep('packed', layout), await firstStep('apart', 'dp=1')];
    expect(packed.loss).toBeCloseTo(apart.loss, 5);
    expect(packed.norm / apart.norm).toBeCloseTo(1, 5);
    const name = 'transformer.wpe.weight';
    const difference = packed.gradients.get(name)!.map((value, i) => Math.abs(value - apart.gradients.get(name)![i]));
    expect(Math.max(...difference)).toBeLessThan(1e-6);
    defects.positions = true;
    expect(Math.abs((await firstStep('packed', layout)).loss - apart.loss)).toBeGreaterThan(1e-3);
  });
});

describe('a sequence that does not divide, or lies in zigzag', () => {
  test.each(
    sample(
      [
        ['gpt2-tiny', 'sp=3', 'ring'],
        ['packed-tiny', 'sp=3', 'zigzag'],
        ['llama-tiny', 'sp=2,tp=2', 'zigzag'],
        ['gpt2-tiny', 'sp=3', 'striped'],
        ['mixtral-tiny', 'sp=3', 'ring'],
        ['gpt2-tiny', 'sp=2,pp=2', 'zigzag'],
        ['llama-tiny', 'sp=5', 'ring'],
      ] as const,
      3,
    ),
  )('%s as %s by %s', async (model, layout, sequence) => {
    expect(await wrong(model, ['layout', layout], ['sequence', sequence])).toEqual([]);
  });
});
