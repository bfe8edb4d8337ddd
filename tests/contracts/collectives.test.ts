// The contract of the collectives, over a loopback mesh: result, bytes on the wire by the formula of each header, order
// of summation, and how they fail. Each check is a function of the groups, so that a seeded defect can be wrapped
// around them and must be caught.

import { describe, expect, it } from 'vitest';
import type { TypedArray } from '../../src/base/shape.ts';
import { VirtualWorld } from '../../src/base/world.ts';
import { allGather, allGatherBytes } from '../../src/collectives/all-gather.ts';
import { allReduce, allReduceBytes } from '../../src/collectives/all-reduce.ts';
import { allToAll, allToAllBytes, allToAllVariable } from '../../src/collectives/all-to-all.ts';
import { barrier } from '../../src/collectives/barrier.ts';
import { broadcast, broadcastBytes } from '../../src/collectives/broadcast.ts';
import { gather } from '../../src/collectives/gather.ts';
import type { Group, Operation } from '../../src/collectives/group.ts';
import { evenParts } from '../../src/collectives/parts.ts';
import { ringSendBoth } from '../../src/collectives/point/ring-send-both.ts';
import { scatter } from '../../src/collectives/point/scatter.ts';
import { reduceScatter, reduceScatterBytes } from '../../src/collectives/reduce-scatter.ts';
import { ringSend, ringSendBytes } from '../../src/collectives/ring-send.ts';
import { firstDifference, rejection, tapped } from './transport-contract.ts';
import {
  cluster,
  SIZES,
  LONG,
  counts,
  values,
  unevenParts,
  delayed,
  portMesh,
  checkAllReduce,
  checkAllGather,
  checkReduceScatter,
  checkRingSend,
  checkAllToAll,
  checkBroadcast,
  checkDeath,
} from './collective-contract.ts';
import type { Cluster, Run } from './collective-contract.ts';

