// Wire formats: the bit conversions against exact arithmetic, error bounds as the headers state them, sizes, and
// all-reduce through each of them.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allReduce, allReduceBytes } from '../../src/collectives/all-reduce.ts';
import { broadcast, broadcastBytes } from '../../src/collectives/broadcast.ts';
import { allGather, allGatherBytes } from '../../src/collectives/all-gather.ts';
import { allToAll, allToAllBytes, allToAllVariable, allToAllVariableBytes } from '../../src/collectives/all-to-all.ts';
import { gather, gatherBytes } from '../../src/collectives/gather.ts';
import { ringSend, ringSendBytes } from '../../src/collectives/ring-send.ts';
import { evenParts } from '../../src/collectives/parts.ts';
import { decodeHalf, toHalf } from '../../src/collectives/wire-format/half.ts';
import { BLOCK } from '../../src/collectives/wire-format/int8-blocks.ts';
import { decode, encode, wireBytes } from '../../src/collectives/wire-format/wire-format.ts';
import { WIRE_FORMATS } from '../../src/transport/arguments.ts';
import type { WireFormat } from '../../src/transport/arguments.ts';
import { cluster, unevenParts } from '../contracts/collective-contract.ts';
import { firstDifference, rejection } from '../contracts/transport-contract.ts';

type F32 = Float32Array<ArrayBuffer>;
const PACKED = ['f16', 'bf16', 'int8'] as const;

function passage(format: WireFormat, x: F32): F32 {
  const out = new Float32Array(x.length);
  decode(format, encode(format, x), out);
  return out;
}

/** What one passage may change of element i. */
function bound(format: WireFormat, x: ArrayLike<number>, i: number): number {
  if (format === 'f32') return 0;
  if (format === 'f16') return Math.max(Math.abs(x[i]!) * 2 ** -11, 2 ** -25);
  // Below the smallest normal bf16 the step is that of its subnormals.
  if (format === 'bf16') return Math.max(Math.abs(x[i]!) * 2 ** -8, 2 ** -134);
  let most = 0;
  for (let j = i - (i % BLOCK); j < Math.min(x.length, i - (i % BLOCK) + BLOCK); j++)
    most = Math.max(most, Math.abs(x[j]!));
  return Math.max(0.00396 * most, 2 ** -142);
}

/** Random numbers over many orders of magnitude, the same for the same seed. */
export function noise(seed: number, count: number, orders = 6): F32 {
  return Float32Array.from(
    { length: count },
    (_, i) => Math.sin(i * 12.9898 + seed * 78.233) * 10 ** (((i * 31 + seed) % orders) - orders / 2),
  );
}

/** The value of a binary16 by the formula of IEEE 754. */
function fromHalf(half: number): number {
  const exponent = (half >>> 10) & 31;
  const mantissa = half & 1023;
  const size =
    exponent === 0
      ? mantissa * 2 ** -24
      : exponent === 31
        ? mantissa
          ? NaN
          : Infinity
        : (1024 + mantissa) * 2 ** (exponent - 25);
  return half & 0x8000 ? -size : size;
}

