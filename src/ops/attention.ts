// FlashAttention-2 style attention on a packed projection qkv [B*T, (H + 2 Hkv) * D] (columns Q | K | V, heads in
// order), out [B*T, H * D]. Online softmax, lse saved, no T x T buffer; the backward is two kernels (dQ by query owner,
// dK and dV by key owner), both into one packed gradient. Source: Dao 2023 (FlashAttention-2), algorithms 1 and 2 with
// recomputed probabilities.

import type { Recorder } from '../device/recorder.ts';
import type { Tensor } from '../device/tensor.ts';
import { attentionBackwardKeyValue } from '../../shaders/attention/attention-backward-key-value.ts';
import { attentionBackwardQuery } from '../../shaders/attention/attention-backward-query.ts';
import { attentionDelta } from '../../shaders/attention/attention-delta.ts';
import { attentionIntervalsBackwardKeyValue } from '../../shaders/attention/attention-intervals-backward-key-value.ts';
import { attentionIntervalsBackwardQuery } from '../../shaders/attention/attention-intervals-backward-query.ts';
import { attentionIntervals } from '../../shaders/attention/attention-intervals.ts';
import { attention as kernel } from '../../shaders/attention/attention.ts';
import { defineOp } from './op.ts';

export interface AttentionAttributes {
  readonly B: number;
  readonly T: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal: boolean;
  readonly scale: number;
  /** Absent: the tokens of each rank are a run, and `causal` says what a query sees. */
  readonly mask?: KeyMask;
}

/** What a query sees where offsets do not say it: documents, or tokens that are placed otherwise or padded. */
export interface KeyMask {
  /** U32 [3 * rows * tokens] for the keys of each rank of the sequence group; see attention-intervals.ts. */
  readonly intervals: readonly Tensor[];
  /** By rank: whether any of its keys may be seen by a query of this rank. */
  readonly seen: readonly boolean[];
}

/** Where one of q, k, v, out lies in its tensor: element index = off + b * batch + h * head + t * token + d. */
export interface HeadLayout {
  readonly off: number;
  readonly batch: number;
  readonly head: number;
  readonly token: number;
}

/** Heads side by side in rows of `width` elements, the first one at column `off`. */
export function packedHeads(T: number, width: number, headDim: number, off: number): HeadLayout {
  return { off, batch: T * width, head: headDim, token: width };
}

export interface AttentionShape {
  readonly B: number;
  readonly HQ: number;
  readonly HKV: number;
  readonly TQ: number;
  readonly TK: number;
  readonly D: number;
  readonly DV: number;
  readonly scale: number;
  readonly causal: boolean;
  readonly qStart: number;
  readonly kStart: number;
  readonly q: HeadLayout;
  readonly k: HeadLayout;
  readonly v: HeadLayout;
  readonly o: HeadLayout;
}

/** The kernel params of a shape. */
export function attentionValues(s: AttentionShape) {
  return {
    B: s.B,
    HQ: s.HQ,
    HKV: s.HKV,
    TQ: s.TQ,
    TK: s.TK,
    D: s.D,
    DV: s.DV,
    SCALE: s.scale,
    CAUSAL: s.causal ? 1 : 0,
    Q_START: s.qStart,
    K_START: s.kStart,
    Q_OFF: s.q.off,
    Q_B: s.q.batch,
    Q_H: s.q.head,
    Q_T: s.q.token,
    K_OFF: s.k.off,
    K_B: s.k.batch,
    K_H: s.k.head,
    K_T: s.k.token,
    V_OFF: s.v.off,
    V_B: s.v.batch,
    V_H: s.v.head,
    V_T: s.v.token,
    O_OFF: s.o.off,
    O_B: s.o.batch,
    O_H: s.o.head,
    O_T: s.o.token,
  };
}

/** delta[b,h,t] = sum over d of dOut * out. */
export function recordDelta(r: Recorder, out: Tensor, dOut: Tensor, s: AttentionShape): Tensor {
  const delta = r.tensor([s.B, s.HQ, s.TQ], 'f32', 'delta');
  r.launch(
    attentionDelta,
    { out, dOut, delta },
    { B: s.B, HQ: s.HQ, TQ: s.TQ, DV: s.DV, O_OFF: s.o.off, O_B: s.o.batch, O_H: s.o.head, O_T: s.o.token },
  );
  return delta;
}

