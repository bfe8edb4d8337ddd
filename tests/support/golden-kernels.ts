// How each golden op is computed with kernels: an entry takes a case and a way to run kernels, and returns every output
// and gradient of the case by its golden name. Cross-entropy goes through two vocabulary shards, the second one padded.

import type { Device } from '../../src/device/device.ts';
import { bindingAccess, bindingDType } from '../../src/device/kernel.ts';
import type { BindingSpec, Kernel, Params } from '../../src/device/kernel.ts';
import { typedView } from '../../src/base/shape.ts';
import type { TypedArray } from '../../src/base/shape.ts';
import { adamw } from '../../shaders/optimizer/adamw.ts';
import { addPositionBackward } from '../../shaders/embedding/add-position-backward.ts';
import { addPosition } from '../../shaders/embedding/add-position.ts';
import { ceFinish } from '../../shaders/loss/ce-finish.ts';
import { ceGrad } from '../../shaders/loss/ce-grad.ts';
import { ceStats } from '../../shaders/loss/ce-stats.ts';
import { embeddingBackward } from '../../shaders/embedding/embedding-backward.ts';
import { embeddingLinks } from '../../shaders/embedding/embedding-links.ts';
import { embedding } from '../../shaders/embedding/embedding.ts';
import { geluBackward } from '../../shaders/elementwise/gelu-backward.ts';
import { gelu } from '../../shaders/elementwise/gelu.ts';
import { columnSum } from '../../shaders/reduce/column-sum.ts';
import { layerNormBackwardWeight } from '../../shaders/norm/layer-norm-backward-weight.ts';
import { layerNormBackward } from '../../shaders/norm/layer-norm-backward.ts';
import { layerNorm } from '../../shaders/norm/layer-norm.ts';
import { rmsNormBackwardWeight } from '../../shaders/norm/rms-norm-backward-weight.ts';
import { rmsNormBackward } from '../../shaders/norm/rms-norm-backward.ts';
import { rmsNorm } from '../../shaders/norm/rms-norm.ts';
import { rope } from '../../shaders/attention/rope.ts';
import { siluBackward } from '../../shaders/elementwise/silu-backward.ts';
import { silu } from '../../shaders/elementwise/silu.ts';
import { softmaxBackward } from '../../shaders/norm/softmax-backward.ts';
import { softmax } from '../../shaders/norm/softmax.ts';
import { swigluBackward } from '../../shaders/elementwise/swiglu-backward.ts';
import { swiglu } from '../../shaders/elementwise/swiglu.ts';
import type { GoldenCase } from './torch-golden.ts';

/** Runs one kernel; the read_write arrays of `io` hold its results afterwards. */
export type RunKernel = <B extends Readonly<Record<string, BindingSpec>>, P extends Params>(
  kernel: Kernel<B, P>,
  io: { readonly [K in keyof B]: TypedArray },
  params: P,
) => Promise<void>;

export function runOn(device: Device): RunKernel {
  return async (kernel, arrays, params) => {
    const entries = Object.entries<TypedArray>(arrays);
    const io = Object.fromEntries(
      entries.map(([name, array]) => {
        const buffer = device.alloc(array.byteLength, 'activation', name);
        device.write(buffer, 0, array);
        return [name, { buffer, offset: 0, bytes: array.byteLength }];
      }),
    );
    const written = entries.filter(([name]) => bindingAccess(kernel.bindings[name]) === 'read_write');
    const launch = await device.prepare(kernel as unknown as Kernel, params, io);
    const bytes = await device.submit(
      [launch],
      written.map(([name]) => io[name]),
    );
    written.forEach(([name, array], i) => array.set(typedView(bindingDType(kernel.bindings[name]), bytes[i])));
    for (const { buffer } of Object.values(io)) device.free(buffer);
  };
}

const zeros = (n: number) => new Float32Array(n);
type Results = Record<string, TypedArray>;
type Recipe = (golden: GoldenCase, run: RunKernel) => Promise<Results>;

/** Rows and columns of the last dimension. */
function rowsOf({ shape, data }: { readonly shape: readonly number[]; readonly data: TypedArray }): {
  R: number;
  C: number;
} {
  const C = shape.at(-1)!;
  return { R: data.length / C, C };
}

