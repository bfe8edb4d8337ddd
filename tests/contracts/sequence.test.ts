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
import { areRuns, intervalsOf, seenRanks } from '../../src/model/language/token-rows.ts';
import { columnsOf, holderOf } from '../../src/parallel/sequence/placement.ts';
import { sequenceStrategies } from '../../src/parallel/sequence/registry.ts';
import type { AttentionOp } from '../../src/parallel/sequence/strategy.ts';
import { makeLayout } from '../../src/train/layout.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';
import { damaged } from '../support/damaged-group.ts';

type F32 = Float32Array<ArrayBuffer>;
interface Result {
  /** What the plan says it sends. */
  readonly traffic: number;
  readonly out: F32;
  readonly dQkv: F32;
}

/**
 * Payload bytes of a rank, from the papers: K and V in P - 1 hops; back K, V in P - 1 and their gradients in P hops.
 */
const BYTES: Readonly<Record<string, (P: number, keyValueBytes: number) => number>> = {
  ring: (P, block) => (P - 1) * block + (P - 1) * block + P * block,
  striped: (P, block) => (P - 1) * block + (P - 1) * block + P * block,
  zigzag: (P, block) => (P - 1) * block + (P - 1) * block + P * block,
};

type Local = Omit<AttentionAttributes, 'mask'>;

/** Records the op's forward and backward, runs both on `qkv` with the upstream gradient `dOut`. */
async function run(
  op: AttentionOp,
  attrs: Local,
  qkv: F32,
  dOut: F32,
  mask?: { readonly intervals: readonly Uint32Array[]; readonly seen: readonly boolean[] },
): Promise<Result> {
  const { B, T, heads, kvHeads, headDim } = attrs;
  const program = new Program(createCpuDevice());
  const input = program.tensor([B * T, (heads + 2 * kvHeads) * headDim], 'f32', 'qkv');
  const upstream = program.tensor([B * T, heads * headDim], 'f32', 'dOut');
  const intervals = mask?.intervals.map((data) => program.tensor([data.length], 'u32', 'intervals')) ?? [];
  const recorder = program.recorder('both');
  const given = { ...attrs, ...(mask ? { mask: { intervals, seen: mask.seen } } : {}) };
  const { out, saved } = op.forward(recorder, { qkv: input }, {}, given);
  const gradient = op.backwardInput!(recorder, upstream, saved, {}, given, { qkv: true }).qkv as Tensor;
  const read = mask?.seen.flatMap((seen, rank) => (seen || rank === 0 ? [intervals[rank]] : [])) ?? [];
  program.keep(input, upstream, out, gradient, ...read);
  const plans = await program.finish();
  program.write(input, 0, qkv);
  program.write(upstream, 0, dOut);
  for (const tensor of read) program.write(tensor, 0, mask!.intervals[intervals.indexOf(tensor)] as never);
  await plans.get('both')!.run();
  const [a, b] = await readTensors(program, [out, gradient]);
  const traffic = plans.get('both')!.traffic.reduce((sum, { bytes }) => sum + bytes, 0);
  return { traffic, out: a as F32, dQkv: b as F32 };
}

/** The rows of every batch entry that have these columns; padding is 0. */
function cut(whole: F32, B: number, context: number, columns: Int32Array): F32 {
  const width = whole.length / (B * context);
  const part = new Float32Array(B * columns.length * width);
  for (let b = 0; b < B; b++)
    for (const [t, column] of columns.entries()) {
      const from = (b * context + column) * width;
      if (column >= 0) part.set(whole.subarray(from, from + width), (b * columns.length + t) * width);
    }
  return part;
}

interface Setting {
  readonly P: number;
  /** Columns of the context that are missing to 3 P. */
  readonly short: number;
  readonly causal: boolean;
  readonly documents: boolean;
  readonly kvHeads: number;
}

/** Two rows of documents: of 1, 2, 3, ... tokens, and one with a border in the middle. */
function startsOf(context: number, documents: boolean): Int32Array<ArrayBuffer> {
  const starts = new Int32Array(2 * context);
  if (!documents) return starts;
  for (let column = 0, start = 0, length = 1; column < context; column++) {
    if (column - start === length) [start, length] = [column, length + 1];
    starts[column] = start;
    starts[context + column] = column < context / 2 ? 0 : Math.ceil(context / 2);
  }
  return starts;
}