export function packedShape({ B, T, heads, kvHeads, headDim, causal, scale }: AttentionAttributes): AttentionShape {
  const width = (heads + 2 * kvHeads) * headDim;
  return {
    B,
    HQ: heads,
    HKV: kvHeads,
    TQ: T,
    TK: T,
    D: headDim,
    DV: headDim,
    scale,
    causal,
    qStart: 0,
    kStart: 0,
    q: packedHeads(T, width, headDim, 0),
    k: packedHeads(T, width, headDim, heads * headDim),
    v: packedHeads(T, width, headDim, (heads + kvHeads) * headDim),
    o: packedHeads(T, heads * headDim, headDim, 0),
  };
}

/** What each kernel reads of one block of keys, and the mask for it if offsets do not say what is seen. */
export interface Block {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly shape: AttentionShape;
  /** U32 [3 * B * T], of KeyMask. */
  readonly intervals?: Tensor;
}

/** out and lse of the block's queries. */
export function recordAttention(r: Recorder, block: Block, out: Tensor, lse: Tensor): void {
  const { q, k, v, shape, intervals } = block;
  if (intervals) r.launch(attentionIntervals, { q, k, v, intervals, out, lse }, maskedParams(shape));
  else r.launch(kernel, { q, k, v, out, lse }, attentionValues(shape));
}

export interface Seen {
  readonly dOut: Tensor;
  /** Of the whole softmax. */
  readonly lse: Tensor;
  readonly delta: Tensor;
}

/** Gradient of the block's queries, into `dQ` (laid out as q); `accumulate` adds. */
export function recordQueryGradient(r: Recorder, block: Block, seen: Seen, dQ: Tensor, accumulate: boolean): void {
  const { q, k, v, shape, intervals } = block;
  const ACCUMULATE = accumulate ? 1 : 0;
  if (!intervals) r.launch(attentionBackwardQuery, { q, k, v, ...seen, dQ }, { ...attentionValues(shape), ACCUMULATE });
  else
    r.launch(
      attentionIntervalsBackwardQuery,
      { q, k, v, ...seen, intervals, dQ },
      { ...maskedParams(shape), ACCUMULATE },
    );
}

/** Gradients of the block's keys and values, into `dKV`, laid out as k and v are. */
export function recordKeyValueGradient(r: Recorder, block: Block, seen: Seen, dKV: Tensor): void {
  const { q, k, v, shape, intervals } = block;
  const { k: dk, v: dv } = shape;
  const places = {
    ACCUMULATE: 0,
    DK_OFF: dk.off,
    DK_B: dk.batch,
    DK_H: dk.head,
    DK_T: dk.token,
    DV_OFF: dv.off,
    DV_B: dv.batch,
    DV_H: dv.head,
    DV_T: dv.token,
  };
  if (!intervals)
    r.launch(attentionBackwardKeyValue, { q, k, v, ...seen, dKV }, { ...attentionValues(shape), ...places });
  else
    r.launch(
      attentionIntervalsBackwardKeyValue,
      { q, k, v, ...seen, intervals, dKV },
      { ...maskedParams(shape), ...places },
    );
}

function maskedParams(shape: AttentionShape) {
  const { CAUSAL: _causal, Q_START: _qStart, K_START: _kStart, ...params } = attentionValues(shape);
  return params;
}

export const attention = defineOp<
  { qkv: Tensor },
  Record<string, never>,
  AttentionAttributes,
  { qkv: Tensor; out: Tensor; lse: Tensor }
>({
  name: 'attention',
  forward(r, { qkv }, _w, attrs) {
    const block = ownBlock(qkv, attrs);
    const { shape: s } = block;
    const out = r.tensor([s.B * s.TQ, s.HQ * s.DV], 'f32', 'attended');
    const lse = r.tensor([s.B, s.HQ, s.TQ], 'f32', 'lse');
    recordAttention(r, block, out, lse);
    return { out, saved: { qkv, out, lse } };
  },
  backwardInput(r, dOut, { qkv, out, lse }, _w, attrs) {
    const block = ownBlock(qkv, attrs);
    const seen = { dOut, lse, delta: recordDelta(r, out, dOut, block.shape) };
    const dQkv = r.tensor(qkv.shape, 'f32', 'dqkv');
    recordQueryGradient(r, block, seen, dQkv, false);
    recordKeyValueGradient(r, block, seen, dQkv);
    return { qkv: dQkv };
  },
});

function ownBlock(qkv: Tensor, attrs: AttentionAttributes): Block {
  return { q: qkv, k: qkv, v: qkv, shape: packedShape(attrs), intervals: attrs.mask?.intervals[0] };
}
