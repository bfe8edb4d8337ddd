// Every ONNX operator that is here, on the references: small cases of our own, whose values come from plain loops in
// f64 by the operator's definition. Each passes, and fails once one of its expected values is off by one part in a
// hundred.

import { describe, expect, it } from 'vitest';
import type { Operator } from '../../src/cli/verify/operator.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { failed, onnxFolder, runFolder } from '../support/case-folder.ts';
import type { Given, OnnxGiven } from '../support/case-folder.ts';
import {
  along,
  at,
  attention,
  broadcast,
  count,
  dense,
  erf,
  flat,
  logSoftmax,
  matmul,
  norm,
  rotary,
  rowLosses,
  silu,
  size,
  softmax,
  sum,
} from '../support/onnx-loops.ts';

const device = createCpuDevice();
const f32 = (shape: number[], values: readonly number[]): Given => ({ shape, values: values.map(Math.fround) });
const i64 = (shape: number[], values: readonly number[]): Given => ({ shape, values, dtype: 'I64' });
/** Values from -2 to 2 in an order that no wrong stride keeps. */
const some = (shape: number[], salt = 0): Given =>
  f32(
    shape,
    count(size(shape)).map((i) => (((37 * i + 11 * salt) % 65) - 32) / 16),
  );

function elementwise(): OnnxGiven[] {
  const [cube, x, row, column] = [some([2, 3, 4]), some([3, 4], 1), some([4], 2), some([3, 1], 3)];
  const added = (...parts: Given[]): Given =>
    f32(
      [2, 3, 4],
      count(24).map((i) => sum(parts.map((part) => broadcast(part, [2, 3, 4], i)))),
    );
  const map = (one: Given, of: (x: number) => number): Given => f32([...one.shape], Array.from(one.values, of));
  const wide = f32(
    [5, 7],
    count(35).map((i) => (i - 17) / 6),
  );
  const inner = (v: number): number => Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3);
  const up = some([5, 7], 4);
  return [
    { name: 'a row', op: 'Add', inputs: [cube, row], outputs: [added(cube, row)] },
    { name: 'four shapes', op: 'Sum', inputs: [cube, x, row, column], outputs: [added(cube, x, row, column)] },
    { name: 'by erf', op: 'Gelu', inputs: [wide], outputs: [map(wide, (v) => 0.5 * v * (1 + erf(v / Math.SQRT2)))] },
    {
      name: 'by tanh',
      op: 'Gelu',
      attributes: { approximate: 'tanh' },
      inputs: [wide],
      outputs: [map(wide, (v) => 0.5 * v * (1 + Math.tanh(inner(v))))],
    },
    { name: 'silu', op: 'Swish', inputs: [wide], outputs: [map(wide, silu)] },
    {
      name: 'two halves',
      op: 'SwiGLU',
      inputs: [wide, up],
      outputs: [
        f32(
          [5, 7],
          count(35).map((i) => silu(at(wide, i)) * at(up, i)),
        ),
      ],
    },
  ];
}

function rearranging(): OnnxGiven[] {
  const x = some([2, 3, 4]);
  const turned = count(24).map((i) => at(x, (Math.floor(i / 4) % 2) * 12 + Math.floor(i / 8) * 4 + (i % 4)));
  const reversed = count(24).map((i) => at(x, (i % 2) * 12 + (Math.floor(i / 2) % 3) * 4 + Math.floor(i / 6)));
  const chosen = count(2 * 4 * 4).map((i) =>
    at(x, Math.floor(i / 16) * 12 + [2, 0, 0, 1][Math.floor(i / 4) % 4] * 4 + (i % 4)),
  );
  return [
    {
      name: 'by perm',
      op: 'Transpose',
      attributes: { perm: [1, 0, 2] },
      inputs: [x],
      outputs: [f32([3, 2, 4], turned)],
    },
    { name: 'reversed', op: 'Transpose', inputs: [x], outputs: [f32([4, 3, 2], reversed)] },
    {
      name: 'along an axis, from the end too',
      op: 'Gather',
      attributes: { axis: 1 },
      inputs: [x, i64([2, 2], [2, 0, -3, 1])],
      outputs: [f32([2, 2, 2, 4], chosen)],
    },
  ];
}