async function worst(
  name: string,
  { P, short, causal, documents, kvHeads }: Setting,
  change: (group: Group) => Group = (group) => group,
): Promise<{ error: number; bytes: number[]; formula: number[]; recorded: number[] }> {
  const strategy = sequenceStrategies.get(name)!;
  const context = 3 * P - short;
  const shape = { B: 2, heads: 4, kvHeads, headDim: 5, causal, scale: 0.4 };
  const columns = Array.from({ length: P }, (_, rank) => columnsOf(strategy.placement, rank, P, context));
  const T = columns[0].length;
  const random = new RandomStream(3, `${name} ${P}`);
  let drawn = 0;
  const draw = (count: number): F32 => Float32Array.from({ length: count }, () => random.normal(drawn++));
  const qkv = draw(2 * context * (4 + 2 * kvHeads) * 5);
  const dOut = draw(2 * context * 4 * 5);
  const starts = startsOf(context, documents);
  const maskOf = (held: readonly Int32Array[], rank: number, own: Int32Array) => ({
    intervals: intervalsOf({ columns: held, starts: own }, rank),
    seen: seenRanks(held, rank),
  });
  const whole = [Int32Array.from({ length: context }, (_, column) => column)];
  const plain = areRuns(columns) && !documents;
  const want = await run(
    attention as unknown as AttentionOp,
    { ...shape, T: context },
    qkv,
    dOut,
    documents ? maskOf(whole, 0, starts) : undefined,
  );
  const nodes = loopbackMesh(P, realWorld);
  const ledgers = nodes.map(() => createLedger());
  const got = await Promise.all(
    nodes.map(({ rank, links }) => {
      const group = change(
        createMesh({ layout: makeLayout({ sp: P }), rank, links, ledger: ledgers[rank] }).axis('sp'),
      );
      const own = Int32Array.from({ length: 2 * T }, (_, i) => {
        const column = columns[rank][i % T];
        return column < 0 ? 0 : starts[Math.floor(i / T) * context + column];
      });
      return run(
        strategy.attention(group),
        { ...shape, T },
        cut(qkv, 2, context, columns[rank]),
        cut(dOut, 2, context, columns[rank]),
        plain ? undefined : maskOf(columns, rank, own),
      );
    }),
  );
  for (const node of nodes) node.leave();
  let error = 0;
  for (const key of ['out', 'dQkv'] as const) {
    const most = want[key].reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    got.forEach((result, rank) =>
      cut(want[key], 2, context, columns[rank]).forEach((value, i) => {
        error = Math.max(error, Math.abs(result[key][i] - value) / most);
      }),
    );
  }
  const block = 2 * 2 * T * kvHeads * 5 * 4;
  return {
    error,
    bytes: ledgers.map((ledger) => Object.values(ledger.sentByKind()).reduce((a, b) => a + b, 0)),
    formula: got.map(() => BYTES[name](P, block)),
    recorded: got.map(({ traffic }) => traffic),
  };
}

const SETTINGS: readonly Setting[] = [2, 3, 4, 5].flatMap((P) =>
  [0, 1, 2].flatMap((short) =>
    [true, false].flatMap((documents) => [4, 2, 1].map((kvHeads) => ({ P, short, causal: true, documents, kvHeads }))),
  ),
);
const usual = { short: 0, causal: true, documents: false, kvHeads: 4 };

describe.each([...sequenceStrategies.keys()])('%s', (name) => {
  test.each(SETTINGS)('equals attention of the whole sequence, bytes equal the formula: %o', async (setting) => {
    const { error, bytes, formula, recorded } = await worst(name, setting);
    expect(error).toBeLessThan(2e-5);
    expect(bytes).toEqual(formula);
    expect(recorded).toEqual(formula);
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
    expect((await worst(name, { ...usual, P: 3 }, backwards)).error).toBeGreaterThan(1e-2);
  });

  test('a block that arrives damaged is caught', async () => {
    expect((await worst(name, { ...usual, P: 2, kvHeads: 2 }, damaged)).error).toBeGreaterThan(1e-3);
  });
});

test.each([2, 3, 5])('ring of %i: attention that hides nothing', async (P) => {
  const { error, bytes, formula } = await worst('ring', { ...usual, P, causal: false });
  expect(error).toBeLessThan(2e-5);
  expect(bytes).toEqual(formula);
});

test('there are strategies, and zigzag shares the causal mask evenly', () => {
  expect([...sequenceStrategies.keys()]).toEqual(expect.arrayContaining(['ring', 'striped', 'zigzag']));
  const pairs = (name: string): number[] =>
    [0, 1, 2, 3].map((rank) =>
      columnsOf(sequenceStrategies.get(name)!.placement, rank, 4, 32).reduce((sum, column) => sum + column + 1, 0),
    );
  expect(pairs('ring')).toEqual([36, 100, 164, 228]);
  expect(pairs('striped')).toEqual([120, 128, 136, 144]);
  expect(pairs('zigzag')).toEqual([132, 132, 132, 132]);
});

const placements = [...sequenceStrategies.values()].map(({ placement }) => placement);

test.each(placements)('$name: the placement holds every column once, and finds it again', (placement) => {
  for (const size of [1, 2, 3, 4])
    for (const context of [size, 7, 12, 13]) {
      const held = Array.from({ length: size }, (_, rank) => [...columnsOf(placement, rank, size, context)]);
      const columns = held.flat().filter((column) => column >= 0);
      expect(columns.sort((a, b) => a - b)).toEqual(Array.from({ length: context }, (_, column) => column));
      for (let column = 0; column < context; column++) {
        const { rank, place } = holderOf(placement, column, size, context);
        expect(held[rank][place]).toBe(column);
      }
    }
});