describe('half', () => {
  it('decodes each of the 65536 halves exactly', () => {
    const out = new Float32Array(65536);
    decodeHalf(new Uint32Array(Uint16Array.from(out.keys()).buffer), out);
    for (let half = 0; half < 65536; half++)
      if (!Object.is(out[half], fromHalf(half))) expect.unreachable(`${half}: ${out[half]}`);
  });

  it('gives back each of the 65536 halves, and the nearest half for any f32', () => {
    for (let half = 0; half < 65536; half++) {
      const x = fromHalf(half);
      if (Number.isNaN(x)) expect(toHalf(x) & 0x7c00).toBe(0x7c00);
      else if (toHalf(x) !== half) expect.unreachable(`${half}`);
    }
    fc.assert(
      fc.property(
        fc.oneof(
          fc.float({ noNaN: true }),
          fc.float({ min: -8, max: 8, noNaN: true }),
          fc.float({ min: Math.fround(-1e-4), max: Math.fround(1e-4), noNaN: true }),
        ),
        (x) => {
          const half = toHalf(x);
          const magnitude = half & 0x7fff;
          const error = Math.abs(fromHalf(half) - x);
          if (Math.abs(x) >= 65520) return magnitude === 0x7c00;
          // Neither neighbour is nearer; of two equally near ones the even one is taken.
          for (const other of [magnitude - 1, magnitude + 1]) {
            if (other < 0 || other >= 0x7c00) continue;
            const there = Math.abs(fromHalf((half & 0x8000) | other) - x);
            if (there < error || (there === error && half % 2 === 1)) return false;
          }
          return true;
        },
      ),
      { numRuns: 20_000 },
    );
  });
});

describe.each(PACKED)('%s', (format) => {
  it('keeps its error bound and says its size, for any lengths and magnitudes', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.float({ noNaN: true, noDefaultInfinity: true, ...(format === 'f16' ? { min: -65504, max: 65504 } : {}) }),
          { maxLength: 600 },
        ),
        (list) => {
          const x = Float32Array.from(list);
          // A bf16 of numbers beyond its largest rounds to infinity, as f32 itself would.
          const words = encode(format, x);
          if (words.byteLength !== wireBytes(format, x.length)) return false;
          const out = passage(format, x);
          return x.every(
            (value, i) =>
              Math.abs(out[i] - value) <= bound(format, x, i) || (format === 'bf16' && Math.abs(value) > 3.38e38),
          );
        },
      ),
      { numRuns: 1000 },
    );
    for (const count of [0, 1, 2, 3, 255, 256, 257, 1000]) {
      const x = noise(1, count);
      for (const [i, value] of passage(format, x).entries())
        expect(Math.abs(value - x[i])).toBeLessThanOrEqual(bound(format, x, i));
    }
  });

  it('shows NaN and infinity, and keeps zero', () => {
    for (const bad of [NaN, Infinity, -Infinity]) {
      const out = passage(format, Float32Array.of(1, bad, -2));
      expect(Number.isFinite(out[1])).toBe(false);
    }
    expect([...passage(format, new Float32Array(300))].every((value) => value === 0)).toBe(true);
    expect([...passage(format, Float32Array.of(1e-45, -1e-45))].every((value) => Math.abs(value) <= 2e-45)).toBe(true);
  });

  it('decodes any words into numbers', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(300), (noiseBytes, count) => {
        const words = new Uint32Array(wireBytes(format, count) / 4);
        new Uint8Array(words.buffer).set(noiseBytes.subarray(0, words.byteLength));
        decode(format, words, new Float32Array(count));
      }),
      { numRuns: 2000 },
    );
  });
});

