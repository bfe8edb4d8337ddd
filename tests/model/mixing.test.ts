// Layers whose tokens are mixed by something else than softmax attention, and heads of one layer that differ:
// x + o(mix(qkv(x))) in one or two layers on one and on two tensor ranks equals a reference in f64, with gradients by
// central differences. The other mixer is one for tests, which averages the values so far.

import { describe, expect, it, test, vi } from 'vitest';
import { InternalError, UnsupportedError } from '../../src/base/errors.ts';
import { RandomStream } from '../../src/base/random.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { Program, readTensors } from '../../src/device/program.ts';
import type { Param, Tensor } from '../../src/device/tensor.ts';
import type { CommonConfig } from '../../src/model/config.ts';
import { mixTokens } from '../../src/model/mixing/mix-tokens.ts';
import type { HeadRun, LayerMixers } from '../../src/model/mixing/mixer.ts';
import { mixerFiles, mixersOfFiles } from '../../src/model/mixing/registry.ts';
import type { NetworkContext } from '../../src/model/network.ts';
import { singleRank } from '../../src/model/parallelism.ts';
import type { Parallelism } from '../../src/model/parallelism.ts';
import { Tape } from '../../src/ops/tape.ts';
import { onTensorRanks } from '../support/tensor-ranks.ts';

vi.mock('../../src/model/mixing/registry.ts', async (original) => {
  const real = await original<typeof import('../../src/model/mixing/registry.ts')>();
  const { mixer: average } = await import('../support/average-mixer.ts');
  return { ...real, ...real.mixersOfFiles({ ...real.mixerFiles, './mixers/average.ts': average }) };
});

/** Rows, tokens, heads, key heads, width of a head, hidden width. */
const [B, T, H, HKV, DH, D] = [2, 3, 8, 4, 2, 4];
const GROUP = H / HKV;
const WIDTH = (H + 2 * HKV) * DH;
const config = { heads: H, kvHeads: HKV, headDim: DH, hidden: D } as CommonConfig;

/** Row-major: x, d [B*T, D], and of each layer P [WIDTH, D] (q | k | v) and O [D, H * DH]. */
type Values = Readonly<Record<string, readonly number[]>>;
const random = new RandomStream(4, 'mixing');
let drawn = 0;
const draw = (count: number): number[] => Array.from({ length: count }, () => Math.fround(random.normal(drawn++) / 2));
const VALUES: Values = {
  x: draw(B * T * D),
  d: draw(B * T * D),
  P0: draw(WIDTH * D),
  O0: draw(D * H * DH),
  P1: draw(WIDTH * D),
  O1: draw(D * H * DH),
};

const runsOf = (layer: LayerMixers): readonly HeadRun[] =>
  typeof layer === 'string' ? [{ mixer: layer, heads: H }] : layer;

/** The result in f64. */
function reference(v: Values, layers: readonly LayerMixers[]): readonly number[] {
  let x = v['x'];
  for (const [l, layer] of layers.entries()) {
    const mixers = runsOf(layer).flatMap(({ mixer, heads }) => Array.from({ length: heads }, () => mixer));
    const project = (row: number, col: number): number => {
      let sum = 0;
      for (let i = 0; i < D; i++) sum += x[row * D + i] * v[`P${l}`][col * D + i];
      return sum;
    };
    const mixed: number[] = [];
    for (let row = 0; row < B * T; row++) {
      const seen = Array.from({ length: (row % T) + 1 }, (_, t) => row - (row % T) + t);
      for (let h = 0; h < H; h++) {
        const [kCol, vCol] = [H, H + HKV].map((base) => (base + Math.floor(h / GROUP)) * DH);
        const scores = seen.map((key) => {
          let score = 0;
          for (let i = 0; i < DH; i++) score += project(row, h * DH + i) * project(key, kCol + i);
          return mixers[h] === 'average' ? 1 : Math.exp(score / Math.sqrt(DH));
        });
        const total = scores.reduce((a, b) => a + b);
        for (let i = 0; i < DH; i++)
          mixed.push(seen.reduce((sum, key, t) => sum + (scores[t] / total) * project(key, vCol + i), 0));
      }
    }
    x = x.map((value, at) => {
      const [row, i] = [Math.floor(at / D), at % D];
      let sum = value;
      for (let j = 0; j < H * DH; j++) sum += mixed[row * H * DH + j] * v[`O${l}`][i * H * DH + j];
      return sum;
    });
  }
  return x;
}

