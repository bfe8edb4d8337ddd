// Send and receive, ring-send both ways, scatter, and the sparse pair: results, steps, bytes by the formula, in every
// wire format, and their refusals.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allReduce } from '../../src/collectives/all-reduce.ts';
import { barrier } from '../../src/collectives/barrier.ts';
import { broadcast } from '../../src/collectives/broadcast.ts';
import { evenParts } from '../../src/collectives/parts.ts';
import { ringSendBoth, ringSendBothBytes } from '../../src/collectives/point/ring-send-both.ts';
import { scatter, scatterBytes } from '../../src/collectives/point/scatter.ts';
import { recv, send, sendBytes } from '../../src/collectives/point/send-recv.ts';
import { everywhere, ownersOnly } from '../../src/collectives/sparse/chunk-placement.ts';
import type { ChunkPlacement } from '../../src/collectives/sparse/chunk-placement.ts';
import { sparseAllGather, sparseAllGatherBytes } from '../../src/collectives/sparse/sparse-all-gather.ts';
import { sparseReduceScatter, sparseReduceScatterBytes } from '../../src/collectives/sparse/sparse-reduce-scatter.ts';
import { decode, encode } from '../../src/collectives/wire-format/wire-format.ts';
import { WIRE_FORMATS } from '../../src/transport/arguments.ts';
import { SIZES, cluster, counts, unevenParts, values } from '../contracts/collective-contract.ts';
import type { Cluster } from '../contracts/collective-contract.ts';
import { firstDifference, rejection } from '../contracts/transport-contract.ts';
import { ALL } from '../support/sample.ts';

type F32 = Float32Array<ArrayBuffer>;

const sentBytes = (c: Cluster, kind: string): number[] => c.ledgers.map((ledger) => ledger.sentByKind()[kind] ?? 0);
const messages = (c: Cluster, kind: string): number[] =>
  c.ledgers.map((ledger) => ledger.rows().reduce((n, row) => (row.kind === kind ? n + row.messages : n), 0));

describe.each(SIZES)('of %i ranks', (size) => {
  it('scatter, even and uneven parts, from every root, in place at the root', async () => {
    for (const count of [...counts(size), 70_000]) {
      for (const offsets of [evenParts(count, size), unevenParts(count, size)]) {
        for (let root = 0; root < (count > 1000 ? 1 : size); root++) {
          for (const wire of ['f32', 'bf16'] as const) {
            const c = cluster(size);
            const x = values(root, count);
            const outs = c.groups.map((_, r) =>
              r === root ? x.subarray(offsets[r], offsets[r + 1]) : new Float32Array(offsets[r + 1] - offsets[r]),
            );
            await Promise.all(
              c.groups.map((group, r) => scatter(group, r === root ? x : undefined, offsets, outs[r], root, { wire })),
            );
            // The small numbers of the contract are exact in bf16.
            for (let r = 0; r < size; r++)
              expect(firstDifference(outs[r], values(root, count).subarray(offsets[r], offsets[r + 1]))).toBe(-1);
            expect(sentBytes(c, 'scatter')).toEqual(c.groups.map((_, r) => scatterBytes(r, root, offsets, { wire })));
            if (wire === 'f32')
              expect(sentBytes(c, 'scatter')[root]).toBe(4 * (count - (offsets[root + 1] - offsets[root])));
            expect(messages(c, 'scatter')).toEqual(c.groups.map((_, r) => (r === root ? size - 1 : 0))); // one step
            c.leave();
          }
        }
      }
    }
  });

  it('ring-send both ways as one operation', async () => {
    for (const count of [...counts(size), 70_000]) {
      const c = cluster(size);
      const [up, down] = [c.groups.map(() => new Float32Array(count)), c.groups.map(() => new Float32Array(2 * count))];
      await Promise.all(
        c.groups.map((group, r) =>
          ringSendBoth(
            group,
            { data: values(r, count), out: up[r] },
            { data: values(r + 50, 2 * count), out: down[r] },
          ),
        ),
      );
      for (let r = 0; r < size; r++) {
        expect(firstDifference(up[r], values((r - 1 + size) % size, count))).toBe(-1);
        expect(firstDifference(down[r], values(((r + 1) % size) + 50, 2 * count))).toBe(-1);
      }
      expect(sentBytes(c, 'ring-send')).toEqual(c.groups.map(() => ringSendBothBytes(size, count, 2 * count)));
      expect(messages(c, 'ring-send')).toEqual(c.groups.map(() => (size === 1 ? 0 : 2)));
      c.leave();
    }
  });
});

