// Contract of every mixer (found by the registry): tokens of a row see those before them and none after, no row sees
// another, each head is a function of its own query, key and value head alone (so that tp may divide the heads), and
// the gradient is that of central differences. On the references.

import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../src/base/random.ts';
import { InternalError } from '../../src/base/errors.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { Program, readTensors } from '../../src/device/program.ts';
import type { Mixer } from '../../src/model/mixing/mixer.ts';
import { mixers } from '../../src/model/mixing/registry.ts';
import type { NetworkContext } from '../../src/model/network.ts';
import { singleRank } from '../../src/model/parallelism.ts';
import { Tape } from '../../src/ops/tape.ts';

type F32 = Float32Array<ArrayBuffer>;
const [B, T, D] = [2, 5, 3];

interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
}
const ALL: Heads = { heads: 4, kvHeads: 2 };
const widthOf = ({ heads, kvHeads }: Heads): number => (heads + 2 * kvHeads) * D;

const random = new RandomStream(7, 'mixers');
const QKV = Float32Array.from({ length: B * T * widthOf(ALL) }, (_, i) => random.normal(i));
const UPSTREAM = Float32Array.from({ length: B * T * ALL.heads * D }, (_, i) => random.normal(1e6 + i));

async function run(mixer: Mixer, qkv: F32, shape: Heads = ALL, upstream = UPSTREAM): Promise<{ out: F32; dQkv: F32 }> {
  const program = new Program(createCpuDevice());
  const input = program.tensor([B * T, widthOf(shape)], 'f32', 'qkv');
  const recorder = program.recorder('both');
  const tape = new Tape(recorder);
  const context = {
    tape,
    parallelism: singleRank,
    B,
    T,
    param(name: string) {
      throw new InternalError(`the contract has no parameter ${name}: give it one`);
    },
  } as unknown as NetworkContext;
  const attrs = { B, T, ...shape, headDim: D, causal: true, scale: 1 / Math.sqrt(D) };
  const out = mixer.mix(context as never, 0, input, attrs);
  expect(out.shape).toEqual([B * T, shape.heads * D]);
  const seed = program.tensor(out.shape, 'f32', 'upstream');
  const [gradient] = tape.backward([[out, seed]], [input], recorder, recorder);
  program.keep(input, seed, out, gradient!);
  const plans = await program.finish();
  program.write(input, 0, qkv);
  program.write(seed, 0, upstream);
  await plans.get('both')!.run();
  const [a, b] = await readTensors(program, [out, gradient!]);
  return { out: a as F32, dQkv: b as F32 };
}

/** The columns of `heads` query heads from `from`, and of their key and value heads. */
function headsOf(whole: F32, from: number, { heads, kvHeads }: Heads): F32 {
  const group = ALL.heads / ALL.kvHeads;
  const runs = [
    [from, heads],
    [ALL.heads + from / group, kvHeads],
    [ALL.heads + ALL.kvHeads + from / group, kvHeads],
  ];
  const rows = Array.from({ length: B * T }, (_, row) =>
    runs.flatMap(([first, count]) => [
      ...whole.subarray(row * widthOf(ALL) + first * D, row * widthOf(ALL) + (first + count) * D),
    ]),
  );
  return Float32Array.from(rows.flat());
}

describe.each([...mixers.values()])('$name', (mixer) => {
  it('mixes a row with what stands before it, and with nothing else', async () => {
    const { out } = await run(mixer, QKV);
    const width = ALL.heads * D;
    for (const token of [0, 2, T - 1]) {
      const changed = QKV.slice();
      const row = T + token;
      for (let c = 0; c < widthOf(ALL); c++) changed[row * widthOf(ALL) + c] += 1;
      const { out: other } = await run(mixer, changed);
      const differs = Array.from({ length: B * T }, (_, at) =>
        out.subarray(at * width, (at + 1) * width).some((value, c) => value !== other[at * width + c]),
      );
      expect(differs, `token ${token}`).toEqual(Array.from({ length: B * T }, (_, at) => at >= row));
    }
  });

  it('gives half of the heads what they get among all', async () => {
    const { out } = await run(mixer, QKV);
    const half = { heads: 2, kvHeads: 1 };
    for (const from of [0, 2]) {
      const { out: own } = await run(mixer, headsOf(QKV, from, half), half, UPSTREAM.subarray(0, B * T * 2 * D));
      for (let row = 0; row < B * T; row++)
        for (let c = 0; c < 2 * D; c++)
          expect(Math.abs(own[row * 2 * D + c] - out[(row * ALL.heads + from) * D + c])).toBeLessThan(1e-6);
    }
  });

  it('has the gradient of central differences', async () => {
    const { dQkv } = await run(mixer, QKV);
    const loss = async (at: number, by: number): Promise<number> => {
      const moved = QKV.slice();
      moved[at] += by;
      const { out } = await run(mixer, moved);
      return out.reduce((sum, value, i) => sum + value * UPSTREAM[i], 0);
    };
    const most = dQkv.reduce((value, g) => Math.max(value, Math.abs(g)), 0);
    expect(most).toBeGreaterThan(0);
    for (let at = 0; at < QKV.length; at += 11) {
      const [up, down] = [await loss(at, 1e-2), await loss(at, -1e-2)];
      expect(Math.abs((up - down) / 2e-2 - dQkv[at]) / most, `qkv[${at}]`).toBeLessThan(2e-3);
    }
  });
});