export const recipes: Readonly<Record<string, Recipe>> = {
  async gelu({ attrs, inputs: { x, dy } }, run) {
    const params = { N: x.data.length, TANH: attrs.approximate === 'tanh' ? 1 : 0 };
    const [y, dx] = [zeros(params.N), zeros(params.N)];
    await run(gelu, { x: x.data, out: y }, params);
    await run(geluBackward, { x: x.data, dOut: dy.data, dX: dx }, params);
    return { y, dx };
  },
  async silu({ inputs: { x, dy } }, run) {
    const N = x.data.length;
    const [y, dx] = [zeros(N), zeros(N)];
    await run(silu, { x: x.data, out: y }, { N });
    await run(siluBackward, { x: x.data, dOut: dy.data, dX: dx }, { N });
    return { y, dx };
  },
  async swiglu({ inputs: { a, b, dy } }, run) {
    const { R, C: F } = rowsOf(a);
    const gateUp = zeros(2 * R * F);
    for (let r = 0; r < R; r++) {
      gateUp.set(a.data.subarray(r * F, (r + 1) * F), 2 * r * F);
      gateUp.set(b.data.subarray(r * F, (r + 1) * F), (2 * r + 1) * F);
    }
    const [y, dGateUp] = [zeros(R * F), zeros(2 * R * F)];
    await run(swiglu, { gateUp, out: y }, { R, F });
    await run(swigluBackward, { gateUp, dOut: dy.data, dGateUp }, { R, F });
    const half = (side: number) =>
      Float32Array.from({ length: R * F }, (_, i) => dGateUp[(2 * Math.floor(i / F) + side) * F + (i % F)]);
    return { y, da: half(0), db: half(1) };
  },
  async layernorm({ attrs, inputs: { x, w, b, dy } }, run) {
    const { R, C } = rowsOf(x);
    const [y, mean, rstd, dx, dw, db] = [zeros(R * C), zeros(R), zeros(R), zeros(R * C), zeros(C), zeros(C)];
    await run(
      layerNorm,
      { x: x.data, weight: w.data, bias: b.data, out: y, mean, rstd },
      { R, C, EPS: Number(attrs.eps) },
    );
    await run(
      layerNormBackward,
      { x: x.data, weight: w.data, mean, rstd, dOut: dy.data, residual: dy.data, dX: dx },
      { R, C, RESIDUAL: 0 },
    );
    await run(
      layerNormBackwardWeight,
      { x: x.data, mean, rstd, dOut: dy.data, dWeight: dw },
      { R, C, ACCUMULATE: 1, BIAS_AT: 0 },
    );
    await run(columnSum, { x: dy.data, out: db }, { R, C, ACCUMULATE: 1 });
    return { y, mean, rstd, dx, dw, db };
  },
  async rmsnorm({ attrs, inputs: { x, w, dy } }, run) {
    const { R, C } = rowsOf(x);
    const [y, rstd, dx, dw] = [zeros(R * C), zeros(R), zeros(R * C), zeros(C)];
    await run(rmsNorm, { x: x.data, weight: w.data, out: y, rstd }, { R, C, EPS: Number(attrs.eps) });
    await run(
      rmsNormBackward,
      { x: x.data, weight: w.data, rstd, dOut: dy.data, residual: dy.data, dX: dx },
      { R, C, RESIDUAL: 0 },
    );
    await run(rmsNormBackwardWeight, { x: x.data, rstd, dOut: dy.data, dWeight: dw }, { R, C, ACCUMULATE: 0 });
    return { y, rstd, dx, dw };
  },
  async softmax({ inputs: { x, dp } }, run) {
    const { R: OUTER, C } = rowsOf(x);
    const [p, dx] = [zeros(OUTER * C), zeros(OUTER * C)];
    await run(softmax, { x: x.data, out: p }, { OUTER, C, INNER: 1, LOG: 0 });
    await run(softmaxBackward, { p, dOut: dp.data, dX: dx }, { OUTER, C, INNER: 1 });
    return { p, dx };
  },
  async embedding({ inputs: { W, P, ids, dy } }, run) {
    const { R, C } = rowsOf(dy);
    const V_ROWS = W.shape[0];
    const T = P.shape[0];
    const tokens = Uint32Array.from(ids.data);
    const [looked, y, dW, dP, next] = [zeros(R * C), zeros(R * C), zeros(V_ROWS * C), zeros(T * C), new Uint32Array(R)];
    await run(embedding, { ids: tokens, table: W.data, out: looked }, { R, C, V_START: 0, V_ROWS });
    await run(
      addPosition,
      { x: looked, table: P.data, residual: looked, out: y },
      { R, C, T, POS_START: 0, RESIDUAL: 0 },
    );
    await run(embeddingLinks, { ids: tokens, next }, { R });
    await run(embeddingBackward, { ids: tokens, next, dOut: dy.data, dTable: dW }, { R, C, V_START: 0, V_ROWS });
    await run(addPositionBackward, { dOut: dy.data, dTable: dP }, { R, C, T, POS_START: 0 });
    return { y, dW, dP };
  },
  async rope({ attrs, inputs: { x, pos, dy } }, run) {
    const { R, C: HD } = rowsOf(x);
    const T = pos.data.length;
    const half = HD / 2;
    const angle = (i: number) => pos.data[Math.floor(i / half)] * Number(attrs.theta) ** ((-2 * (i % half)) / HD);
    const cos = Float32Array.from({ length: T * half }, (_, i) => Math.cos(angle(i)));
    const sin = Float32Array.from({ length: T * half }, (_, i) => Math.sin(angle(i)));
    // Rows are (batch, head, position), so a row is one head and r % T its position.
    const params = {
      R,
      T,
      HEADS: 1,
      ROTARY_HEADS: 1,
      HD,
      ROTARY_DIM: HD,
      INTERLEAVED: attrs.layout === 'interleaved' ? 1 : 0,
    };
    const [y, dx] = [zeros(R * HD), zeros(R * HD)];
    await run(rope, { x: x.data, cos, sin, out: y }, { ...params, INVERSE: 0 });
    await run(rope, { x: dy.data, cos, sin, out: dx }, { ...params, INVERSE: 1 });
    return { y, dx };
  },
  async cross_entropy({ attrs, inputs: { logits, target } }, run) {
    const { R, C: VOCAB } = rowsOf(logits);
    const SMOOTHING = Number(attrs.label_smoothing);
    const COLS = 4 * Math.ceil(VOCAB / 8);
    const targets = target.data;
    const shards = [0, COLS].map((start) => ({
      start,
      values: Float32Array.from({ length: R * COLS }, (_, i) => {
        const token = start + (i % COLS);
        return token < VOCAB ? logits.data[Math.floor(i / COLS) * VOCAB + token] : 12345;
      }),
    }));
    const [rowMax, rowSum, targetLogit, logitSum, lse, row] = [
      zeros(R),
      zeros(R),
      zeros(R),
      zeros(R),
      zeros(R),
      zeros(R),
    ];
    for (const { start, values } of shards) {
      await run(
        ceStats,
        { logits: values, targets, rowMax, rowSum, targetLogit, logitSum },
        { R, COLS, COL_START: start, VOCAB, MERGE: start ? 1 : 0 },
      );
    }
    await run(ceFinish, { rowMax, rowSum, targetLogit, logitSum, targets, lse, rowLoss: row }, { R, VOCAB, SMOOTHING });
    const counted = targets.filter((id) => id !== Number(attrs.ignore_index)).length;
    const dlogits = zeros(R * VOCAB);
    for (const { start, values } of shards) {
      await run(
        ceGrad,
        { logits: values, rowMax, rowSum, targets, rowScale: zeros(1) },
        { R, COLS, COL_START: start, VOCAB, SMOOTHING, SCALE: 1 / counted, HAS_ROW_SCALE: 0 },
      );
      for (let i = 0; i < R * COLS; i++) {
        const token = start + (i % COLS);
        if (token < VOCAB) dlogits[Math.floor(i / COLS) * VOCAB + token] = values[i];
      }
    }
    return { loss: new Float32Array([row.reduce((a, b) => a + b, 0) / counted]), row, lse, max: rowMax, dlogits };
  },
  async optimizer({ attrs, inputs: { w0, g } }, run) {
    const N = w0.data.length;
    const [lr, beta1, beta2, eps, decay, steps] = ['lr', 'beta1', 'beta2', 'eps', 'weight_decay', 'steps'].map((key) =>
      Number(attrs[key]),
    );
    const [param, m, v, w] = [Float32Array.from(w0.data), zeros(N), zeros(N), zeros(steps * N)];
    for (let t = 1; t <= steps; t++) {
      const hyper = new Float32Array([
        lr,
        beta1,
        beta2,
        eps,
        decay,
        1 - beta1 ** t,
        1 - beta2 ** t,
        1,
        1 - beta1,
        1 - beta2,
      ]);
      await run(
        adamw,
        { param, grad: g.data.slice((t - 1) * N, t * N), m, v, hyper, flags: new Uint32Array(1) },
        { N, DECAY_START: 0, DECAY_END: N },
      );
      w.set(param, (t - 1) * N);
    }
    return { w, m, v };
  },
};
