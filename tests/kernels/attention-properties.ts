// What attention must satisfy on every device: PyTorch's results, split keys merged, causal blocks, rows without keys,
// large logits, keys that must never be read. Run on the cpu device (the references) and on Dawn (the WGSL). Beside
// each check stands a broken run that it must catch.

import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../src/base/random.ts';
import type { Device, DeviceBuffer } from '../../src/device/device.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';
import type { AttentionParams } from '../../shaders/attention/attention.ts';
import { attention, denseAttention, inputSizes, NO_KEY, packedAttention } from '../../shaders/attention/attention.ts';
import { attentionBackwardKeyValue, denseKeyValue } from '../../shaders/attention/attention-backward-key-value.ts';
import { attentionBackwardQuery } from '../../shaders/attention/attention-backward-query.ts';
import { attentionDelta } from '../../shaders/attention/attention-delta.ts';
import { attentionMerge } from '../../shaders/attention/attention-merge.ts';
import { attentionGoldens } from './attention-golden.ts';

type Floats = Float32Array<ArrayBuffer>;
export interface Inputs {
  readonly q: Floats;
  readonly k: Floats;
  readonly v: Floats;
  readonly dOut: Floats;
}
export interface Gradients {
  readonly dQ: Floats;
  readonly dK: Floats;
  readonly dV: Floats;
}
interface Step {
  readonly kernel: Kernel;
  readonly params: Params;
  readonly io: Readonly<Record<string, string>>;
}

/** Uploads the named arrays, runs the steps in one submit and gives the arrays back. */
export async function runSteps(
  device: Device,
  arrays: Readonly<Record<string, Floats>>,
  steps: readonly Step[],
): Promise<Record<string, Floats>> {
  const buffers = new Map<string, DeviceBuffer>();
  for (const [name, data] of Object.entries(arrays)) {
    const buffer = device.alloc(data.byteLength, 'activation', name);
    device.write(buffer, 0, data);
    buffers.set(name, buffer);
  }
  const range = (name: string) => ({ buffer: buffers.get(name)!, offset: 0, bytes: arrays[name].byteLength });
  try {
    const launches = await Promise.all(
      steps.map(({ kernel, params, io }) =>
        device.prepare(
          kernel,
          params,
          Object.fromEntries(Object.entries(io).map(([binding, name]) => [binding, range(name)])),
        ),
      ),
    );
    const names = Object.keys(arrays);
    const bytes = await device.submit(launches, names.map(range));
    return Object.fromEntries(names.map((name, i) => [name, new Float32Array(bytes[i])]));
  } finally {
    for (const buffer of buffers.values()) device.free(buffer);
  }
}

export function step(kernel: unknown, params: Params, io: Readonly<Record<string, string>>): Step {
  return { kernel: kernel as Kernel, params, io };
}

/** The row kernels' part of the params. */
export function rowParams({ B, HQ, TQ, DV, O_OFF, O_B, O_H, O_T }: AttentionParams) {
  return { B, HQ, TQ, DV, O_OFF, O_B, O_H, O_T };
}

/** A place of memory that every kernel must write: anything but 0. */
export const unwritten = (length: number): Floats => new Float32Array(length).fill(7);

export function normals(length: number, name: string, scale = 1): Floats {
  const stream = new RandomStream(3, name);
  return Float32Array.from({ length }, (_, i) => scale * stream.normal(i));
}

export function randomInputs(p: AttentionParams, name = 'attention'): Inputs {
  const { q, k, v, out } = inputSizes(p);
  return {
    q: normals(q, `${name} q`),
    k: normals(k, `${name} k`),
    v: normals(v, `${name} v`),
    dOut: normals(out, `${name} dOut`),
  };
}

/** Forward and all gradients of dense tensors in one go. */
export async function wholeAttention(
  device: Device,
  p: AttentionParams,
  inputs: Inputs,
): Promise<{ out: Floats; lse: Floats } & Gradients> {
  const { q, k, v, out, rows } = inputSizes(p);
  const io = { q: 'q', k: 'k', v: 'v', dOut: 'dOut', lse: 'lse', delta: 'delta' };
  const got = await runSteps(
    device,
    {
      ...inputs,
      out: unwritten(out),
      lse: unwritten(rows),
      delta: unwritten(rows),
      dQ: unwritten(q),
      dKV: unwritten(k + v),
    },
    [
      step(attention, p, { q: 'q', k: 'k', v: 'v', out: 'out', lse: 'lse' }),
      step(attentionDelta, rowParams(p), { out: 'out', dOut: 'dOut', delta: 'delta' }),
      step(attentionBackwardQuery, { ...p, ACCUMULATE: 0 }, { ...io, dQ: 'dQ' }),
      step(attentionBackwardKeyValue, denseKeyValue(p), { ...io, dKV: 'dKV' }),
    ],
  );
  return { out: got['out'], lse: got['lse'], dQ: got['dQ'], dK: got['dKV'].slice(0, k), dV: got['dKV'].slice(k) };
}

