// A peer whose numbers cannot be: counts of rows, lengths, tokens. Each gives one error that names it, on every rank,
// and nothing is read or written out of bounds.

import { describe, expect, it } from 'vitest';
import { PeerError } from '../../src/base/errors.ts';
import type { TypedArray } from '../../src/base/shape.ts';
import { realWorld } from '../../src/base/world.ts';
import { gather } from '../../src/collectives/gather.ts';
import type { Group, Operation } from '../../src/collectives/group.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { Program } from '../../src/device/program.ts';
import { expertExchange } from '../../src/parallel/expert/all-to-all.ts';
import { Beside } from '../../src/train/beside/beside.ts';
import { Generator } from '../../src/train/beside/generate.ts';
import { gatherModel } from '../../src/train/gather.ts';
import { makeLayout } from '../../src/train/layout.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';
import { onTrainers } from '../support/trainer-lab.ts';
import type { LabRank } from '../support/trainer-lab.ts';

/**
 * What this group sends in its n-th operation is changed: `lie` gets what it would send, and the number of the message.
 */
type Lie = (data: TypedArray, n: number, kind: string, chunk: number) => TypedArray;

function lying(group: Group, lie: Lie): Group {
  let n = 0;
  const spoil = (operation: Operation, at: number): Operation => ({
    ...operation,
    send: (to, chunk, data) => operation.send(to, chunk, lie(data, at, operation.kind, chunk)),
  });
  return { ...group, begin: (kind, seq) => spoil(group.begin(kind, seq), n++) };
}

const SOUND: Lie = (data) => data;

const resized = (data: TypedArray, by: number): TypedArray => {
  const changed = new Float32Array(data.length + by);
  changed.set((data as Float32Array).subarray(0, changed.length));
  return changed;
};

const [D, TOKENS, PER_TOKEN, EXPERTS] = [3, 6, 2, 4];
/** Rows of each rank by expert. */
const LOADS = [
  [3, 3, 3, 3],
  [2, 4, 5, 1],
];

/** Both ranks exchange rows there, there again, and back; how each ended. Rank 1 lies. */
async function exchange(lie: Lie): Promise<readonly PromiseSettledResult<unknown>[]> {
  const nodes = loopbackMesh(2, realWorld);
  const results = await Promise.allSettled(
    nodes.map(async ({ rank, links }) => {
      const mesh = createMesh({ layout: makeLayout({ ep: 2 }), rank, links, ledger: createLedger() });
      const group = rank === 1 ? lying(mesh.axis('ep'), lie) : mesh.axis('ep');
      const own = expertExchange(group, { tokens: TOKENS, perToken: PER_TOKEN, experts: EXPERTS, width: D });
      const program = new Program(createCpuDevice());
      const rows = program.tensor([TOKENS * PER_TOKEN, D], 'f32', 'rows');
      const offsets = program.tensor([EXPERTS + 1], 'u32', 'offsets');
      const r = program.recorder('all');
      const at = own.dispatch(r, rows, offsets);
      own.redispatch(r, rows, offsets, at.counts);
      program.keep(rows, offsets, at.rows, own.collect(r, at.rows, offsets, at.counts));
      const plans = await program.finish();
      let sum = 0;
      program.write(offsets, 0, Uint32Array.from([0, ...LOADS[rank]!.map((n) => (sum += n))]));
      await plans.get('all')!.run();
      // Whoever has all that it needs hears of it by the link.
      if (rank === 1 && lie !== SOUND) throw await links.get(0)!.failed;
    }),
  );
  for (const node of nodes) node.leave();
  return results;
}

/** Both ranks name rank 1: it hears of itself from the other. */
function expectCulprit(results: readonly unknown[], words: RegExp): void {
  const reasons = results.map((result) =>
    result instanceof Error ? result : ((result as PromiseRejectedResult).reason as unknown),
  );
  for (const reason of reasons) {
    if (!(reason instanceof PeerError)) throw new Error(`expected a PeerError, got ${String(reason)}`);
    expect([reason.culprit, reason.evidence]).toEqual([1, 'corrupt']);
  }
  expect((reasons[0] as PeerError).message).toMatch(words);
}

