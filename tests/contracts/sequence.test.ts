// Contract of every sequence strategy (found by the registry): attention of a sequence that is cut over P ranks equals
// attention of the whole, forward and backward, causal and full, with grouped heads; and every rank's bytes equal the
// strategy's own formula. On the references, over loopback.

import { describe, expect, test } from 'vitest';
import { RandomStream } from '../../src/base/random.ts';
import { realWorld } from '../../src/base/world.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import type { Group, Operation } from '../../src/collectives/group.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { Program, readTensors } from '../../src/device/program.ts';
import type { Tensor } from '../../src/device/tensor.ts';
import { attention } from '../../src/ops/attention.ts';
import type { AttentionAttributes } from '../../src/ops/attention.ts';
import { sequenceStrategies } from '../../src/parallel/sequence/registry.ts';
import type { AttentionOp } from '../../src/parallel/sequence/strategy.ts';
import { makeLayout } from '../../src/train/layout.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';

type F32 = Float32Array<ArrayBuffer>;
interface Result {
  readonly out: F32;
  readonly dQkv: F32;
}

/** Records the op's forward and backward, runs both on `qkv` with the upstream gradient `dOut`. */
async function run(op: AttentionOp, attrs: AttentionAttributes, qkv: F32, dOut: F32): Promise<Result> {
  const { B, T, heads, kvHeads, headDim } = attrs;
  const program = new Program(createCpuDevice());
  const input = program.tensor([B * T, (heads + 2 * kvHeads) * headDim], 'f32', 'qkv');
  const upstream = program.tensor([B * T, heads * headDim], 'f32', 'dOut');
  const recorder = program.recorder('both');
  const { out, saved } = op.forward(recorder, { qkv: input }, {}, attrs);
  const gradient = op.backwardInput!(recorder, upstream, saved, {}, attrs, { qkv: true }).qkv as Tensor;
  program.keep(input, upstream, out, gradient);
  const plans = await program.finish();
  program.write(input, 0, qkv);
  program.write(upstream, 0, dOut);
  await plans.get('both')!.run();
  const [a, b] = await readTensors(program, [out, gradient]);
  return { out: a as F32, dQkv: b as F32 };
}

/** Rows [rank * T, (rank + 1) * T) of every batch entry. */
function slice(whole: F32, B: number, T: number, P: number, rank: number): F32 {
  const width = whole.length / (B * T * P);
  const part = new Float32Array(B * T * width);
  for (let b = 0; b < B; b++)
    part.set(whole.subarray((b * P + rank) * T * width, (b * P + rank + 1) * T * width), b * T * width);
  return part;
}

interface Setting {
  readonly P: number;
  readonly causal: boolean;
  readonly kvHeads: number;
}

async function worst(
  name: string,
  { P, causal, kvHeads }: Setting,
  change: (group: Group) => Group = (group) => group,
): Promise<{ error: number; bytes: number[]; formula: number[] }> {
  const strategy = sequenceStrategies.get(name)!;
  const local: AttentionAttributes = { B: 2, T: 3, heads: 4, kvHeads, headDim: 5, causal, scale: 0.4 };
  const random = new RandomStream(3, `${name} ${P}`);
  let drawn = 0;
  const draw = (count: number): F32 => Float32Array.from({ length: count }, () => random.normal(drawn++));
  const qkv = draw(local.B * local.T * P * (local.heads + 2 * kvHeads) * local.headDim);
  const dOut = draw(local.B * local.T * P * local.heads * local.headDim);
  const want = await run(attention as unknown as AttentionOp, { ...local, T: local.T * P }, qkv, dOut);
  const nodes = loopbackMesh(P, realWorld);
  const ledgers = nodes.map(() => createLedger());
  const got = await Promise.all(
    nodes.map(({ rank, links }) => {
      const group = change(
        createMesh({ layout: makeLayout({ sp: P }), rank, links, ledger: ledgers[rank] }).axis('sp'),
      );
      return run(
        strategy.attention(group),
        local,
        slice(qkv, local.B, local.T, P, rank),
        slice(dOut, local.B, local.T, P, rank),
      );
    }),
  );
  for (const node of nodes) node.leave();
  let error = 0;
  for (const key of ['out', 'dQkv'] as const) {
    const most = want[key].reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    got.forEach((result, rank) =>
      slice(want[key], local.B, local.T, P, rank).forEach((value, i) => {
        error = Math.max(error, Math.abs(result[key][i] - value) / most);
      }),
    );
  }
  const formula = got.map((_, rank) => {
    const { forward, backward } = strategy.wireBytes(rank, P, local);
    return forward + backward;
  });
  return {
    error,
    bytes: ledgers.map((ledger) => Object.values(ledger.sentByKind()).reduce((a, b) => a + b, 0)),
    formula,
  };
}

const SETTINGS: readonly Setting[] = [2, 3, 4, 5].flatMap((P) =>
  [true, false].flatMap((causal) => [4, 2, 1].map((kvHeads) => ({ P, causal, kvHeads }))),
);

describe.each([...sequenceStrategies.keys()])('%s', (name) => {
  test.each(SETTINGS)('equals attention of the whole sequence, bytes equal the formula: %o', async (setting) => {
    const { error, bytes, formula } = await worst(name, setting);
    expect(error).toBeLessThan(2e-5);
    expect(bytes).toEqual(formula);
  });

  test('a ring that turns the wrong way is caught', async () => {
    const backwards = (group: Group): Group => ({
      ...group,
      begin(kind, seq) {
        const operation = group.begin(kind, seq);
        const mirror = (other: number): number => (2 * group.rank - other + group.size) % group.size;
        return {
          ...operation,
          send: (to, chunk, data) => operation.send(mirror(to), chunk, data),
          recv: (from, chunk, out) => operation.recv(mirror(from), chunk, out),
        } satisfies Operation;
      },
    });
    expect((await worst(name, { P: 3, causal: false, kvHeads: 4 }, backwards)).error).toBeLessThan(2e-5);
    expect((await worst(name, { P: 3, causal: true, kvHeads: 4 }, backwards)).error).toBeGreaterThan(1e-2);
  });

  test('a block that arrives damaged is caught', async () => {
    const damaged = (group: Group): Group => ({
      ...group,
      begin(kind, seq) {
        const operation = group.begin(kind, seq);
        return {
          ...operation,
          recv: async (from, chunk, out) => {
            await operation.recv(from, chunk, out);
            out[0] += 1;
          },
        } satisfies Operation;
      },
    });
    expect((await worst(name, { P: 2, causal: false, kvHeads: 2 }, damaged)).error).toBeGreaterThan(1e-3);
  });
});

test('there is a strategy', () => {
  expect([...sequenceStrategies.keys()]).toContain('ring');
});