describe('send and recv', () => {
  it('number themselves by pair and disturb no collective of others', async () => {
    const c = cluster(3);
    const got: number[][] = [];
    await Promise.all(
      c.groups.map(async (group, r) => {
        const x = Float32Array.of(r + 1);
        if (r === 0) for (let i = 0; i < 5; i++) void send(group, 2, Float32Array.of(i, 10 * i));
        await allReduce(group, x);
        if (r === 2) {
          for (let i = 0; i < 5; i++) {
            const out = new Float32Array(2);
            await recv(group, 0, out);
            got.push([...out]);
          }
          await send(group, 0, new Uint32Array([7]));
        }
        if (r === 0) {
          const out = new Uint32Array(1);
          await recv(group, 2, out);
          expect(out[0]).toBe(7);
        }
        await barrier(group);
        expect(x[0]).toBe(6);
      }),
    );
    expect(got).toEqual([0, 1, 2, 3, 4].map((i) => [i, 10 * i]));
    expect(sentBytes(c, 'send')).toEqual([5 * sendBytes(2), 0, sendBytes(1)]);
    c.leave();
  });

  it('carry packed formats and long messages', async () => {
    for (const wire of WIRE_FORMATS) {
      const c = cluster(2);
      const x = values(3, 300_001).map((value, i) => value * Math.sin(i));
      const out = new Float32Array(x.length);
      await Promise.all([send(c.groups[0], 1, x, { wire }), recv(c.groups[1], 0, out, { wire })]);
      const expected = new Float32Array(x.length);
      decode(wire, encode(wire, x), expected);
      expect(firstDifference(out, expected)).toBe(-1);
      expect(sentBytes(c, 'send')[0]).toBe(sendBytes(x.length, { wire }));
      c.leave();
    }
  });

  it("refuse a member that is not there and a length that is not the sender's", async () => {
    const c = cluster(2);
    await expect(send(c.groups[0], 0, values(0, 1))).rejects.toThrow('has no link to member 0');
    await expect(send(c.groups[0], 7, values(0, 1))).rejects.toThrow('has no link to member 7');
    void send(c.groups[0], 1, values(0, 3)).catch(() => undefined);
    expect((await rejection(recv(c.groups[1], 0, values(0, 4)))).message).toContain('send f32[3]');
  });
});