describe.each(WIRE_FORMATS)('collectives in %s', (wire) => {
  it.each([2, 3, 5])(
    'all-reduce of %i ranks: same bytes everywhere, within the bound, bytes by the formula',
    async (size) => {
      for (const route of ['owner', 'ring', 'exchange'] as const) {
        for (const count of [0, 1, size + 1, 1000, 66_001, ...(size === 3 ? [300_001] : [])]) {
          const c = cluster(size);
          const inputs = c.groups.map((_, r) => noise(r, count));
          const xs = inputs.map((x) => x.slice());
          await Promise.all(c.groups.map((group, r) => allReduce(group, xs[r], { wire, route })));
          for (const x of xs) expect(firstDifference(x, xs[0])).toBe(-1);
          const sums = inputs[0].map((_, i) => inputs.reduce((sum, x) => sum + x[i], 0));
          // One passage of each contribution (ring: of each partial sum) and one of the total; int8 blocks begin anew
          // in each part, so any block of 512 around is allowed for.
          const near = (x: ArrayLike<number>, i: number): number => {
            if (wire !== 'int8') return bound(wire, x, i);
            let most = 0;
            for (let j = Math.max(0, i - BLOCK); j < Math.min(x.length, i + BLOCK); j++)
              most = Math.max(most, Math.abs(x[j]!));
            return 0.00396 * most;
          };
          for (let i = 0; i < count; i += Math.max(1, count >> 6)) {
            const each = inputs.reduce((sum, x) => sum + near(x, i), 0);
            const passed = route === 'ring' ? each * size : each;
            expect(Math.abs(xs[0][i] - sums[i]!)).toBeLessThanOrEqual(
              1.01 * (passed + near(sums, i) + passed * 0.01) +
                1e-4 * inputs.reduce((sum, x) => sum + Math.abs(x[i]), 0),
            );
          }
          expect(c.ledgers.map((ledger) => ledger.sentByKind()['all-reduce'] ?? 0)).toEqual(
            c.groups.map((_, r) => allReduceBytes(r, size, count, { wire, route })),
          );
          c.leave();
        }
      }
    },
  );

  it('all-gather, broadcast, all-to-all, ring-send: bytes by the formula, replicas byte-identical', async () => {
    for (const count of [3, 999, 90_000]) {
      const size = 3;
      const c = cluster(size);
      for (const offsets of [evenParts(count, size), unevenParts(count, size)]) {
        const outs = c.groups.map(() => new Float32Array(count));
        await Promise.all(
          c.groups.map((group, r) =>
            allGather(group, noise(r, offsets[r + 1] - offsets[r]), offsets, outs[r], { wire }),
          ),
        );
        for (const out of outs) expect(firstDifference(out, outs[0])).toBe(-1);
        for (let r = 0; r < size; r++)
          expect(
            firstDifference(
              outs[0].slice(offsets[r], offsets[r + 1]),
              passage(wire, noise(r, offsets[r + 1] - offsets[r])),
            ),
          ).toBe(-1);
        for (const [r, ledger] of c.ledgers.entries()) {
          expect(ledger.sentByKind()['all-gather'] ?? 0).toBe(allGatherBytes(r, offsets, { wire }));
          ledger.reset();
        }
      }
      for (const route of ['chain', 'direct'] as const) {
        const xs = c.groups.map((_, r) => noise(r, count));
        await Promise.all(c.groups.map((group, r) => broadcast(group, xs[r], 1, { route, wire })));
        for (const x of xs) expect(firstDifference(x, passage(wire, noise(1, count)))).toBe(-1);
        for (const [r, ledger] of c.ledgers.entries()) {
          expect(ledger.sentByKind()['broadcast'] ?? 0).toBe(broadcastBytes(r, size, 1, count, { route, wire }));
          ledger.reset();
        }
      }
      const [exchanged, passed] = [
        c.groups.map(() => new Float32Array(count)),
        c.groups.map(() => new Float32Array(count)),
      ];
      await Promise.all(
        c.groups.flatMap((group, r) => [
          allToAll(group, noise(r, count), exchanged[r], { wire }),
          ringSend(group, noise(r, count), passed[r], 1, { wire }),
        ]),
      );
      const block = count / size;
      expect(firstDifference(exchanged[2].subarray(0, block), passage(wire, noise(0, count).slice(2 * block)))).toBe(
        -1,
      );
      expect(firstDifference(exchanged[2].subarray(2 * block), noise(2, count).subarray(2 * block))).toBe(-1); // the own block does not travel
      expect(firstDifference(passed[0], passage(wire, noise(2, count)))).toBe(-1);
      for (const ledger of c.ledgers)
        expect([ledger.sentByKind()['all-to-all'], ledger.sentByKind()['ring-send']]).toEqual([
          allToAllBytes(size, count, { wire }),
          ringSendBytes(size, count, 1, { wire }),
        ]);
      c.leave();
    }
  });
});

