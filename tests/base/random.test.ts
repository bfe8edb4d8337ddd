import { describe, expect, it } from 'vitest';
import {
  fillNormal,
  naturalLog,
  normalAt,
  philox,
  philox4x32,
  RandomStream,
  sineOfTurn,
  streamId,
  uniformAt,
} from '../../src/base/random.ts';

// The known answers of Philox4x32-10 in Random123's kat_vectors: counter, key, output.
const KNOWN: readonly (readonly [readonly number[], readonly number[], readonly number[]])[] = [
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
];

describe('philox4x32', () => {
  it.each(KNOWN)('counter %j, key %j', (c, k, want) => {
    const out = new Uint32Array(4);
    philox4x32(out, c[0]!, c[1]!, c[2]!, c[3]!, k[0]!, k[1]!);
    expect([...out]).toEqual(want);
  });

  it('agrees with arithmetic in BigInt on 500 random blocks', () => {
    const big = (c: number[], k: number[]): number[] => {
      for (let round = 0; round < 10; round++) {
        const p0 = 0xd2511f53n * BigInt(c[0]!),
          p1 = 0xcd9e8d57n * BigInt(c[2]!);
        c = [
          Number((p1 >> 32n) ^ BigInt(c[1]!) ^ BigInt(k[0]!)),
          Number(p1 & 0xffffffffn),
          Number((p0 >> 32n) ^ BigInt(c[3]!) ^ BigInt(k[1]!)),
          Number(p0 & 0xffffffffn),
        ];
        k = [(k[0]! + 0x9e3779b9) >>> 0, (k[1]! + 0xbb67ae85) >>> 0];
      }
      return c;
    };
    const random = new RandomStream(3, 'test blocks');
    const out = new Uint32Array(4);
    for (let i = 0; i < 500; i++) {
      const [c0, c1, c2, c3, k0, k1] = Array.from({ length: 6 }, (_, j) => random.u32(6 * i + j)) as [
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      philox4x32(out, c0, c1, c2, c3, k0, k1);
      expect([...out]).toEqual(big([c0, c1, c2, c3], [k0, k1]));
    }
  });
});

describe('streams', () => {
  it('an element depends on its index alone, not on where a draw began', () => {
    const whole = new Float32Array(1001);
    fillNormal(whole, 7, 'wte', 0, 0.02);
    for (const first of [0, 1, 2, 3, 5, 499, 998]) {
      const part = new Float32Array(3);
      fillNormal(part, 7, 'wte', first, 0.02);
      expect([...part]).toEqual([...whole.subarray(first, first + 3)]);
      expect(Math.fround(0.02 * normalAt(7, 'wte', first))).toBe(whole[first]);
    }
  });

  it('the order of the draws does not matter, and far indices work', () => {
    const random = new RandomStream(1, 's');
    const backwards = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((i) => random.uniform(i)).reverse();
    expect(backwards).toEqual(Array.from({ length: 10 }, (_, i) => uniformAt(1, 's', i)));
    expect(uniformAt(1, 's', 2 ** 40)).not.toBe(uniformAt(1, 's', 0));
    expect(uniformAt(1, 's', 2 ** 36)).not.toBe(uniformAt(1, 's', 2 ** 35));
  });

  it('other seeds (also above 2^32) and other names give other bits', () => {
    const heads = [
      [1, 'a'],
      [2, 'a'],
      [1 + 2 ** 32, 'a'],
      [1, 'b'],
      [1, 'aa'],
      [1, ''],
    ].map(([seed, name]) => [...philox(seed as number, name as string, 0)].join());
    expect(new Set(heads).size).toBe(heads.length);
  });

  it('2,000 names like those of weights have 2,000 ids, in each half of the id too', () => {
    const names = Array.from(
      { length: 2000 },
      (_, i) => `transformer.h.${i >> 2}.${['ln_1', 'ln_2', 'attn.c_attn', 'mlp.c_fc'][i & 3]}.weight`,
    );
    for (const half of [0, 1]) expect(new Set(names.map((name) => streamId(name)[half])).size).toBe(2000);
  });

  it('bits are pinned: a run of today must start as a run of tomorrow', () => {
    expect([...philox(42, 'transformer.wte.weight', 0)]).toMatchInlineSnapshot(`
      [
        911238634,
        475080500,
        634790178,
        1514241974,
      ]
    `);
    expect([0, 1, 2, 3].map((i) => normalAt(42, 'transformer.wte.weight', i))).toMatchInlineSnapshot(`
      [
        1.3524657823762807,
        1.127663568923663,
        -1.174703949194965,
        1.5632914112914251,
      ]
    `);
  });

  it('refuses a seed that is no whole number', () => {
    expect(() => uniformAt(1.5, 's', 0)).toThrow('seed: expected a whole number from 0 to 2^53 - 1, got 1.5');
    expect(() => uniformAt(-1, 's', 0)).toThrow('seed:');
  });
});

describe('distributions', () => {
  const N = 200_000;
  const random = new RandomStream(5, 'distribution');

  it('logarithm and sine agree with those of Math to 1e-15', () => {
    let worst = 0;
    for (let i = 0; i < 20_000; i++) {
      const x = (random.u32(i) + 1) * 2 ** -32;
      worst = Math.max(worst, Math.abs(naturalLog(x) - Math.log(x)) / Math.max(1, -Math.log(x)));
      const t = random.uniform(i) * 1.25;
      worst = Math.max(worst, Math.abs(sineOfTurn(t) - Math.sin(2 * Math.PI * t)));
    }
    expect(worst).toBeLessThan(2e-15);
    expect(naturalLog(1)).toBe(0);
    expect(naturalLog(2 ** -32)).toBeCloseTo(-32 * Math.LN2, 13);
    expect([0, 0.25, 0.5, 0.75, 1.25].map(sineOfTurn)).toEqual([0, 1, -0, -1, 1].map((v) => expect.closeTo(v, 14)));
  });

  it('normals have the moments and the distribution function of N(0, 1)', () => {
    const x = Float64Array.from({ length: N }, (_, i) => random.normal(i)).sort();
    const moment = (k: number): number => x.reduce((sum, v) => sum + v ** k, 0) / N;
    // Five standard errors each.
    expect(Math.abs(moment(1))).toBeLessThan(5 / Math.sqrt(N));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(5 * Math.sqrt(2 / N));
    expect(Math.abs(moment(3))).toBeLessThan(5 * Math.sqrt(15 / N));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(5 * Math.sqrt(96 / N));
    const below = (z: number): number => x.findIndex((v) => v > z) / N;
    for (const [z, p] of [
      [-2, 0.0227501],
      [-1, 0.1586553],
      [0, 0.5],
      [0.5, 0.6914625],
      [1.5, 0.9331928],
    ] as const)
      expect(below(z)).toBeCloseTo(p, 2.3);
  });

  it('the two halves of a Box-Muller pair and neighbours in a block are uncorrelated', () => {
    for (const lag of [1, 2, 3, 4]) {
      let sum = 0;
      for (let i = 0; i < N; i++) sum += random.normal(i) * random.normal(i + lag);
      expect(Math.abs(sum / N)).toBeLessThan(5 / Math.sqrt(N));
    }
  });

  it('integers cover their range evenly', () => {
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < N; i++) counts[random.integer(i, 10)]!++;
    const chi2 = counts.reduce((sum, c) => sum + (c - N / 10) ** 2 / (N / 10), 0);
    expect(chi2).toBeLessThan(33);
  });
});
