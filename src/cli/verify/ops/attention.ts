// Attention: PyTorch's with lse and all gradients, full or causal blocks, grouped heads; ONNX Attention in its 3-D and
// 4-D forms. Scores are never stored, so ONNX variants that change or return them (masks, softcap, caches,
// qk_matmul_output) are refused.

import { attentionValues, packedHeads, recordDelta } from '../../../ops/attention.ts';
import type { AttentionShape, HeadLayout } from '../../../ops/attention.ts';
import { attentionBackwardKeyValue } from '../../../../shaders/attention/attention-backward-key-value.ts';
import { attentionBackwardQuery } from '../../../../shaders/attention/attention-backward-query.ts';
import { attention as kernel } from '../../../../shaders/attention/attention.ts';
import { slot } from '../operator.ts';
import type { OnnxCase, Operator } from '../operator.ts';

/** Layout of a dense [B, H, T, D]. */
const dense = (H: number, T: number, D: number, off = 0): HeadLayout => ({
  off,
  batch: H * T * D,
  head: T * D,
  token: D,
});
/** Layout of a dense [B, T, H * D]. */
const packed = (H: number, T: number, D: number): HeadLayout => packedHeads(T, H * D, D, 0);

function refuseOnnx(c: OnnxCase): string | undefined {
  const names = ['attn_mask', 'past_key', 'past_value', 'nonpad_kv_seqlen'];
  const extra = names.find((_, i) => c.inputs[3 + i]);
  if (extra) return extra;
  if (c.attributes.number('softcap', 0) !== 0) return 'softcap';
  const output = ['', 'present_key', 'present_value', 'qk_matmul_output'].find((_, i) => i > 0 && c.wanted[i]);
  if (output) return output;
  return c.inputs.slice(0, 3).some((tensor) => tensor?.shape.length !== slot(c, 0).shape.length)
    ? 'inputs of mixed rank'
    : undefined;
}

export const operators: readonly Operator[] = [
  {
    format: 'torch',
    op: 'attention',
    async run(lab, c) {
      const [q, k, v, dOut] = ['q', 'k', 'v', 'do'].map((name) => lab.floats(c.input(name)));
      const [B, HQ, TQ, D] = q.shape;
      const [, HKV, TK, DV] = v.shape;
      const start = c.attributes.number('q_start', 0);
      const s: AttentionShape = {
        B,
        HQ,
        HKV,
        TQ,
        TK,
        D,
        DV,
        scale: c.attributes.number('scale'),
        causal: c.attributes.flag('causal'),
        qStart: Math.max(0, start),
        kStart: Math.max(0, -start),
        q: dense(HQ, TQ, D),
        k: dense(HKV, TK, D),
        v: dense(HKV, TK, DV),
        o: dense(HQ, TQ, DV),
      };
      const r = lab.recorder;
      const o = r.tensor([B, HQ, TQ, DV], 'f32', 'o');
      const lse = r.tensor([B, HQ, TQ], 'f32', 'lse');
      r.launch(kernel, { q, k, v, out: o, lse }, attentionValues(s));
      const io = { q, k, v, dOut, lse, delta: recordDelta(r, o, dOut, s) };
      const dq = r.tensor(q.shape, 'f32', 'dq');
      r.launch(attentionBackwardQuery, { ...io, dQ: dq }, { ...attentionValues(s), ACCUMULATE: 0 });
      // One buffer: dK, then dV.
      const sizeK = B * HKV * TK * D;
      const dKV = r.tensor([sizeK + B * HKV * TK * DV], 'f32', 'dkv');
      const [dk, dv] = [dense(HKV, TK, D), dense(HKV, TK, DV, sizeK)];
      r.launch(
        attentionBackwardKeyValue,
        { ...io, dKV },
        {
          ...attentionValues(s),
          ACCUMULATE: 0,
          DK_OFF: dk.off,
          DK_B: dk.batch,
          DK_H: dk.head,
          DK_T: dk.token,
          DV_OFF: dv.off,
          DV_B: dv.batch,
          DV_H: dv.head,
          DV_T: dv.token,
        },
      );
      const got = await lab.run({ o, lse, dq, dKV });
      // The kernels write -1e30 for the logarithm of an empty sum.
      return {
        o: got.o,
        lse: Float32Array.from(got.lse, (x) => (x <= -1e29 ? -Infinity : x)),
        dq: got.dq,
        dk: got.dKV.subarray(0, sizeK),
        dv: got.dKV.subarray(sizeK),
      };
    },
  },
  {
    format: 'onnx',
    op: 'Attention',
    refuses: refuseOnnx,
    async run(lab, c) {
      const [q, k, v] = [0, 1, 2].map((i) => lab.floats(slot(c, i)));
      const flat = q.shape.length === 3;
      const [HQ, HKV] = flat
        ? [c.attributes.number('q_num_heads'), c.attributes.number('kv_num_heads')]
        : [q.shape[1], k.shape[1]];
      const [B, TQ, TK] = [q.shape[0], q.shape.at(-2)!, k.shape.at(-2)!];
      const [D, DV] = flat ? [q.shape[2] / HQ, v.shape[2] / HKV] : [q.shape[3], v.shape[3]];
      const layout = flat ? packed : dense;
      const s: AttentionShape = {
        B,
        HQ,
        HKV,
        TQ,
        TK,
        D,
        DV,
        scale: c.attributes.number('scale', 1 / Math.sqrt(D)),
        causal: c.attributes.flag('is_causal'),
        qStart: 0,
        kStart: 0,
        q: layout(HQ, TQ, D),
        k: layout(HKV, TK, D),
        v: layout(HKV, TK, DV),
        o: layout(HQ, TQ, DV),
      };
      const out = lab.recorder.tensor([B * HQ * TQ, DV], 'f32', 'out');
      lab.recorder.launch(
        kernel,
        { q, k, v, out, lse: lab.recorder.tensor([B, HQ, TQ], 'f32', 'lse') },
        attentionValues(s),
      );
      return [(await lab.run({ out })).out];
    },
  },
];