describe.each(WIRE_FORMATS)('lengths that only senders know, in %s', (wire) => {
  it('gather and all-to-all of variable blocks: counts that padding would hide, bytes by the formula', async () => {
    const size = 3;
    const length = (from: number, to: number): number => [0, 1, 2, 3, 255, 257, 70_001][(from * 2 + to * 3) % 7]!;
    const c = cluster(size);
    for (const root of [0, 2]) {
      const got = await Promise.all(
        c.groups.map((group, r) => gather(group, noise(r, length(r, 9)), root, 70_001, { wire })),
      );
      for (let r = 0; r < size; r++)
        expect(
          firstDifference(got[root]![r]!, r === root ? noise(r, length(r, 9)) : passage(wire, noise(r, length(r, 9)))),
        ).toBe(-1);
      for (const [r, ledger] of c.ledgers.entries()) {
        expect(ledger.sentByKind()['gather'] ?? 0).toBe(gatherBytes(r, root, length(r, 9), { wire }));
        ledger.reset();
      }
    }
    const blocks = c.groups.map((_, from) => c.groups.map((__, to) => noise(from * 10 + to, length(from, to))));
    const outs = await Promise.all(
      c.groups.map((group, from) => allToAllVariable(group, blocks[from]!, 'f32', 70_001, { wire })),
    );
    for (let to = 0; to < size; to++)
      for (let from = 0; from < size; from++)
        expect(
          firstDifference(outs[to]![from]!, from === to ? blocks[from]![to]! : passage(wire, blocks[from]![to]!)),
        ).toBe(-1);
    for (const [from, ledger] of c.ledgers.entries())
      expect(ledger.sentByKind()['all-to-all'] ?? 0).toBe(
        allToAllVariableBytes(
          from,
          blocks[from]!.map((block) => block.length),
          { wire },
        ),
      );
    c.leave();
  });

  it('integers travel as they are', async () => {
    const c = cluster(2);
    const [got] = await Promise.all(
      c.groups.map((group, r) => gather(group, Uint32Array.of(7, r, 2 ** 31), 0, 3, { wire })),
    );
    expect(got).toEqual([Uint32Array.of(7, 0, 2 ** 31), Uint32Array.of(7, 1, 2 ** 31)]);
    c.leave();
  });

  // One more than allowed may take the same padded bytes, or just as many more as the receiver would await to find out.
  it.each([
    [1, 2],
    [2, 3],
    [1, 3],
    [1, 4],
    [256, 257],
    [4, 1_000_000],
  ])('at most %i allowed and %i sent fails on both, and holds no more than was allowed', async (most, sent) => {
    const c = cluster(2);
    const errors = await Promise.all([
      rejection(gather(c.groups[0], new Float32Array(1), 0, most, { wire })),
      c.nodes[1]!.links.get(0)!.failed,
      gather(c.groups[1], noise(1, sent), 0, sent, { wire }).catch(() => undefined),
    ]);
    for (const error of errors.slice(0, 2)) expect(error).toMatchObject({ culprit: 1, evidence: 'wrong-signature' });
  });
});

it('ranks that name another wire format or reduction fail at once, both sides named', async () => {
  for (const [ours, theirs, words] of [
    [{ wire: 'f16' }, { wire: 'bf16' }, ['sum, f16, exchange', 'sum, bf16, exchange']],
    [{ reduction: 'sum' }, { reduction: 'max' }, ['(sum, exchange)', '(max, exchange)']],
    [{ route: 'owner' }, { route: 'ring' }, ['direct', 'ring']],
    [{}, { route: 'owner' }, ['exchange', 'direct']],
  ] as const) {
    const c = cluster(2);
    const errors = await Promise.all([
      rejection(allReduce(c.groups[0], new Float32Array(8), ours)),
      rejection(allReduce(c.groups[1], new Float32Array(8), theirs)),
    ]);
    for (const error of errors) {
      expect(error.evidence).toBe('wrong-signature');
      for (const word of words) expect(error.message).toContain(word);
    }
  }
});
