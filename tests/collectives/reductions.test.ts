// Reduce-scatter and all-reduce: both routes, all reductions, in and out of place, sizes to 16, any counts; the choice
// of route; concurrent operations.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allGather, allGatherRoute } from '../../src/collectives/all-gather.ts';
import { allReduce, allReduceBytes, allReduceRoute } from '../../src/collectives/all-reduce.ts';
import { allToAll } from '../../src/collectives/all-to-all.ts';
import { barrier } from '../../src/collectives/barrier.ts';
import { evenParts } from '../../src/collectives/parts.ts';
import { reduceScatter, reduceScatterBytes, reductionRoute } from '../../src/collectives/reduce-scatter.ts';
import { REDUCTIONS } from '../../src/transport/arguments.ts';
import type { Reduction } from '../../src/transport/arguments.ts';
import { cluster, unevenParts, values } from '../contracts/collective-contract.ts';
import { firstDifference } from '../contracts/transport-contract.ts';

const ROUTES = ['owner', 'ring', 'exchange'] as const;
type AnyRoute = (typeof ROUTES)[number];

/** The one-line reference: sums of the contract's values are exact in any order. */
function reduced(inputs: readonly Float32Array[], reduction: Reduction): Float32Array<ArrayBuffer> {
  return Float32Array.from(inputs[0], (_, i) => {
    const column = inputs.map((x) => x[i]);
    if (reduction === 'max') return Math.max(...column);
    if (reduction === 'min') return Math.min(...column);
    const sum = column.reduce((a, b) => a + b, 0);
    return reduction === 'mean' ? sum / inputs.length : sum;
  });
}

async function check(
  size: number,
  count: number,
  route: AnyRoute,
  reduction: Reduction,
  inPlace: boolean,
): Promise<void> {
  const c = cluster(size);
  const inputs = c.groups.map((_, r) => values(r, count));
  const expected = reduced(inputs, reduction);
  const xs = inputs.map((x) => x.slice());
  const outs = inPlace ? xs : inputs.map(() => new Float32Array(count).fill(NaN));
  await Promise.all(
    c.groups.map((group, r) => allReduce(group, xs[r], { route, reduction, ...(inPlace ? {} : { out: outs[r] }) })),
  );
  for (const out of outs) expect(firstDifference(out, expected)).toBe(-1);
  if (!inPlace) for (const [r, x] of xs.entries()) expect(firstDifference(x, inputs[r])).toBe(-1);
  expect(c.ledgers.map((ledger) => ledger.sentByKind()['all-reduce'] ?? 0)).toEqual(
    inputs.map((_, r) => allReduceBytes(r, size, count, { route })),
  );
  if (route === 'exchange') {
    expect(allReduceBytes(0, size, count, { route })).toBe((size - 1) * 4 * count);
    c.leave();
    return;
  }
  if (count % size === 0) expect(allReduceBytes(0, size, count, { route })).toBe((2 * (size - 1) * 4 * count) / size);
  for (const offsets of [evenParts(count, size), unevenParts(count, size)]) {
    for (const ledger of c.ledgers) ledger.reset();
    const parts = inputs.map((x, r) =>
      inPlace ? x.slice().subarray(offsets[r], offsets[r + 1]) : new Float32Array(offsets[r + 1] - offsets[r]),
    );
    await Promise.all(
      c.groups.map((group, r) =>
        reduceScatter(group, inPlace ? new Float32Array(parts[r].buffer) : inputs[r], offsets, parts[r], {
          route,
          reduction,
        }),
      ),
    );
    for (const [r, part] of parts.entries())
      expect(firstDifference(part, expected.subarray(offsets[r], offsets[r + 1]))).toBe(-1);
    expect(c.ledgers.map((ledger) => ledger.sentByKind()['reduce-scatter'] ?? 0)).toEqual(
      inputs.map((_, r) => reduceScatterBytes(r, offsets)),
    );
  }
  c.leave();
}

it('any size from 1 to 16, any count, route, reduction, in and out of place: exact results, bytes by the formula', async () => {
  const counts = (size: number) =>
    fc.oneof(fc.constantFrom(0, 1, Math.max(0, size - 1), size, size + 1, 4, 64, 100, 1000), fc.nat(300));
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 16 }).chain((size) => fc.tuple(fc.constant(size), counts(size))),
      fc.constantFrom(...ROUTES),
      fc.constantFrom(...REDUCTIONS),
      fc.boolean(),
      async ([size, count], route, reduction, inPlace) => {
        await check(size, count, route, reduction, inPlace);
      },
    ),
    { numRuns: 250 },
  );
});