describe.each(SIZES)('collectives of %i ranks', (size) => {
  async function withCluster(run: (c: Cluster) => Promise<void>): Promise<void> {
    const c = cluster(size);
    await run(c);
    c.leave();
  }
  const sent = (c: Cluster, kind: string): number[] => c.ledgers.map((ledger) => ledger.sentByKind()[kind] ?? 0);
  const perRank = (formula: (rank: number) => number): number[] =>
    Array.from({ length: size }, (_, rank) => formula(rank));

  it('all-reduce', async () => {
    for (const count of [...counts(size), LONG[0]!]) {
      await withCluster(async (c) => {
        await checkAllReduce(c.groups, count);
        expect(sent(c, 'all-reduce')).toEqual(perRank((rank) => 2 * allReduceBytes(rank, size, count))); // sum and max
        const S = 4 * count;
        if (size === 2 || (size - 1) * S <= 16_384)
          expect(sent(c, 'all-reduce')).toEqual(perRank(() => 2 * (size - 1) * S));
        else if (count % size === 0)
          expect(sent(c, 'all-reduce')).toEqual(perRank(() => 2 * ((2 * (size - 1)) / size) * S));
      });
    }
  });

  it('all-gather and reduce-scatter, even and uneven parts', async () => {
    for (const count of [...counts(size), ...LONG]) {
      for (const offsets of [evenParts(count, size), unevenParts(count, size)]) {
        await withCluster(async (c) => {
          await checkAllGather(c.groups, offsets);
          await checkReduceScatter(c.groups, offsets);
          expect(sent(c, 'all-gather')).toEqual(perRank((rank) => allGatherBytes(rank, offsets)));
          expect(sent(c, 'reduce-scatter')).toEqual(perRank((rank) => reduceScatterBytes(rank, offsets)));
          const total = sent(c, 'all-gather').reduce((a, b) => a + b, 0);
          expect(total).toBe(4 * count * (size - 1)); // direct or ring, the group sends (P - 1) S in all
          if (count % size === 0 && offsets[1] === count / size)
            expect(sent(c, 'all-gather')).toEqual(perRank(() => ((size - 1) / size) * 4 * count));
        });
      }
    }
  });

  it('reduce-scatter with one part is a reduce to a root', async () => {
    await withCluster(async ({ groups }) => {
      const root = size - 1;
      const offsets = Array.from({ length: size + 1 }, (_, i) => (i <= root ? 0 : 9));
      await checkReduceScatter(groups, offsets);
    });
  });

  it('ring-send', async () => {
    for (const count of [...counts(size), LONG[0]!]) {
      await withCluster(async (c) => {
        await checkRingSend(c.groups, count);
        expect(sent(c, 'ring-send')).toEqual(
          perRank(() => ringSendBytes(size, count, 1) + ringSendBytes(size, count, -1)),
        );
      });
    }
  });

  it('all-to-all', async () => {
    for (const block of [0, 1, 7, 1000, ...(size < 5 ? [70_000] : [])]) {
      await withCluster(async (c) => {
        await checkAllToAll(c.groups, block);
        expect(sent(c, 'all-to-all')).toEqual(perRank(() => allToAllBytes(size, block * size)));
      });
    }
  });

  it('all-to-all of variable blocks, gather of variable parts', async () => {
    await withCluster(async ({ groups, ledgers }) => {
      const length = (from: number, to: number): number => ((from * 3 + to * 5) % 7) * (from === 1 ? 20_000 : 1);
      const outs = await Promise.all(
        groups.map((group, from) =>
          allToAllVariable(
            group,
            groups.map((_, to) => values(from * 10 + to, length(from, to))),
            'f32',
            200_000,
          ),
        ),
      );
      for (let to = 0; to < size; to++)
        for (let from = 0; from < size; from++)
          expect(firstDifference(outs[to]![from]!, values(from * 10 + to, length(from, to)))).toBe(-1);
      for (let from = 0; from < size; from++) {
        const others = groups.reduce((n, _, to) => (to === from ? n : n + 4 * length(from, to)), 0);
        expect(ledgers[from]!.sentByKind()['all-to-all'] ?? 0).toBe(others);
      }
      const root = size >> 1;
      const gathered = await Promise.all(
        groups.map((group, r) => gather(group, new Uint32Array(r * r).fill(r), root, 64)),
      );
      for (let r = 0; r < size; r++)
        expect(gathered[r]).toEqual(r === root ? groups.map((_, i) => new Uint32Array(i * i).fill(i)) : []);
    });
  });

  it('broadcast by chain and direct, from every root', async () => {
    for (const route of ['chain', 'direct'] as const) {
      for (const count of [...counts(size), 200_000]) {
        for (let root = 0; root < (count > 1000 ? 1 : size); root++) {
          await withCluster(async (c) => {
            await checkBroadcast(c.groups, count, root, route);
            expect(sent(c, 'broadcast')).toEqual(perRank((rank) => broadcastBytes(rank, size, root, count, { route })));
          });
        }
      }
    }
  });

  it('barrier holds until the last has come, and sends no payload', async () => {
    await withCluster(async ({ groups, ledgers }) => {
      let passed = 0;
      const others = groups.slice(1).map((group) =>
        barrier(group).then(() => {
          passed++;
        }),
      );
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
      expect(passed).toBe(0);
      await Promise.all([barrier(groups[0]!), ...others]);
      expect(ledgers.map((ledger) => ledger.sentByKind()['barrier'] ?? 0)).toEqual(groups.map(() => 0));
    });
  });

  it('several at once, awaited in another order than called', async () => {
    await withCluster(async ({ groups }) => {
      const xs = groups.map((_, r) => [values(r, 50), values(r + 1, 70_000), values(r + 2, 3)]);
      await Promise.all(
        groups.map(async (group, r) => {
          const running = xs[r]!.map((x) => allReduce(group, x));
          for (const i of r % 2 ? [2, 0, 1] : [1, 2, 0]) await running[i]!;
          await barrier(group);
        }),
      );
      for (const [i, first] of xs[0]!.entries()) for (const own of xs) expect(firstDifference(own[i]!, first)).toBe(-1);
    });
  });
});

