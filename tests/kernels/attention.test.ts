// Attention on the cpu device (the f64 references): the properties that every device must have, finite differences, no
// quadratic memory.

import { describe, expect, it } from 'vitest';
import type { TypedArray } from '../../src/base/shape.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { AttentionParams } from '../../shaders/attention/attention.ts';
import {
  attention,
  denseAttention,
  divisibleBy4,
  inputSizes,
  packedAttention,
} from '../../shaders/attention/attention.ts';
import { attentionBackwardKeyValue, denseKeyValue } from '../../shaders/attention/attention-backward-key-value.ts';
import { attentionBackwardQuery } from '../../shaders/attention/attention-backward-query.ts';
import { attentionDelta } from '../../shaders/attention/attention-delta.ts';
import { attentionMerge } from '../../shaders/attention/attention-merge.ts';
import { describeAttention, randomInputs, rowParams } from './attention-properties.ts';

const device = createCpuDevice();
describeAttention(() => device);

describe('gradients equal finite differences in f64', () => {
  // The references are generic over the arrays; f64 ones keep the differences meaningful.
  const f64 = (array: ArrayLike<number>) => Float64Array.from(array) as unknown as TypedArray;
  const zeros = (length: number) => f64(new Array<number>(length).fill(0));

  function gradients(p: AttentionParams, deltaScale = 1) {
    const { q, k, v, dOut } = Object.fromEntries(
      Object.entries(randomInputs(p, 'differences')).map(([name, array]) => [name, f64(array)]),
    ) as Record<'q' | 'k' | 'v' | 'dOut', TypedArray>;
    const size = inputSizes(p);
    const [out, lse, delta, dQ, dKV] = [
      zeros(size.out),
      zeros(size.rows),
      zeros(size.rows),
      zeros(size.q),
      zeros(size.k + size.v),
    ];
    const loss = () => {
      attention.reference({ q, k, v, out, lse }, p);
      let sum = 0;
      for (let i = 0; i < out.length; i++) sum += out[i] * dOut[i];
      return sum;
    };
    loss();
    attentionDelta.reference({ out, dOut, delta }, rowParams(p));
    for (let i = 0; i < delta.length; i++) delta[i] *= deltaScale;
    const io = { q, k, v, dOut, lse, delta };
    attentionBackwardQuery.reference({ ...io, dQ }, { ...p, ACCUMULATE: 0 });
    attentionBackwardKeyValue.reference({ ...io, dKV }, denseKeyValue(p));
    let worst = 0;
    for (const [x, dX] of [
      [q, dQ],
      [k, dKV.subarray(0, size.k)],
      [v, dKV.subarray(size.k)],
    ] as const) {
      for (let i = 0; i < x.length; i++) {
        const kept = x[i];
        const at = (shift: number) => {
          x[i] = kept + shift;
          return loss();
        };
        const h = 1e-3;
        const slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
        x[i] = kept;
        worst = Math.max(worst, Math.abs(slope - dX[i]));
      }
    }
    return worst;
  }

  const shapes: readonly AttentionParams[] = [
    denseAttention({ HQ: 4, HKV: 2, TQ: 5, D: 3, DV: 4, CAUSAL: 1 }),
    denseAttention({ B: 2, TQ: 3, TK: 6, D: 4, DV: 2 }),
    denseAttention({ HQ: 3, HKV: 2, TQ: 4, TK: 5, D: 2, CAUSAL: 1, Q_START: 1, K_START: 3 }),
  ];
  for (const p of shapes) {
    it(`${p.HQ} heads on ${p.HKV}, ${p.TQ} x ${p.TK}`, () => expect(gradients(p)).toBeLessThan(1e-9));
  }
  it('not if delta is left out', () => expect(gradients(shapes[0], 0)).toBeGreaterThan(1e-2));
});

describe('cost', () => {
  it('no binding grows with TQ x TK', () => {
    const at = (T: number) => {
      const p = denseAttention({ HQ: 2, TQ: T, D: 64, CAUSAL: 1 });
      const all = [
        attention.sizes(p),
        attentionDelta.sizes(rowParams(p)),
        attentionBackwardQuery.sizes({ ...p, ACCUMULATE: 0 }),
        attentionBackwardKeyValue.sizes(denseKeyValue(p)),
        attentionMerge.sizes(rowParams(p)),
      ];
      return all.flatMap((sizes) => Object.values(sizes)).reduce((sum, n) => sum + n, 0);
    };
    expect(at(4096)).toBe(2 * at(2048));
  });

  it('causal counts half of the square', () => {
    const flops = (CAUSAL: number) => attention.cost(denseAttention({ TQ: 100, D: 8, CAUSAL })).flops;
    expect(flops(0)).toBe(4 * 100 * 100 * 8);
    expect(flops(1)).toBe((4 * 100 * 101 * 8) / 2);
  });
});

describe('variants', () => {
  it('four at a time only where everything is divisible by 4', () => {
    expect(divisibleBy4(packedAttention({ HQ: 3, TQ: 5, D: 4 }))).toBe(true);
    expect(divisibleBy4(denseAttention({ TQ: 5, D: 4, DV: 6 }))).toBe(false);
    expect(divisibleBy4({ ...denseAttention({ TQ: 5, D: 4 }), V_OFF: 2 })).toBe(false);
  });
});
