import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ConfigError, FormatError } from '../../src/base/errors.ts';
import { readSafetensors, writeSafetensors, type WriteEntry } from '../../src/base/safetensors.ts';
import { documentStarts } from '../../src/train/data/batch.ts';
import type { Batch } from '../../src/train/data/batch.ts';
import { textDataset, type Dataset, type TextOptions } from '../../src/train/data/dataset.ts';
import { syntheticDataset, SYNTHETIC_NAMES } from '../../src/train/data/synthetic/registry.ts';
import { tokensDataset } from '../../src/train/data/tokens-dataset.ts';
import { windowsOf } from '../support/windows.ts';

const counting = Uint16Array.from({ length: 1000 }, (_, i) => i);
const text = (change: Partial<TextOptions> = {}): Dataset =>
  textDataset({ tokens: counting, vocab: 1000, context: 16, batch: 4, seed: 3, ...change });
const rowsOf = (d: Dataset, batch: Batch): number[][] => {
  const flat = windowsOf(batch);
  return Array.from({ length: d.batch }, (_, b) => [...flat.subarray(b * (d.context + 1), (b + 1) * (d.context + 1))]);
};

describe('textDataset', () => {
  it('rows are windows of the training part', () => {
    const d = text();
    for (let step = 0; step < 50; step++) {
      for (const row of rowsOf(d, d.batchAt(step))) {
        expect(row).toEqual(row.map((_, i) => row[0]! + i));
        expect(row[16]).toBeLessThan(900);
      }
    }
  });

  it('a batch depends on seed and step alone, in any order of asking', () => {
    const a = text(),
      b = text();
    const later = a.batchAt(9);
    for (let step = 8; step >= 0; step--) expect(a.batchAt(step)).toEqual(b.batchAt(step));
    expect(b.batchAt(9)).toEqual(later);
    expect(text({ seed: 4 }).batchAt(9)).not.toEqual(later);
    expect(a.batchAt(8)).not.toEqual(later);
  });

  it('a larger batch holds other rows per step, but the same stream of rows', () => {
    const small = text({ batch: 2 }),
      large = text({ batch: 4 });
    expect([...rowsOf(small, small.batchAt(0)), ...rowsOf(small, small.batchAt(1))]).toEqual(
      rowsOf(large, large.batchAt(0)),
    );
  });

  it('windows reach both ends of the training part', () => {
    const d = text({ tokens: counting.subarray(0, 20), vocab: 20, evalFraction: 0, context: 4, batch: 64 });
    const starts = new Set(
      rowsOf(d, d.batchAt(0))
        .concat(rowsOf(d, d.batchAt(1)), rowsOf(d, d.batchAt(2)))
        .map((row) => row[0]),
    );
    expect([...starts].sort((a, b) => a! - b!)).toEqual(Array.from({ length: 16 }, (_, i) => i));
    expect(d.evalBatches).toBe(0);
  });

  it('evaluation covers the held-out part window by window, never the training part', () => {
    const d = text({ batch: 3 });
    expect(d.evalBatches).toBe(2);
    const starts = [0, 1].flatMap((i) =>
      rowsOf(d, d.evalAt(i)).map((row) => {
        expect(row).toEqual(row.map((_, k) => row[0]! + k));
        return row[0];
      }),
    );
    expect(starts).toEqual([900, 916, 932, 948, 964, 980]);
  });

  it('fewer held-out windows than rows: they repeat', () => {
    const d = text({ evalFraction: 0.034, batch: 4 });
    expect(d.evalBatches).toBe(1);
    expect(rowsOf(d, d.evalAt(0)).map((row) => row[0])).toEqual([966, 982, 966, 982]);
  });

  it.each<[string, Partial<TextOptions>, string]>([
    [
      'a text shorter than the context',
      { tokens: counting.subarray(0, 16), evalFraction: 0 },
      'context: a context of 16 needs 17 tokens, but the training text has 16 of 16; use a longer text or a context of at most 15',
    ],
    [
      'a held-out part shorter than the context',
      { context: 128 },
      'context: a context of 128 needs 129 tokens to evaluate on, but the held-out text has 100 of 1000; use a text of 1290 tokens or more, a context of at most 99, or no evaluation (evalEvery 0)',
    ],
    ['an empty text', { tokens: counting.subarray(0, 0) }, 'the training text has 0 of 0'],
    ['a token beyond the vocabulary', { vocab: 999 }, 'vocab: text: token 999 is 999, but the model knows 0 to 998'],
    ['a context of 0', { context: 0 }, 'context: expected a whole number of at least 1, got 0'],
    ['a fractional batch', { batch: 1.5 }, 'batch: expected a whole number of at least 1, got 1.5'],
    ['everything held out', { evalFraction: 1 }, 'evalFraction: expected a share from 0 to below 1, got 1'],
  ])('refuses %s', (_, change, message) => {
    expect(() => text(change)).toThrow(ConfigError);
    expect(() => text(change)).toThrow(message);
  });
});