/** Largest |a - b|; NaN if any element is. */
export function distance(a: Floats, b: Floats): number {
  let worst = a.length === b.length ? 0 : NaN;
  for (let i = 0; i < a.length; i++) {
    const d = a[i] <= NO_KEY / 10 && b[i] <= NO_KEY / 10 ? 0 : Math.abs(a[i] - b[i]);
    if (!(d <= worst)) worst = d;
    if (Number.isNaN(worst)) return NaN;
  }
  return worst;
}

export const allFinite = (...arrays: readonly Floats[]): boolean =>
  arrays.every((array) => array.every(Number.isFinite));

/** One block of queries against one block of keys of dense tensors: p's strides, moved to the block. */
export function block(
  p: AttentionParams,
  queries: readonly [number, number],
  keys: readonly [number, number],
): AttentionParams {
  return {
    ...p,
    TQ: queries[1] - queries[0],
    TK: keys[1] - keys[0],
    Q_START: p.Q_START + queries[0],
    K_START: p.K_START + keys[0],
    Q_OFF: queries[0] * p.Q_T,
    O_OFF: queries[0] * p.O_T,
    K_OFF: keys[0] * p.K_T,
    V_OFF: keys[0] * p.V_T,
  };
}

/** Attention over all keys in pieces, merged one by one. `edit` may break the params of a piece, `merge` the merge. */
export async function splitAttention(
  device: Device,
  p: AttentionParams,
  inputs: Inputs,
  cuts: readonly number[],
  broken: { edit?(piece: AttentionParams): AttentionParams; merge?: unknown } = {},
): Promise<{ out: Floats; lse: Floats }> {
  const { out, rows } = inputSizes(p);
  const steps: Step[] = [];
  for (let i = 0; i + 1 < cuts.length; i++) {
    const piece = block(p, [0, p.TQ], [cuts[i], cuts[i + 1]]);
    const into = i === 0 ? { out: 'out', lse: 'lse' } : { out: 'partOut', lse: 'partLse' };
    steps.push(step(attention, broken.edit?.(piece) ?? piece, { q: 'q', k: 'k', v: 'v', ...into }));
    if (i > 0)
      steps.push(
        step(broken.merge ?? attentionMerge, rowParams(p), {
          out: 'out',
          lse: 'lse',
          partOut: 'partOut',
          partLse: 'partLse',
        }),
      );
  }
  const { q, k, v } = inputs;
  const got = await runSteps(
    device,
    { q, k, v, out: unwritten(out), lse: unwritten(rows), partOut: unwritten(out), partLse: unwritten(rows) },
    steps,
  );
  return { out: got['out'], lse: got['lse'] };
}

/** A merge that adds both sides as if they had the same maximum: no rescale by lse. */
const mergeWithoutRescale = {
  ...attentionMerge,
  name: 'attentionMerge without rescale',
  variants: attentionMerge.variants.map((variant) => ({
    ...variant,
    source: variant.source
      .replace('exp(max(mine - top, -100.0))', '1.0')
      .replace('exp(max(theirs - top, -100.0))', '1.0'),
  })),
  reference: (
    io: Parameters<typeof attentionMerge.reference>[0],
    p: Parameters<typeof attentionMerge.reference>[1],
  ) => {
    const equal = { ...io, lse: io.lse.map((x) => Math.min(x, 0)), partLse: io.partLse.map((x) => Math.min(x, 0)) };
    attentionMerge.reference(equal, p);
    io.lse.set(equal.lse);
  },
};