/** Gradient of sum(d * out) by `name`. */
function gradientOf(name: string, layers: readonly LayerMixers[]): readonly number[] {
  const loss = (values: Values): number =>
    reference(values, layers).reduce((sum, value, i) => sum + value * VALUES['d'][i], 0);
  const step = 1e-5;
  return VALUES[name].map((_, i) => {
    const moved = (by: number): Values => ({ ...VALUES, [name]: VALUES[name].with(i, VALUES[name][i] + by) });
    return (loss(moved(step)) - loss(moved(-step))) / (2 * step);
  });
}

/** What a tensor rank holds: of P the rows of its heads, of O their columns. */
function cut(name: string, values: readonly number[], { rank, size }: { rank: number; size: number }): number[] {
  if (name.startsWith('P'))
    return [
      [0, H],
      [H, HKV],
      [H + HKV, HKV],
    ].flatMap(([base, heads]) => {
      const own = (heads / size) * DH * D;
      return values.slice(base * DH * D + rank * own, base * DH * D + (rank + 1) * own);
    });
  const own = (H * DH) / size;
  if (name.startsWith('O')) return values.filter((_, i) => Math.floor((i % (H * DH)) / own) === rank);
  return [...values];
}

async function run(par: Parallelism, layers: readonly LayerMixers[]) {
  const { tp } = par;
  const device = createCpuDevice();
  const program = new Program(device);
  const params = new Map<string, Param>();
  for (const [name, values] of Object.entries(VALUES)) {
    if (!/^[PO]/.test(name) || Number(name[1]) >= layers.length) continue;
    const own = cut(name, values, tp);
    const fixed = (label: string, data: readonly number[]): Tensor => {
      const buffer = device.alloc(data.length * 4, 'param', label);
      device.write(buffer, 0, Float32Array.from(data));
      const shape = name.startsWith('P') ? [WIDTH / tp.size, D] : [D, (H * DH) / tp.size];
      return { shape, dtype: 'f32', label, offset: 0, storage: { kind: 'fixed', buffer } };
    };
    params.set(name, {
      ...fixed(name, own),
      name,
      grad: fixed(
        `d.${name}`,
        own.map(() => 0),
      ),
    });
  }
  const [x, d] = ['x', 'd'].map((label) => program.tensor([B * T, D], 'f32', label));
  const tape = new Tape(program.recorder('F'));
  const context = { tape, config, parallelism: par, B, T, posStart: 0 } as NetworkContext<CommonConfig>;
  let out = x;
  for (const [l, mixers] of layers.entries()) {
    const mixed = mixTokens(context, l, mixers, par.columnLinear(tape, out, params.get(`P${l}`)!));
    out = par.rowLinear(tape, mixed, params.get(`O${l}`)!).settle(out);
  }
  const backward = program.recorder('B');
  const [dX] = tape.backward([[out, d]], [x], backward, backward);
  program.keep(x, d, out, dX!);
  const plans = await program.finish();
  program.write(x, 0, Float32Array.from(VALUES['x']));
  program.write(d, 0, Float32Array.from(VALUES['d']));
  await plans.get('F')!.run();
  await plans.get('B')!.run();
  const [result, gradient] = await readTensors(program, [out, dX!]);
  const gradients = new Map<string, ArrayLike<number>>([['x', gradient]]);
  for (const [name, { grad }] of params) {
    const { buffer } = grad.storage as { buffer: Parameters<typeof device.write>[0] };
    const [bytes] = await device.submit([], [{ buffer, offset: 0, bytes: buffer.bytes }]);
    gradients.set(name, new Float32Array(bytes));
  }
  return { result, gradients, launches: plans.get('F')!.launches };
}