describe('a text too short to hold a part out', () => {
  const short = counting.subarray(0, 60);
  it('trains whole where nobody evaluates, and is refused where somebody does', () => {
    const d = text({ tokens: short, vocab: 60, evaluates: false });
    expect(d.evalBatches).toBe(0);
    const last = Math.max(...Array.from({ length: 200 }, (_, s) => Math.max(...windowsOf(d.batchAt(s)))));
    expect(last).toBe(59);
    expect(() => text({ tokens: short, vocab: 60 })).toThrow(
      'but the held-out text has 6 of 60; use a text of 170 tokens or more, a context of at most 5, or no evaluation (evalEvery 0)',
    );
    expect(text({ tokens: counting.subarray(0, 170), vocab: 170 }).evalBatches).toBe(1);
  });

  it('a longer text is cut alike whether somebody evaluates or not', () => {
    for (const step of [0, 7]) expect(text({ evaluates: false }).batchAt(step)).toEqual(text().batchAt(step));
  });
});

describe('tokensDataset', () => {
  it('without a model its vocabulary is one more than the largest token', () => {
    const file = (...values: number[]) =>
      readSafetensors(
        writeSafetensors([['tokens', { dtype: 'I32', shape: [1, 1, values.length], data: Int32Array.from(values) }]]),
      );
    expect(tokensDataset(file(3, 41, 7)).vocab).toBe(42);
    expect(tokensDataset(file(0, 0)).vocab).toBe(2);
    expect(() => tokensDataset(file(0, 2_000_000_000))).toThrow(
      'its largest token is 2000000000, which would need a vocabulary of 2000000001',
    );
  });

  const path = new URL('../golden/models/gpt2-tiny/tokens.safetensors', import.meta.url);
  const file = readSafetensors(new Uint8Array(readFileSync(path)));

  it('serves tokens[s] for step s, and says when they end', () => {
    const d = tokensDataset(file, 64);
    expect(d).toMatchObject({ steps: 10, batch: 4, context: 16, evalBatches: 0 });
    const all = Array.from({ length: 10 }, (_, s) => [...windowsOf(d.batchAt(s))]).flat();
    const bytes = file.tensors.get('tokens')!.bytes;
    expect(all).toEqual([...new Int32Array(bytes.slice().buffer)]);
    expect(() => d.batchAt(10)).toThrow(
      'steps: tokens.safetensors has 10 steps, but step 10 needs one; use steps 10 or less',
    );
  });

  it('checks the vocabulary, the name and the shape', () => {
    const make =
      (name: string, entry: WriteEntry): (() => Dataset) =>
      () =>
        tokensDataset(readSafetensors(writeSafetensors([[name, entry]])), 64);
    const i32 = (shape: number[], ...values: number[]): WriteEntry => ({
      dtype: 'I32',
      shape,
      data: Int32Array.from(values),
    });
    expect(() => tokensDataset(file, 32)).toThrow(
      /vocab: tokens\.safetensors: token \d+ \(step \d+, row \d+, column \d+\) is \d+, but the model knows 0 to 31/,
    );
    expect(make('tokens', i32([1, 1, 2], 1, -1))).toThrow(
      'token 1 (step 0, row 0, column 1) is -1; expected 0 or more',
    );
    expect(make('tokens', i32([1, 1, 2], 1, -100))).toThrow(
      'token 1 (step 0, row 0, column 1) is -100, which marks a target that is not counted',
    );
    expect(make('token', i32([1, 1, 2], 1, 1))).toThrow('expected a tensor called tokens, got token');
    expect(make('tokens', i32([1, 2], 1, 1))).toThrow(FormatError);
    expect(make('tokens', i32([1, 2, 1], 1, 1))).toThrow('tokens: expected [steps, batch, T + 1], got [1, 2, 1]');
    expect(make('tokens', i32([0, 1, 2]))).toThrow('got [0, 1, 2]');
    expect(make('tokens', { dtype: 'F32', shape: [1, 1, 2], data: Float32Array.of(1, 1.5) })).toThrow(
      'tokens: expected whole numbers (I32), got F32',
    );
    expect(make('tokens', i32([2, 2, 2], 1, 2, 3, 4, 5, 6, 64, 7))).toThrow(
      'token 6 (step 1, row 1, column 0) is 64, but the model knows 0 to 63',
    );
    expect(make('tokens', i32([1, 1, 2], 1, -100))).toThrow(
      'token 1 (step 0, row 0, column 1) is -100, which marks a target that is not counted; such marks stand in a tensor targets, not in tokens',
    );
    expect(make('tokens', { dtype: 'I64', shape: [1, 1, 2], data: BigInt64Array.of(1n, 2n) })().batchAt(0)).toEqual({
      tokens: Int32Array.of(1),
      targets: Int32Array.of(2),
      rows: 1,
      context: 1,
    });
  });
});

