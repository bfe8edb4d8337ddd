// Ring attention on contiguous chunks: K and V travel one hop per step, P - 1 hops; each rank merges (out, lse) of its
// queries with every block. Causal: a rank skips blocks of later positions, but still relays them. Backward: K, V
// travel again together with their gradients, which need one hop more to come home; dQ stays. Keys are sent un-repeated
// (Hkv heads). Steps: P - 1 forward, P backward. Bytes sent per rank: forward 2 (P-1) B T Hkv D 4; backward 2 (P-1) B T
// Hkv D 4 for K, V and 2 P B T Hkv D 4 for dK, dV. Source: Liu et al. 2023 (Ring Attention); parallelism.md sections 5b
// and 19.

import { ringSend } from '../../collectives/ring-send.ts';
import type { Group } from '../../collectives/group.ts';
import type { Recorder, Ticket } from '../../device/recorder.ts';
import type { Tensor } from '../../device/tensor.ts';
import { attentionParams, packedHeads, recordDelta } from '../../ops/attention.ts';
import type { AttentionAttributes, AttentionShape } from '../../ops/attention.ts';
import { attentionBackwardKeyValue } from '../../../shaders/attention/attention-backward-key-value.ts';
import { attentionBackwardQuery } from '../../../shaders/attention/attention-backward-query.ts';
import { attentionMerge } from '../../../shaders/attention/attention-merge.ts';
import { attention as kernel } from '../../../shaders/attention/attention.ts';
import { putColumns, takeColumns } from '../../ops/copy-columns.ts';
import { add } from '../../../shaders/elementwise/add.ts';
import { fill } from '../../../shaders/elementwise/fill.ts';
import { defineOp } from '../../ops/op.ts';
import type { AttentionOp, SequenceStrategy } from './strategy.ts';

interface Saved {
  readonly qkv: Tensor;
  readonly kv: Tensor;
  readonly out: Tensor;
  readonly lse: Tensor;
}

/** Local queries against the block of rank `origin`, whose K and V are packed as kv [B*T, 2 Hkv D]. */
function blockShape(
  group: Group,
  origin: number,
  { B, T, heads, kvHeads, headDim, causal, scale }: AttentionAttributes,
): AttentionShape {
  const width = (heads + 2 * kvHeads) * headDim;
  const kvWidth = 2 * kvHeads * headDim;
  return {
    B,
    HQ: heads,
    HKV: kvHeads,
    TQ: T,
    TK: T,
    D: headDim,
    DV: headDim,
    scale,
    // Every query sees all keys of an earlier block: no mask, and one pipeline for all of them.
    causal: causal && origin === group.rank,
    qStart: group.rank * T,
    kStart: origin * T,
    q: packedHeads(T, width, headDim, 0),
    k: packedHeads(T, kvWidth, headDim, 0),
    v: packedHeads(T, kvWidth, headDim, kvHeads * headDim),
    o: packedHeads(T, heads * headDim, headDim, 0),
  };
}

/** The block that this rank holds after `step` hops. */
function originOf(group: Group, step: number): number {
  return (group.rank - step + group.size) % group.size;
}

function visible(group: Group, origin: number, causal: boolean): boolean {
  return !causal || origin <= group.rank;
}

/** Starts sending `x` to the next rank and receiving the previous one's. */
function rotate(r: Recorder, group: Group, x: Tensor, label: string): { ticket: Ticket; received: Tensor } {
  const received = r.tensor(x.shape, 'f32', label);
  const ticket = r.host(`ring-send ${label} ${group.name}`, [x], [received], ([data], [into]) =>
    ringSend(group, data as Float32Array<ArrayBuffer>, into as Float32Array<ArrayBuffer>, 1),
  );
  return { ticket, received };
}