describe('order of summation', () => {
  /** Three numbers whose f32 sum depends on the order: left to right 1e8 - 1e8 + 1 = 1, otherwise 0. */
  const bits = [1e8, -1e8, 1];

  async function checkRankOrder(groups: readonly Group[]): Promise<void> {
    const xs = groups.map((_, r) => new Float32Array(9).fill(bits[r]!));
    await Promise.all(groups.map((group, r) => allReduce(group, xs[r]!)));
    for (const x of xs) expect([...x]).toEqual(new Array(9).fill(1));
  }

  it('is that of the ranks, whatever the timing', async () => {
    for (const delays of [
      [0, 0, 0],
      [5, 1, 0],
      [0, 3, 9],
    ]) {
      // Rank r speaks late: the arrivals come in another order.
      const c = cluster(3, { wrap: (wire, self) => delayed(wire, delays[self]!) });
      await checkRankOrder(c.groups);
      c.leave();
    }
  });

  it('catches a sum in another order (seeded defect: ranks 0 and 2 are swapped)', async () => {
    const c = cluster(3);
    const swapped = [2, 1, 0].map((r) => c.groups[r]!);
    await expect(checkRankOrder(swapped)).rejects.toThrow();
    c.leave();
  });

  it('gives the same bits over message ports as over loopback', async () => {
    const noisy = (rank: number): Float32Array<ArrayBuffer> =>
      Float32Array.from(
        { length: 10_007 },
        (_, i) => Math.sin(i * 12.9898 + rank * 78.233) * 10 ** (((i * 31 + rank) % 9) - 4),
      );
    const overPorts = portMesh(3);
    const c = cluster(3);
    const results: Float32Array<ArrayBuffer>[] = [];
    for (const groups of [c.groups, overPorts.groups]) {
      const xs = [0, 1, 2].map(noisy);
      await Promise.all(groups.map((group, r) => allReduce(group, xs[r]!)));
      results.push(...xs);
    }
    for (const x of results) expect(firstDifference(x, results[0]!)).toBe(-1);
    c.leave();
    overPorts.leave();
  });
});

describe('failures', () => {
  const collectives: [string, (group: Group) => Promise<unknown>][] = [
    ['all-reduce', (group) => allReduce(group, new Float32Array(1_500_000))],
    [
      'all-gather',
      (group) => allGather(group, new Float32Array(100_000), evenParts(400_000, 4), new Float32Array(400_000)),
    ],
    [
      'reduce-scatter',
      (group) => reduceScatter(group, new Float32Array(400_000), evenParts(400_000, 4), new Float32Array(100_000)),
    ],
    ['all-to-all', (group) => allToAll(group, new Float32Array(800_000), new Float32Array(800_000))],
    ['barrier', (group) => barrier(group)],
    ['gather', (group) => gather(group, new Float32Array(9), 2, 9)],
    ['broadcast', (group) => broadcast(group, new Float32Array(800_000), 2)],
    [
      'all-reduce by ring, int8',
      (group) => allReduce(group, new Float32Array(1_500_000), { route: 'ring', wire: 'int8' }),
    ],
    [
      'scatter',
      (group) => scatter(group, new Float32Array(400_000), evenParts(400_000, 4), new Float32Array(100_000), 2),
    ],
    [
      'ring-send both ways',
      (group) =>
        ringSendBoth(
          group,
          { data: new Float32Array(200_000), out: new Float32Array(200_000) },
          { data: new Float32Array(9), out: new Float32Array(9) },
        ),
    ],
    ['ring-send', (group) => ringSend(group, new Float32Array(200_000), new Float32Array(200_000))],
  ];

  it.each(collectives)('%s: when a rank dies midway, every survivor rejects with its name', (_name, call) =>
    checkDeath(call),
  );

  it('names the culprit to ranks whose own link to it is well', async () => {
    // Rank 1 sends garbage to rank 0 only.
    const c = cluster(4, {
      wrap: (wire, self, peer, lane) =>
        self === 1 && peer === 0 && lane !== 'control'
          ? tapped(wire, (message, pass) => {
              message[3] = 200;
              pass(message);
            })
          : wire,
    });
    const errors = await Promise.all(
      c.groups.map((group) =>
        rejection(
          barrier(group)
            .then(() => barrier(group))
            .then(() => barrier(group)),
        ),
      ),
    );
    for (const error of errors) expect([error.culprit, error.evidence]).toEqual([1, 'corrupt']);
    expect(errors[3]!.message).toContain('told by rank');
  });

  it('prints both signatures when ranks call different collectives', async () => {
    const c = cluster(3);
    const errors = await Promise.all(
      [allReduce(c.groups[0]!, values(0, 30)), barrier(c.groups[1]!), allReduce(c.groups[2]!, values(2, 30))].map(
        rejection,
      ),
    );
    for (const error of errors) {
      expect(error.evidence).toBe('wrong-signature');
      expect(error.message).toContain('all-reduce f32[30] (sum, exchange)');
      expect(error.message).toContain('barrier u32[0]');
    }
  });

  it('lets ranks leave after the last barrier, in any order', async () => {
    for (let round = 0; round < 20; round++) {
      const c = cluster(5);
      await Promise.all(
        c.groups.map(async (group, r) => {
          for (let hop = 0; hop < (r * 7 + round) % 5; hop++) await Promise.resolve();
          await barrier(group);
          c.nodes[r]!.leave();
        }),
      );
    }
  });

  it('lets a rank leave while two others still wait for each other', async () => {
    const c = cluster(3, { wrap: (wire, self, peer) => (self === 1 && peer === 2 ? delayed(wire, 5) : wire) });
    const left = c.nodes[2]!.links.get(0)!.failed;
    const running = c.groups.map(async (group, r) => {
      await barrier(group);
      if (r === 0) c.nodes[0]!.leave();
    });
    expect((await left).evidence).toBe('left'); // rank 2 hears it before it has rank 1's barrier message
    await Promise.all(running);
    c.leave();
  });

  it('fails everybody when somebody still needs a rank that left', async () => {
    const c = cluster(3);
    c.nodes[0]!.leave();
    const errors = await Promise.all([1, 2].map((r) => rejection(barrier(c.groups[r]!))));
    for (const error of errors) expect([error.culprit, error.evidence]).toEqual([0, 'left']);
  });
});