describe('a file of tokens with documents', () => {
  const i32 = (shape: number[], ...values: number[]): WriteEntry => ({
    dtype: 'I32',
    shape,
    data: Int32Array.from(values),
  });
  const tokens = i32([1, 2, 5], 1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
  const make = (...more: (readonly [string, WriteEntry])[]): Dataset =>
    tokensDataset(readSafetensors(writeSafetensors([['tokens', tokens], ...more])), 16);

  it('does not predict the first token of the next document, unless the targets say so', () => {
    const documents = ['documents', i32([1, 2, 4], 0, 0, 1, 1, 7, 8, 8, 7)] as const;
    const packed = make(documents);
    expect(packed.packed).toBe(true);
    expect([...packed.batchAt(0).targets]).toEqual([2, -100, 4, 5, -100, 8, -100, 10]);
    expect([...documentStarts(packed.batchAt(0))]).toEqual([0, 0, 2, 2, 0, 1, 1, 3]);
    const told = make(documents, ['targets', i32([1, 2, 4], -100, 3, 3, 3, 0, 0, 0, -100)]);
    expect([...told.batchAt(0).targets]).toEqual([-100, 3, 3, 3, 0, 0, 0, -100]);
    expect(make(['targets', i32([1, 2, 4], ...new Array<number>(8).fill(-100))]).packed).toBe(false);
  });

  it('refuses other sizes, targets that are no token, and what it does not know', () => {
    expect(() => make(['documents', i32([1, 2, 5], ...new Array<number>(10).fill(0))])).toThrow(
      'documents: expected [steps, batch, T] = [1, 2, 4], got [1, 2, 5]',
    );
    expect(() => make(['targets', i32([1, 2, 4], 0, 0, 0, 0, 0, 16, 0, 0)])).toThrow(
      'target 5 (step 0, row 1, column 1) is 16; expected 0 to 15, or -100 for one that is not counted',
    );
    expect(() => make(['attention_mask', i32([1, 2, 4], ...new Array<number>(8).fill(1))])).toThrow(
      'got also attention_mask: positions and masks beside the tokens are not implemented',
    );
  });
});

describe('tasks', () => {
  it.each(SYNTHETIC_NAMES)('%s is a dataset: deterministic, in range, of the right size', (task) => {
    const make = (seed: number): Dataset => syntheticDataset({ task, context: 14, batch: 3, seed });
    const d = make(1);
    expect(d.batchAt(5)).toEqual(make(1).batchAt(5));
    expect(d.batchAt(5)).not.toEqual(d.batchAt(6));
    expect(d.batchAt(5)).not.toEqual(make(2).batchAt(5));
    expect(d.evalAt(0)).not.toEqual(d.batchAt(0));
    for (const flat of [d.batchAt(5), d.evalAt(d.evalBatches - 1)].map(windowsOf)) {
      expect(flat.length).toBe(3 * 15);
      for (const token of flat) expect(token >= 0 && token < d.vocab).toBe(true);
    }
  });

  it.each([
    ['copy', (x: number[]) => x],
    ['reverse', (x: number[]) => x.toReversed()],
    ['sort', (x: number[]) => x.toSorted((a, b) => a - b)],
  ] as const)('%s answers after the separator', (task, f) => {
    for (const context of [14, 15]) {
      const d = syntheticDataset({ task, context, batch: 8, seed: 1, symbols: 10 });
      for (const row of rowsOf(d, d.batchAt(0))) {
        expect(row[7]).toBe(10);
        expect(row.slice(8, 15)).toEqual(f(row.slice(0, 7)));
        expect(row.slice(15)).toEqual(context === 15 ? [10] : []);
      }
    }
  });

  it('addition adds, and holds pairs out', () => {
    const d = syntheticDataset({ task: 'addition', context: 21, batch: 16, seed: 1, symbols: 7 });
    const pairsIn = (flat: Batch): string[] =>
      rowsOf(d, flat).flatMap((row) =>
        [0, 5, 10, 15].map((at) => {
          const [a, plus, b, equals, c] = row.slice(at, at + 5);
          expect([plus, equals, c]).toEqual([7, 8, (a! + b!) % 7]);
          return `${a},${b}`;
        }),
      );
    const train = new Set(Array.from({ length: 40 }, (_, s) => pairsIn(d.batchAt(s))).flat());
    const held = new Set(Array.from({ length: d.evalBatches }, (_, i) => pairsIn(d.evalAt(i))).flat());
    expect(train.size).toBe(49 - 9);
    expect(held.size).toBe(9);
    expect([...held].filter((pair) => train.has(pair))).toEqual([]);
    expect(rowsOf(d, d.batchAt(0))[0]!.slice(20)).toEqual([9, 9]);
  });

  it('refuses contexts without room and odd alphabets', () => {
    expect(() => syntheticDataset({ task: 'copy', context: 1, batch: 1, seed: 1 })).toThrow(
      'context: the task copy needs a context of at least 2, got 1',
    );
    expect(() => syntheticDataset({ task: 'addition', context: 3, batch: 1, seed: 1 })).toThrow(
      'context: the task addition needs a context of at least 4, got 3',
    );
    expect(() => syntheticDataset({ task: 'sort', context: 8, batch: 1, seed: 1, symbols: 1 })).toThrow(
      'symbols: expected 2 to 1000, got 1',
    );
  });
});