export function describeAttention(device: () => Device): void {
  describe("PyTorch's outputs and gradients", () => {
    for (const golden of attentionGoldens()) {
      it(golden.name, async () => {
        const { B, Hq, Hkv, Tq, Tk, D, causal, q_start, scale } = golden.attrs;
        const p = denseAttention({
          B,
          HQ: Hq,
          HKV: Hkv,
          TQ: Tq,
          TK: Tk,
          D,
          CAUSAL: Number(causal),
          Q_START: q_start,
          SCALE: scale,
        });
        const { q, k, v, do: dOut } = golden.inputs;
        const got = await wholeAttention(device(), p, { q, k, v, dOut });
        const named: Record<string, Floats> = { o: got.out, lse: got.lse, dq: got.dQ, dk: got.dK, dv: got.dV };
        expect(Object.keys(golden.expected).sort()).toEqual(Object.keys(named).sort());
        for (const [name, { values, allowed }] of Object.entries(golden.expected)) {
          expect(
            distance(named[name], values as Floats),
            `${name} of ${golden.name}, at most ${allowed}`,
          ).toBeLessThanOrEqual(allowed);
        }
      });
    }
  });

  describe('keys in pieces', () => {
    const p = denseAttention({ B: 2, HQ: 2, HKV: 1, TQ: 21, TK: 29, D: 8, CAUSAL: 1, Q_START: 6 });
    const inputs = randomInputs(p, 'pieces');
    const stream = new RandomStream(11, 'cuts');
    const cuts = [0, ...new Set(Array.from({ length: 3 }, (_, i) => 1 + stream.integer(i, p.TK - 1)))]
      .sort((a, b) => a - b)
      .concat(p.TK);

    it(`cut at ${cuts.slice(1, -1).join(', ')} and merged equal one shot`, async () => {
      const whole = await wholeAttention(device(), p, inputs);
      const merged = await splitAttention(device(), p, inputs, cuts);
      expect(distance(merged.out, whole.out)).toBeLessThan(5e-6);
      expect(distance(merged.lse, whole.lse)).toBeLessThan(5e-6);
    });

    it('differ if the merge does not rescale, or a piece forgets where its keys start', async () => {
      const whole = await wholeAttention(device(), p, inputs);
      const unscaled = await splitAttention(device(), p, inputs, cuts, { merge: mergeWithoutRescale });
      expect(distance(unscaled.out, whole.out)).toBeGreaterThan(0.01);
      const misplaced = await splitAttention(device(), p, inputs, cuts, {
        edit: (piece) => ({ ...piece, K_START: 0 }),
      });
      expect(distance(misplaced.out, whole.out)).toBeGreaterThan(0.01);
    });
  });

  describe('causal blocks with offsets', () => {
    const p = denseAttention({ HQ: 2, TQ: 26, D: 8, CAUSAL: 1 });
    const inputs = randomInputs(p, 'blocks');

    it('tile the whole: outputs merged, gradients accumulated', async () => {
      const whole = await wholeAttention(device(), p, inputs);
      const tiled = await blockGradients(device(), p, inputs, whole, (one) => one);
      expect(distance(tiled.dQ, whole.dQ)).toBeLessThan(2e-5);
      expect(distance(tiled.dK, whole.dK)).toBeLessThan(2e-5);
      expect(distance(tiled.dV, whole.dV)).toBeLessThan(2e-5);
    });

    it('do not if a block forgets where its queries start', async () => {
      const whole = await wholeAttention(device(), p, inputs);
      const tiled = await blockGradients(device(), p, inputs, whole, (one) => ({ ...one, Q_START: 0 }));
      expect(distance(tiled.dQ, whole.dQ)).toBeGreaterThan(0.01);
      expect(distance(tiled.dV, whole.dV)).toBeGreaterThan(0.01);
    });
  });

  describe('queries that see no key', () => {
    it('give out 0, lse -1e30 and no gradient, next to queries that see some', async () => {
      const p = denseAttention({ HQ: 2, TQ: 9, TK: 6, D: 4, CAUSAL: 1, K_START: 3 });
      const inputs = randomInputs(p, 'masked');
      const got = await wholeAttention(device(), p, inputs);
      expect(allFinite(got.out, got.lse, got.dQ, got.dK, got.dV)).toBe(true);
      for (let row = 0; row < 18; row++) {
        const blind = row % 9 < 3;
        expect(got.lse[row] <= NO_KEY / 10).toBe(blind);
        expect(got.out.slice(row * 4, row * 4 + 4).every((x) => x === 0)).toBe(blind);
        if (blind) expect(got.dQ.slice(row * 4, row * 4 + 4).every((x) => x === 0)).toBe(true);
      }
    });

    it('may be all of them', async () => {
      const p = denseAttention({ TQ: 5, TK: 5, D: 4, CAUSAL: 1, K_START: 100 });
      const got = await wholeAttention(device(), p, randomInputs(p, 'blind'));
      for (const zero of [got.out, got.dQ, got.dK, got.dV]) expect([...zero].every((x) => x === 0)).toBe(true);
      expect([...got.lse].every((x) => x <= NO_KEY / 10)).toBe(true);
    });
  });

  it('takes logits of +-1e4', async () => {
    // Whole numbers, so that f32 scores are exact and only the softmax is tested: q = 100 e0, k = (n, ...), scores 100
    // n.
    const p = denseAttention({ TQ: 6, TK: 12, D: 4, SCALE: 1 });
    const { v, dOut } = randomInputs(p, 'large');
    const q = new Float32Array(24);
    const k = new Float32Array(48);
    for (let i = 0; i < 6; i++) q[i * 4] = i % 2 ? -100 : 100;
    for (let j = 0; j < 12; j++) k[j * 4] = [100, -100, 99, 100, -99, 0, 50, -100, 1, 98, -98, 100][j];
    const got = await wholeAttention(device(), p, { q, k, v, dOut });
    expect(allFinite(got.out, got.lse, got.dQ, got.dK, got.dV)).toBe(true);
    for (let i = 0; i < 6; i++) {
      // Even rows share their weight among the keys at +100, odd rows among those at -100; the next key is e^-100 away.
      const winners = i % 2 ? [1, 7] : [0, 3, 11];
      expect(got.lse[i]).toBeCloseTo(1e4 + Math.log(winners.length), 2);
      for (let d = 0; d < 4; d++)
        expect(got.out[i * 4 + d]).toBeCloseTo(winners.reduce((sum, j) => sum + v[j * 4 + d], 0) / winners.length, 5);
    }
  });

  it('merges lse of +-1e4 and sides without keys', async () => {
    const p = { B: 1, HQ: 1, TQ: 6, DV: 1, O_OFF: 0, O_B: 6, O_H: 6, O_T: 1 };
    const got = await runSteps(
      device(),
      {
        out: Float32Array.from([1, 1, 1, 1, 1, 1]),
        lse: Float32Array.from([1e4, -1e4, NO_KEY, 5, NO_KEY, 1e4]),
        partOut: Float32Array.from([2, 2, 2, 2, 2, 2]),
        partLse: Float32Array.from([-1e4, 1e4, -1e4, NO_KEY, NO_KEY, 1e4]),
      },
      [step(attentionMerge, p, { out: 'out', lse: 'lse', partOut: 'partOut', partLse: 'partLse' })],
    );
    expect([...got['out']]).toEqual([1, 2, 2, 1, 0, 1.5]);
    expect([...got['lse']].map((x) => (x <= NO_KEY / 10 ? -Infinity : x))).toEqual([
      1e4,
      1e4,
      -1e4,
      5,
      -Infinity,
      Math.fround(1e4 + Math.log(2)),
    ]);
  });

  it('reads and writes q, k, v packed in one tensor', async () => {
    const shape = { B: 2, HQ: 4, HKV: 2, TQ: 7, D: 4, CAUSAL: 1 };
    const dense = denseAttention(shape);
    const packed = packedAttention(shape);
    const { B, HQ, HKV, TQ: T, D } = dense;
    const row = (HQ + 2 * HKV) * D;
    const inputs = randomInputs(dense, 'packed');
    /** Copies between [B,heads,T,D] and columns `from`.. of [B*T, width]. */
    const move = (wide: Floats, width: number, from: number, narrow: Floats, heads: number, pack: boolean) => {
      for (let b = 0; b < B; b++)
        for (let h = 0; h < heads; h++)
          for (let t = 0; t < T; t++)
            for (let d = 0; d < D; d++) {
              const at = (b * T + t) * width + from + h * D + d;
              const there = ((b * heads + h) * T + t) * D + d;
              if (pack) wide[at] = narrow[there];
              else narrow[there] = wide[at];
            }
      return pack ? wide : narrow;
    };
    const qkv = new Float32Array(B * T * row);
    move(qkv, row, 0, inputs.q, HQ, true);
    move(qkv, row, HQ * D, inputs.k, HKV, true);
    move(qkv, row, (HQ + HKV) * D, inputs.v, HKV, true);
    const dOut = move(new Float32Array(B * T * HQ * D), HQ * D, 0, inputs.dOut, HQ, true);
    const { Q_OFF: _q, K_OFF, K_B, K_H, K_T, V_OFF, V_B, V_H, V_T } = packed;
    const gradient = { DK_OFF: K_OFF, DK_B: K_B, DK_H: K_H, DK_T: K_T, DV_OFF: V_OFF, DV_B: V_B, DV_H: V_H, DV_T: V_T };
    const io = { q: 'qkv', k: 'qkv', v: 'qkv', dOut: 'dOut', lse: 'lse', delta: 'delta' };
    const got = await runSteps(
      device(),
      {
        qkv,
        dOut,
        out: unwritten(dOut.length),
        lse: unwritten(B * HQ * T),
        delta: unwritten(B * HQ * T),
        dQkv: unwritten(qkv.length),
      },
      [
        step(attention, packed, { q: 'qkv', k: 'qkv', v: 'qkv', out: 'out', lse: 'lse' }),
        step(attentionDelta, rowParams(packed), { out: 'out', dOut: 'dOut', delta: 'delta' }),
        step(attentionBackwardQuery, { ...packed, ACCUMULATE: 0 }, { ...io, dQ: 'dQkv' }),
        step(attentionBackwardKeyValue, { ...packed, ...gradient, ACCUMULATE: 0 }, { ...io, dKV: 'dQkv' }),
      ],
    );
    const want = await wholeAttention(device(), dense, inputs);
    const pick = (wide: Floats, width: number, from: number, heads: number) =>
      move(wide, width, from, new Float32Array(B * heads * T * D), heads, false);
    expect(distance(got['lse'], want.lse)).toBeLessThan(1e-6);
    expect(distance(pick(got['out'], HQ * D, 0, HQ), want.out)).toBeLessThan(1e-6);
    expect(distance(pick(got['dQkv'], row, 0, HQ), want.dQ)).toBeLessThan(1e-6);
    expect(distance(pick(got['dQkv'], row, HQ * D, HKV), want.dK)).toBeLessThan(1e-6);
    expect(distance(pick(got['dQkv'], row, (HQ + HKV) * D, HKV), want.dV)).toBeLessThan(1e-6);
  });
}