function products(): OnnxGiven[] {
  const [a, b, c] = [some([4, 3], 1), some([5, 4], 2), some([5], 3)];
  const gemm = matmul(a, b, true, true).map((value, i) => 0.25 * value + 0.5 * at(c, i % 5));
  const [left, right] = [some([3, 4], 4), some([4, 5], 5)];
  const [q, k, v] = [some([2, 4, 3, 8], 1), some([2, 2, 5, 8], 2), some([2, 2, 5, 6], 3)];
  const dims = { B: 2, HQ: 4, HKV: 2, TQ: 3, TK: 5, D: 8, DV: 6 };
  const places = [dense(q.shape), dense(k.shape), dense(v.shape), dense([2, 4, 3, 6])];
  const packed = [some([1, 5, 16], 4), some([1, 5, 8], 5), some([1, 5, 8], 6)];
  const packedPlaces = [flat(4, [1, 5, 16]), flat(2, [1, 5, 8]), flat(2, [1, 5, 8]), flat(4, [1, 5, 16])];
  const causal = attention(packed, packedPlaces, { B: 1, HQ: 4, HKV: 2, TQ: 5, TK: 5, D: 4, DV: 4 }, 0.3, true);
  return [
    {
      name: 'all attributes',
      op: 'Gemm',
      attributes: { alpha: 0.25, beta: 0.5, transA: 1, transB: 1 },
      inputs: [a, b, c],
      outputs: [f32([3, 5], gemm)],
    },
    { name: 'two matrices', op: 'MatMul', inputs: [left, right], outputs: [f32([3, 5], matmul(left, right))] },
    {
      name: 'grouped heads',
      op: 'Attention',
      inputs: [q, k, v],
      outputs: [f32([2, 4, 3, 6], attention([q, k, v], places, dims, 1 / Math.sqrt(8), false))],
    },
    {
      name: 'packed and causal',
      op: 'Attention',
      attributes: { is_causal: 1, q_num_heads: 4, kv_num_heads: 2, scale: 0.3 },
      inputs: packed,
      outputs: [f32([1, 5, 16], causal)],
    },
  ];
}

function rows(): OnnxGiven[] {
  const [x, weights, shift, row] = [some([2, 3, 4], 3), some([3, 4], 5), some([3, 4], 6), some([4], 7)];
  const layered = norm(x, 1, weights, shift, 1e-3, true);
  return [
    {
      name: 'middle axis',
      op: 'Softmax',
      attributes: { axis: 1 },
      inputs: [x],
      outputs: [f32([2, 3, 4], along(x, 1, softmax))],
    },
    { name: 'last axis', op: 'LogSoftmax', inputs: [x], outputs: [f32([2, 3, 4], along(x, 2, logSoftmax))] },
    {
      name: 'two dimensions, with statistics',
      op: 'LayerNormalization',
      attributes: { axis: 1, epsilon: 1e-3 },
      inputs: [x, weights, shift],
      outputs: [f32([2, 3, 4], layered.y), f32([2, 1, 1], layered.mean), f32([2, 1, 1], layered.rstd)],
    },
    {
      name: 'last dimension',
      op: 'RMSNormalization',
      inputs: [x, row],
      outputs: [f32([2, 3, 4], norm(x, 2, row, undefined, 1e-5, false).y)],
    },
  ];
}