it.each(ROUTES)('%s: several pieces', async (route) => {
  for (const [size, count] of [
    [2, 700_000],
    [3, 1_000_001],
    [5, 350_000],
  ] as const)
    await check(size, count, route, 'sum', true);
});

it('the routes order their sums as their headers say, on every run', async () => {
  const bits = [1e8, -1e8, 1];
  const orders = {
    owner: [0, 1, 2].map(() => [0, 1, 2]),
    exchange: [0, 1, 2].map(() => [0, 1, 2]),
    ring: [0, 1, 2].map((part) => [1, 2, 3].map((step) => (part + step) % 3)),
  };
  for (const route of ROUTES) {
    const c = cluster(3);
    const xs = bits.map((value) => new Float32Array(3).fill(value));
    await Promise.all(c.groups.map((group, r) => allReduce(group, xs[r], { route })));
    for (const x of xs)
      expect([...x]).toEqual(
        orders[route].map((order) => order.reduce((sum, member) => Math.fround(sum + bits[member]), 0)),
      );
    c.leave();
  }
});

it('a NaN wins in max and min', async () => {
  for (const reduction of ['max', 'min'] as const) {
    for (const route of ROUTES) {
      const c = cluster(3);
      const xs = c.groups.map((_, r) => Float32Array.of(1, r === 1 ? NaN : 2, 3));
      await Promise.all(c.groups.map((group, r) => allReduce(group, xs[r], { reduction, route })));
      for (const x of xs) expect([...x].map(Number.isNaN)).toEqual([false, true, false]);
      c.leave();
    }
  }
});

it('chooses its routes by size and members alone', () => {
  const MiB = 1 << 20;
  expect(
    [
      [4, 8],
      [64 * MiB, 8],
      [64 * MiB, 11],
      [8 * MiB, 16],
      [16 * MiB, 12],
      [64 * MiB, 16],
    ].map(([bytes, size]) => reductionRoute(bytes, size)),
  ).toEqual(['owner', 'owner', 'owner', 'owner', 'ring', 'ring']);
  expect(
    [
      [64 * MiB, 2],
      [4096, 5],
      [4100, 5],
      [4096, 6],
      [16 * MiB, 12],
    ].map(([bytes, size]) => allReduceRoute(bytes, size)),
  ).toEqual(['exchange', 'exchange', 'owner', 'owner', 'ring']);
  expect([0, 256 * 1024, 256 * 1024 + 4].map(allGatherRoute)).toEqual(['direct', 'direct', 'ring']);
});

describe('several at once', () => {
  it('issued early, awaited late, in any order and of any kind, never mix', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 5 }),
        fc.array(fc.tuple(fc.nat(3), fc.nat(2000)), { minLength: 2, maxLength: 6 }),
        fc.infiniteStream(fc.nat(1000)),
        async (size, calls, dice) => {
          const c = cluster(size);
          const draws = calls.map(() => dice.next().value);
          await Promise.all(
            c.groups.map(async (group, r) => {
              const checks: (() => Promise<void>)[] = calls.map(([kind, count], n) => {
                if (kind === 0) {
                  const x = values(r + n, count);
                  const done = allReduce(group, x, { route: ROUTES[n % 3] });
                  return async () => {
                    await done;
                    expect(
                      firstDifference(
                        x,
                        reduced(
                          c.groups.map((_, m) => values(m + n, count)),
                          'sum',
                        ),
                      ),
                    ).toBe(-1);
                  };
                }
                if (kind === 1) {
                  const out = new Float32Array(count * size);
                  const done = allToAll(group, values(r + n, count * size), out);
                  return async () => {
                    await done;
                    expect(
                      firstDifference(
                        out.subarray(0, count),
                        values(n, count * size).subarray(r * count, (r + 1) * count),
                      ),
                    ).toBe(-1);
                  };
                }
                if (kind === 2) {
                  const out = new Float32Array(count * size);
                  const done = allGather(group, values(r + n, count), evenParts(count * size, size), out);
                  return async () => {
                    await done;
                    expect(firstDifference(out.subarray(count, 2 * count), values(1 + n, count))).toBe(-1);
                  };
                }
                const done = barrier(group);
                return async () => {
                  await done;
                };
              });
              // Every rank awaits in an order of its own.
              const order = checks
                .map((_, i) => i)
                .sort((a, b) => ((draws[a] * (r + 3)) % 17) - ((draws[b] * (r + 3)) % 17));
              for (const i of order) await checks[i]();
            }),
          );
          c.leave();
        },
      ),
      { numRuns: 60 },
    );
  });
});