describe('seeded defects are caught', () => {
  /** Groups whose operations are changed by `change`. */
  function spoilt(
    groups: readonly Group[],
    change: (operation: Operation, group: Group) => Partial<Operation>,
  ): Group[] {
    return groups.map((group) => ({
      ...group,
      begin: (kind, seq) => {
        const operation = group.begin(kind, seq);
        return { ...operation, ...change(operation, group) };
      },
    }));
  }

  const runs: [string, Run][] = [
    ['all-reduce', (groups) => checkAllReduce(groups, 12)],
    ['all-gather (ring)', (groups) => checkAllGather(groups, evenParts(100_000, groups.length))],
    ['reduce-scatter', (groups) => checkReduceScatter(groups, evenParts(12, groups.length))],
    ['ring-send', (groups) => checkRingSend(groups, 5)],
    ['all-to-all', (groups) => checkAllToAll(groups, 5)],
    ['broadcast', (groups) => checkBroadcast(groups, 5, 1, 'chain')],
  ];

  it.each(runs)('%s: a dropped send', async (_name, run) => {
    const world = new VirtualWorld();
    const c = cluster(3, { link: { deadlineMs: 5000 } }, world);
    let sends = 0;
    const groups = spoilt(c.groups, (operation) => ({
      send: (to, chunk, data) => (sends++ === 1 ? Promise.resolve() : operation.send(to, chunk, data)),
    }));
    const result = rejection(run(groups));
    await world.advance(10_000);
    expect((await result).evidence).toBe('slow');
  });

  it.each(runs.filter(([name]) => /ring|all-gather|broadcast/.test(name)))(
    '%s: the ring turns the wrong way',
    async (_name, run) => {
      const world = new VirtualWorld();
      const c = cluster(3, { link: { deadlineMs: 5000 } }, world);
      const mirror = (index: number, { rank, size }: Group): number => (2 * rank - index + 2 * size) % size;
      const groups = spoilt(c.groups, (operation, group) => ({
        send: (to, chunk, data) => operation.send(mirror(to, group), chunk, data),
        recv: (from, chunk, out) => operation.recv(mirror(from, group), chunk, out),
      }));
      const result = run(groups).then(
        () => 'passed',
        () => 'caught',
      );
      await world.advance(10_000);
      expect(await result).toBe('caught');
    },
  );

  it.each(runs)('%s: one contribution scaled wrongly', async (_name, run) => {
    const c = cluster(3);
    const groups = spoilt(c.groups, (operation, { rank }) =>
      rank === 1
        ? {
            send: (to, chunk, data) =>
              operation.send(to, chunk, (data as Float32Array).map((x) => x / 3) as TypedArray),
          }
        : {},
    );
    await expect(run(groups)).rejects.toThrow();
    c.leave();
  });

  it('an extra send shows in the bytes', async () => {
    const c = cluster(3);
    const groups = spoilt(c.groups, (operation, { rank }) =>
      rank === 1
        ? {
            send: (to, chunk, data) => {
              void operation.send(to, chunk + 100, data);
              return operation.send(to, chunk, data);
            },
          }
        : {},
    );
    await checkAllReduce(groups, 12);
    expect(c.ledgers[1]!.sentByKind()['all-reduce']).not.toBe(2 * allReduceBytes(1, 3, 12));
    expect(c.ledgers[0]!.sentByKind()['all-reduce']).toBe(2 * allReduceBytes(0, 3, 12));
    c.leave();
  });
});