function losses(): OnnxGiven[] {
  const [logits, targets, weight] = [
    some([2, 5, 3], 9),
    i64([2, 3], [0, 4, 2, 1, 1, 3]),
    f32([5], [0.5, 1, 2, 0.25, 3]),
  ];
  const logs = f32([2, 5, 3], along(logits, 1, logSoftmax));
  const ignoring = i64([2, 3], [0, -1, 2, 1, -1, 3]);
  const weighted = rowLosses(logs, targets, weight);
  const ignored = rowLosses(logs, ignoring, undefined, -1);
  const mean = ({ losses: all, used }: { losses: number[]; used: number }): Given => f32([], [sum(all) / used]);
  const [CE, NLL] = ['SoftmaxCrossEntropyLoss', 'NegativeLogLikelihoodLoss'];
  return [
    {
      name: 'weights, and log-probabilities',
      op: CE,
      inputs: [logits, targets, weight],
      outputs: [mean(weighted), logs],
    },
    {
      name: 'ignored rows',
      op: CE,
      attributes: { ignore_index: -1, reduction: 'sum' },
      inputs: [logits, ignoring],
      outputs: [f32([], [sum(ignored.losses)])],
    },
    {
      name: 'row by row',
      op: CE,
      attributes: { reduction: 'none' },
      inputs: [logits, targets],
      outputs: [f32([2, 3], rowLosses(logs, targets).losses)],
    },
    { name: 'weights', op: NLL, inputs: [logs, targets, weight], outputs: [mean(weighted)] },
    {
      name: 'ignored rows of log-probabilities',
      op: NLL,
      attributes: { ignore_index: -1 },
      inputs: [logs, ignoring],
      outputs: [mean(ignored)],
    },
  ];
}

function rotations(): OnnxGiven[] {
  const [heads, packed] = [some([2, 3, 4, 8], 3), some([1, 4, 24], 5)];
  const cache = (width: number, f: (x: number) => number): Given =>
    f32(
      [10, width],
      count(10 * width).map((i) => f(Math.floor(i / width) * 0.3 ** (i % width))),
    );
  const [cos, sin] = [cache(4, Math.cos), cache(4, Math.sin)];
  const [shortCos, shortSin] = [cache(2, Math.cos), cache(2, Math.sin)];
  const positions = [0, 1, 2, 3, 4, 9, 6, 7];
  const whole = { B: 2, H: 3, T: 4, rotated: 8, interleaved: false };
  const part = { B: 1, H: 3, T: 4, rotated: 4, interleaved: true };
  return [
    {
      name: 'by ids',
      op: 'RotaryEmbedding',
      inputs: [heads, cos, sin, i64([2, 4], positions)],
      outputs: [f32([2, 3, 4, 8], rotary(heads, cos, sin, positions, dense(heads.shape), whole))],
    },
    {
      name: 'part of packed heads, interleaved',
      op: 'RotaryEmbedding',
      attributes: { interleaved: 1, num_heads: 3, rotary_embedding_dim: 4 },
      inputs: [packed, shortCos, shortSin, i64([1, 4], [2, 3, 5, 7])],
      outputs: [f32([1, 4, 24], rotary(packed, shortCos, shortSin, [2, 3, 5, 7], flat(3, packed.shape), part))],
    },
  ];
}

const cases = [...elementwise(), ...rearranging(), ...products(), ...rows(), ...losses(), ...rotations()];

/** The case with the largest value of output `index` off by one part in a hundred. */
function spoiled(one: OnnxGiven, index: number): OnnxGiven {
  const outputs = one.outputs.map((output, i): Given | null => {
    if (i !== index || !output) return output;
    const values = Array.from(output.values);
    const place = values.reduce((best, value, at_) => (Math.abs(value) > Math.abs(values[best]) ? at_ : best), 0);
    values[place] *= 1.01;
    return { ...output, values };
  });
  return { ...one, outputs };
}

describe.each(cases.map((one) => [`${one.op}: ${one.name}`, one] as const))('%s', (_, one) => {
  it('passes', async () => {
    const report = await runFolder(device, onnxFolder([one]));
    expect(report.checks.filter(({ passed }) => !passed)).toEqual([]);
    expect([report.checks.length, report.skipped]).toEqual([one.outputs.length, 0]);
  });

  it.each(one.outputs.map((__, i) => i))('fails when output %i is spoiled', async (index) => {
    expect(failed(await runFolder(device, onnxFolder([spoiled(one, index)])))).toEqual([`${one.name} output ${index}`]);
  });
});

it('there is a case of every operator', () => {
  const modules = import.meta.glob<readonly Operator[]>('../../src/cli/verify/ops/*.ts', {
    import: 'operators',
    eager: true,
  });
  const here = Object.values(modules)
    .flat()
    .filter(({ format }) => format === 'onnx')
    .map(({ op }) => op);
  expect(new Set(cases.map(({ op }) => op))).toEqual(new Set(here));
});