/**
 * All gradients of causal attention from 2 x 2 blocks that accumulate, with the lse and delta of the whole. `edit` may
 * break a block.
 */
async function blockGradients(
  device: Device,
  p: AttentionParams,
  inputs: Inputs,
  whole: { out: Floats; lse: Floats },
  edit: (one: AttentionParams) => AttentionParams,
): Promise<Gradients> {
  const half = Math.floor(p.TQ / 2);
  const halves = [
    [0, half],
    [half, p.TQ],
  ] as const;
  const { q, k, v } = inputSizes(p);
  // lse and delta are dense [B,HQ,TQ], so each block of queries has its own.
  const rowsOf = (all: Floats, [from, to]: readonly [number, number]) =>
    Float32Array.from(
      { length: p.B * p.HQ * (to - from) },
      (_, i) => all[Math.floor(i / (to - from)) * p.TQ + from + (i % (to - from))],
    );
  const arrays: Record<string, Floats> = {
    ...inputs,
    out: whole.out,
    dQ: new Float32Array(q),
    dKV: new Float32Array(k + v),
  };
  const steps: Step[] = [];
  for (const [i, queries] of halves.entries()) {
    arrays[`lse${i}`] = rowsOf(whole.lse, queries);
    arrays[`delta${i}`] = unwritten(arrays[`lse${i}`].length);
    steps.push(
      step(attentionDelta, rowParams(block(p, queries, [0, p.TK])), { out: 'out', dOut: 'dOut', delta: `delta${i}` }),
    );
    for (const keys of halves) {
      const one = edit(block(p, queries, keys));
      const io = { q: 'q', k: 'k', v: 'v', dOut: 'dOut', lse: `lse${i}`, delta: `delta${i}` };
      const { DK_B, DK_H, DK_T, DV_OFF, DV_B, DV_H, DV_T } = denseKeyValue(p);
      steps.push(step(attentionBackwardQuery, { ...one, ACCUMULATE: 1 }, { ...io, dQ: 'dQ' }));
      steps.push(
        step(
          attentionBackwardKeyValue,
          {
            ...one,
            ACCUMULATE: 1,
            DK_OFF: keys[0] * DK_T,
            DK_B,
            DK_H,
            DK_T,
            DV_OFF: DV_OFF + keys[0] * DV_T,
            DV_B,
            DV_H,
            DV_T,
          },
          { ...io, dKV: 'dKV' },
        ),
      );
    }
  }
  const got = await runSteps(device, arrays, steps);
  return { dQ: got['dQ'], dK: got['dKV'].slice(0, k), dV: got['dKV'].slice(k) };
}