const onTwo = (layers: readonly LayerMixers[]) => onTensorRanks((parallelism) => run(parallelism, layers));

const worst = (got: ArrayLike<number>, want: readonly number[]): number => {
  expect(got.length).toBe(want.length);
  return want.reduce((most, value, i) => Math.max(most, Math.abs(got[i] - value)), 0);
};
const half: LayerMixers = [
  { mixer: 'softmax', heads: 4 },
  { mixer: 'average', heads: 4 },
];
const middle: LayerMixers = [
  { mixer: 'softmax', heads: 2 },
  { mixer: 'average', heads: 4 },
  { mixer: 'softmax', heads: 2 },
];

describe('mixers', () => {
  it.each<[string, readonly LayerMixers[]]>([
    ['softmax in both layers', ['softmax', 'softmax']],
    ['another mixer in the second layer', ['softmax', 'average']],
    ['another mixer for half the heads: one each on two tensor ranks', [half]],
    ['another mixer for heads in the middle: both on each tensor rank', [middle, half]],
  ])('%s', async (_what, layers) => {
    const ranks = [...(await onTwo(layers)), await run(singleRank, layers)];
    for (const [i, { result, gradients }] of ranks.entries()) {
      const place = i < 2 ? { rank: i, size: 2 } : { rank: 0, size: 1 };
      expect(worst(result, reference(VALUES, layers))).toBeLessThan(5e-6);
      expect(gradients.size).toBe(1 + 2 * layers.length);
      for (const [name, values] of gradients)
        expect(worst(values, cut(name, gradientOf(name, layers), place)), name).toBeLessThan(2e-5);
    }
  });

  test('the reference knows one mixer from the other, and which heads have it', async () => {
    const { result } = await run(singleRank, [half]);
    for (const other of ['softmax', 'average', [...half].reverse()])
      expect(worst(result, reference(VALUES, [other]))).toBeGreaterThan(0.01);
  });

  test('one mixer for all heads launches nothing else', async () => {
    // The projection, attention, and the product with its residual.
    expect((await run(singleRank, ['softmax'])).launches).toBe(3);
    expect((await run(singleRank, [[{ mixer: 'softmax', heads: H }]])).launches).toBe(3);
  });

  it.each<[string, LayerMixers, string]>([
    ['heads without one', [{ mixer: 'softmax', heads: 6 }], 'mixers: 6 heads have one, expected all 8'],
    ['heads too many', [...half, ...half], 'mixers: 16 heads have one, expected all 8'],
    [
      'a key head with two',
      [
        { mixer: 'softmax', heads: 3 },
        { mixer: 'average', heads: 5 },
      ],
      'mixers: 3 heads for softmax, expected whole groups of 2',
    ],
  ])('refuses %s', async (_what, mixers, message) => {
    await expect(run(singleRank, [mixers])).rejects.toThrow(InternalError);
    await expect(run(singleRank, [mixers])).rejects.toThrow(message);
  });

  it('refuses a mixer that is not there, a file without one, and a name that is taken', async () => {
    await expect(run(singleRank, ['delta'])).rejects.toThrow(UnsupportedError);
    await expect(run(singleRank, ['delta'])).rejects.toThrow("mixer: expected softmax or average, got 'delta'");
    expect(() => mixersOfFiles({ './mixers/x.ts': undefined })).toThrow("expected an export named 'mixer'");
    const [[path, mixer]] = Object.entries(mixerFiles);
    expect(() => mixersOfFiles({ [path]: mixer, './mixers/x.ts': mixer })).toThrow("the mixer name 'softmax' is taken");
  });
});