function ringAttention(group: Group): AttentionOp {
  const P = group.size;
  return defineOp<{ qkv: Tensor }, Record<string, never>, AttentionAttributes, Saved>({
    name: 'ring-attention',
    forward(r, { qkv }, _w, attrs) {
      const { B, T, heads, kvHeads, headDim } = attrs;
      const own = takeColumns(r, qkv, heads * headDim, 2 * kvHeads * headDim, 'kv');
      const out = r.tensor([B * T, heads * headDim], 'f32', 'attended');
      const lse = r.tensor([B, heads, T], 'f32', 'lse');
      let kv = own;
      for (let step = 0; step < P; step++) {
        const next = step < P - 1 ? rotate(r, group, kv, 'kv') : undefined;
        const origin = originOf(group, step);
        const s = blockShape(group, origin, attrs);
        if (step === 0) r.launch(kernel, { q: qkv, k: kv, v: kv, out, lse }, attentionParams(s));
        else if (visible(group, origin, attrs.causal)) {
          const partOut = r.tensor(out.shape, 'f32', 'partOut');
          const partLse = r.tensor(lse.shape, 'f32', 'partLse');
          r.launch(kernel, { q: qkv, k: kv, v: kv, out: partOut, lse: partLse }, attentionParams(s));
          r.launch(
            attentionMerge,
            { out, lse, partOut, partLse },
            { B, HQ: heads, TQ: T, DV: headDim, O_OFF: s.o.off, O_B: s.o.batch, O_H: s.o.head, O_T: s.o.token },
          );
        }
        if (next) {
          r.wait(next.ticket);
          kv = next.received;
        }
      }
      return { out, saved: { qkv, kv: own, out, lse } };
    },
    backwardInput(r, dOut, { qkv, kv: own, out, lse }, _w, attrs) {
      const { heads, kvHeads, headDim } = attrs;
      const [R, width] = qkv.shape;
      const kvWidth = 2 * kvHeads * headDim;
      const delta = recordDelta(r, out, dOut, blockShape(group, group.rank, attrs));
      const dQ = r.tensor([R, width], 'f32', 'dqkv');
      let kv = own;
      let travelled: Tensor | undefined;
      for (let step = 0; step < P; step++) {
        const next = step < P - 1 ? rotate(r, group, kv, 'kv') : undefined;
        const origin = originOf(group, step);
        const s = blockShape(group, origin, attrs);
        const part = r.tensor([R, kvWidth], 'f32', 'dkv');
        const io = { q: qkv, k: kv, v: kv, dOut, lse, delta };
        if (visible(group, origin, attrs.causal)) {
          r.launch(attentionBackwardQuery, { ...io, dQ }, { ...attentionParams(s), ACCUMULATE: step ? 1 : 0 });
          r.launch(
            attentionBackwardKeyValue,
            { ...io, dKV: part },
            {
              ...attentionParams(s),
              ACCUMULATE: 0,
              DK_OFF: s.k.off,
              DK_B: s.k.batch,
              DK_H: s.k.head,
              DK_T: s.k.token,
              DV_OFF: s.v.off,
              DV_B: s.v.batch,
              DV_H: s.v.head,
              DV_T: s.v.token,
            },
          );
        } else r.launch(fill, { out: part }, { N: R * kvWidth, VALUE: 0 });
        // The gradient of this block so far came from the previous rank; add ours and pass it on with the block.
        const sum = travelled ? addTensors(r, travelled, part) : part;
        const home = rotate(r, group, sum, 'dkv');
        if (next) {
          r.wait(next.ticket);
          kv = next.received;
        }
        r.wait(home.ticket);
        travelled = home.received;
      }
      // After P hops the gradient is back with the block's owner.
      putColumns(r, travelled!, dQ, heads * headDim);
      return { qkv: dQ };
    },
  }) as unknown as AttentionOp;
}

function addTensors(r: Recorder, a: Tensor, b: Tensor): Tensor {
  const out = r.tensor(a.shape, 'f32', 'dkv');
  r.launch(add, { a, b, out }, { N: a.shape[0] * a.shape[1], ALPHA: 1, BETA: 1 });
  return out;
}

export const strategy: SequenceStrategy = {
  name: 'ring',
  attention: (group) => ringAttention(group),
  wireBytes(_rank, size, { B, T, kvHeads, headDim }) {
    const block = 2 * B * T * kvHeads * headDim * 4;
    return { forward: (size - 1) * block, backward: (size - 1) * block + size * block };
  },
};