describe("the exchange of experts' rows", () => {
  it.each<[string, Lie, RegExp]>([
    [
      'more rows for an expert than tokens',
      (data, n) => (n === 0 ? Uint32Array.of(7, 1) : data),
      /^rank 1 corrupt: it counts 7 rows for expert 0, of 6 tokens$/,
    ],
    [
      '2^32 - 1 rows',
      (data, n) => (n === 0 ? Uint32Array.of(0xffffffff, 1) : data),
      /it counts 4294967295 rows for expert 0/,
    ],
    [
      'counts that its rows do not have',
      (data, n) => (n === 0 ? Uint32Array.of(2, 3) : data),
      /it sent 18 floats of rows for the experts here, where its counts make 5 rows of 3/,
    ],
    ['half a row', (data, n) => (n === 1 ? resized(data, -1) : data), /it sent 17 floats of rows/],
    ['a row too many', (data, n) => (n === 1 ? resized(data, 3) : data), /it sent 21 floats of rows/],
    ['no row in the backward', (data, n) => (n === 2 ? resized(data, -data.length) : data), /it sent 0 floats of rows/],
    ['other rows in the backward', (data, n) => (n === 2 ? resized(data, 6) : data), /it sent 24 floats of rows/],
    [
      'rows too many on the way back',
      (data, n) => (n === 3 ? resized(data, 3) : data),
      /it sent 21 floats of rows for the experts here, where its counts make 6 rows/,
    ],
    ['rows too few on the way back', (data, n) => (n === 3 ? resized(data, -3) : data), /it sent 15 floats of rows/],
  ])('finds %s', async (_what, lie, words) => {
    expectCulprit(await exchange(lie), words);
  });

  it('finds nothing in sound numbers', async () => {
    expect((await exchange(SOUND)).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
  });
});

describe('a message whose count lies', () => {
  it.each<[string, Lie]>([
    [
      'and is as long as nobody expects',
      (data, _n, _kind, chunk) => (chunk === 0 ? Uint32Array.of(1000) : new Uint32Array(6)),
    ],
    ['by 2^32 - 1', (data, _n, _kind, chunk) => (chunk === 0 ? Uint32Array.of(0xffffffff) : new Uint32Array(6))],
  ])('is found where it counts too many, %s', async (_what, lie) => {
    const nodes = loopbackMesh(2, realWorld);
    const results = await Promise.allSettled(
      nodes.map(async ({ rank, links }) => {
        const { world } = createMesh({ layout: makeLayout({ dp: 2 }), rank, links, ledger: createLedger() });
        const parts = await gather(rank === 1 ? lying(world, lie) : world, new Float32Array(4), 0, 10, { wire: 'f16' });
        // Whoever has only sent hears of it by the link.
        if (rank === 1) throw await links.get(0)!.failed;
        return parts;
      }),
    );
    expectCulprit(results, /it counts \d+ numbers in a message of at most 10, and sends 24 bytes/);
    for (const node of nodes) node.leave();
  });
});

describe('beside the training', () => {
  const config = parseRunConfig([
    ['model', 'gpt2-nano'],
    ['data', 'copy'],
    ['layout', 'pp=2'],
    ['batch', '2'],
    ['steps', '1'],
  ]);

  /** Rank 1's world tells lies about what `kind` carries. */
  const withLies = (
    kind: string,
    lie: (data: TypedArray) => TypedArray,
    work: (rank: LabRank) => Promise<unknown>,
  ): Promise<readonly unknown[]> =>
    onTrainers(config, work, {
      change: (options, rank) =>
        rank === 0
          ? options
          : {
              ...options,
              mesh: {
                ...options.mesh,
                world: lying(options.mesh.world, (data, _n, of) => (of === kind ? lie(data) : data)),
              },
            },
    });
  /** A rank that has only sent hears of it when it next needs the other. */
  const heard = async ({ mesh }: LabRank): Promise<never> => {
    throw await mesh.failed;
  };

  it.each([11, 4_000_000, 0xfffffffe])('finds token %d of fewer that there are', async (token) => {
    const results = await withLies(
      'broadcast',
      () => Uint32Array.of(token),
      async (rank) => {
        const generator = await Generator.create(rank.trainer);
        await generator.generate([1], 2, { vocab: 11, choose: () => 3 });
        return heard(rank);
      },
    );
    expectCulprit(results, new RegExp(`^rank 1 corrupt: it drew token ${token} for a sample, of 11 that there are`));
  });

  it('finds parts of a model that are not those that a rank owns', async () => {
    for (const by of [-3, 5]) {
      const results = await withLies(
        'gather',
        (data) => resized(data, by),
        async (rank) => {
          await gatherModel(rank.trainer, 'weights');
          return heard(rank);
        },
      );
      expectCulprit(results, /^rank 1 corrupt: it sent \d+ values of the model, where it owns \d+/);
    }
  });

  it('finds an answer that is neither yes nor no', async () => {
    const results = await withLies(
      'all-gather',
      () => Uint32Array.of(7),
      async (rank) => {
        await new Beside({
          trainer: rank.trainer,
          generator: () => Generator.create(rank.trainer),
          prepared: prepareRun(
            parseRunConfig([
              ['model', 'gpt2-nano'],
              ['data', 'x.txt'],
              ['context', '8'],
              ['batch', '1'],
              ['steps', '1'],
            ]),
            { text: 'some words and more of them. '.repeat(20) },
          ),
          seed: 1,
          wantsSamples: true,
          sampleTokens: 2,
          tell: () => undefined,
        }).sample();
        return heard(rank);
      },
    );
    expectCulprit(results, /it says 7 to whether it can make samples/);
  });
});