describe('sparse all-gather and reduce-scatter', () => {
  /** Any owners, any holders. */
  const placements = fc
    .integer({ min: 1, max: 7 })
    .chain((size) =>
      fc.record({
        size: fc.constant(size),
        chunks: fc.array(
          fc.record({
            owner: fc.nat(size - 1),
            others: fc.subarray(Array.from({ length: size }, (_, i) => i)),
            count: fc.oneof(fc.nat(9), fc.constant(70_000)),
          }),
          { maxLength: 8 },
        ),
      }),
    );
  const placementOf = (chunks: readonly { owner: number; others: readonly number[] }[]): ChunkPlacement => ({
    owners: chunks.map(({ owner }) => owner),
    holders: chunks.map(({ owner, others }) => [...new Set([...others, owner])].sort((a, b) => a - b)),
  });

  async function check(
    size: number,
    placement: ChunkPlacement,
    countsOf: readonly number[],
    wire: 'f32' | 'f16',
  ): Promise<void> {
    const c = cluster(size);
    const held = c.groups.map((_, r) =>
      countsOf.map((count, chunk) => {
        if (!placement.holders[chunk].includes(r)) return undefined;
        return placement.owners[chunk] === r ? values(chunk, count) : new Float32Array(count).fill(-1);
      }),
    );
    await Promise.all(c.groups.map((group, r) => sparseAllGather(group, placement, held[r], { wire })));
    for (const own of held)
      for (const [chunk, data] of own.entries())
        if (data) expect(firstDifference(data, values(chunk, countsOf[chunk]))).toBe(-1);
    expect(sentBytes(c, 'sparse-all-gather')).toEqual(
      c.groups.map((_, r) => sparseAllGatherBytes(r, placement, countsOf, { wire })),
    );

    const grads = c.groups.map((_, r) =>
      countsOf.map((count, chunk): F32 | undefined =>
        placement.holders[chunk].includes(r) ? values(r + chunk, count) : undefined,
      ),
    );
    await Promise.all(c.groups.map((group, r) => sparseReduceScatter(group, placement, grads[r], { wire })));
    for (const [chunk, owner] of placement.owners.entries()) {
      const sum = new Float32Array(countsOf[chunk]);
      for (const holder of placement.holders[chunk])
        for (const [i, value] of values(holder + chunk, sum.length).entries()) sum[i] += value;
      expect(firstDifference(grads[owner][chunk]!, sum)).toBe(-1);
      for (const holder of placement.holders[chunk])
        if (holder !== owner)
          expect(firstDifference(grads[holder][chunk]!, values(holder + chunk, sum.length))).toBe(-1); // only read
    }
    expect(sentBytes(c, 'sparse-reduce-scatter')).toEqual(
      c.groups.map((_, r) => sparseReduceScatterBytes(r, placement, countsOf, { wire })),
    );
    if (wire === 'f32') {
      const replicas = placement.holders.reduce(
        (bytes, holders, chunk) => bytes + 4 * countsOf[chunk] * (holders.length - 1),
        0,
      );
      for (const kind of ['sparse-all-gather', 'sparse-reduce-scatter'])
        expect(sentBytes(c, kind).reduce((a, b) => a + b, 0)).toBe(replicas);
    }
    c.leave();
  }

  it('any placement: exact results, chunk bytes times the replicas on the wire', async () => {
    await fc.assert(
      fc.asyncProperty(placements, fc.constantFrom('f32' as const, 'f16' as const), async ({ size, chunks }, wire) => {
        await check(
          size,
          placementOf(chunks),
          chunks.map(({ count }) => count),
          wire,
        );
      }),
      { numRuns: ALL ? 150 : 50 },
    );
  });

  it('owners alone send nothing; everywhere is an all-gather', async () => {
    await check(4, ownersOnly([0, 3, 3, 1]), [5, 6, 7, 8], 'f32');
    await check(4, everywhere([0, 1, 2, 3], 4), [5, 5, 5, 5], 'f32');
    expect(sparseAllGatherBytes(0, ownersOnly([0, 0]), [9, 9])).toBe(0);
    expect(sparseAllGatherBytes(2, everywhere([0, 1, 2, 3], 4), [5, 5, 5, 5])).toBe(4 * 5 * 3);
  });

  it('sums in the order of members, whoever owns', async () => {
    for (const owner of [0, 1, 2]) {
      const c = cluster(3);
      const grads = [1e8, -1e8, 1].map((value) => [new Float32Array(4).fill(value)]);
      await Promise.all(c.groups.map((group, r) => sparseReduceScatter(group, everywhere([owner], 3), grads[r])));
      expect([...grads[owner][0]]).toEqual([1, 1, 1, 1]);
      c.leave();
    }
  });

  it('refuse an owner that does not hold, members twice or outside, and a missing array', async () => {
    const { groups, leave } = cluster(2);
    const refusals: [ChunkPlacement, string][] = [
      [{ owners: [0], holders: [[1]] }, 'the owner 0 of chunk 0 is not among its holders [1]'],
      [{ owners: [0], holders: [[0, 0]] }, 'ascending members'],
      [{ owners: [0], holders: [[0, 2]] }, 'a group of 2'],
      [{ owners: [0, 1], holders: [[0]] }, '2 owners for the holders of 1 chunks'],
    ];
    for (const [placement, words] of refusals)
      await expect(sparseAllGather(groups[0], placement, [values(0, 3)])).rejects.toThrow(words);
    await expect(sparseReduceScatter(groups[0], everywhere([1], 2), [undefined])).rejects.toThrow(
      'member 0 holds chunk 0, but no array was given',
    );
    leave();
  });
});

describe('members that name different roots', () => {
  it('fail at once, with both sides, where a member receives from one that thinks otherwise', async () => {
    const c = cluster(3);
    const errors = await Promise.all(
      c.groups.map((group, r) =>
        rejection(broadcast(group, new Float32Array(8), r === 0 ? 0 : 2).then(() => barrier(group))),
      ),
    );
    for (const error of errors) expect(error.evidence).toBe('wrong-signature');
    expect(errors[1]!.message).toContain('root');
  });

  it.each([8, 200_000])(
    'fail where each is a root that only sends, in the next operation at the latest; arrays of %i',
    async (count) => {
      const c = cluster(2);
      const errors = await Promise.all(
        c.groups.map((group, r) =>
          rejection(
            broadcast(group, new Float32Array(count), r)
              .then(() => barrier(group))
              .then(() => barrier(group)),
          ),
        ),
      );
      for (const error of errors) {
        expect(error.evidence).toBe('wrong-signature');
        for (const word of ['root 0', 'root 1']) expect(error.message).toContain(word);
      }
    },
  );
});
