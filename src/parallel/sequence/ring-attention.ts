// Ring attention, for any placement of the tokens: K and V travel one hop per step, P - 1 hops; each rank merges (out,
// lse) of its queries with every block. A rank skips blocks of which its queries see nothing, but still relays them.
// Backward: K, V travel again together with their gradients, which need one hop more to come home; dQ stays. Keys are
// sent un-repeated (Hkv heads). Steps: P - 1 forward, P backward. Bytes sent per rank: forward 2 (P-1) B T Hkv D 4;
// backward 2 (P-1) B T Hkv D 4 for K, V and 2 P B T Hkv D 4 for dK, dV. Source: Liu et al. 2023 (Ring Attention);
// parallelism.md sections 5b and 19.

import { elements } from '../../base/shape.ts';
import { ringSend, ringSendBytes } from '../../collectives/ring-send.ts';
import type { GroupRef } from '../../collectives/group.ts';
import { begins } from '../../collectives/groups/begun.ts';
import type { Recorder, Ticket } from '../../device/recorder.ts';
import type { Tensor } from '../../device/tensor.ts';
import {
  packedHeads,
  recordAttention,
  recordDelta,
  recordKeyValueGradient,
  recordQueryGradient,
} from '../../ops/attention.ts';
import type { AttentionAttributes, AttentionShape, Block } from '../../ops/attention.ts';
import { attentionMerge } from '../../../shaders/attention/attention-merge.ts';
import { putColumns, takeColumns } from '../../ops/copy-columns.ts';
import { add } from '../../../shaders/elementwise/add.ts';
import { fill } from '../../../shaders/elementwise/fill.ts';
import { defineOp } from '../../ops/op.ts';
import type { AttentionOp } from './strategy.ts';

interface Saved {
  readonly qkv: Tensor;
  readonly kv: Tensor;
  readonly out: Tensor;
  readonly lse: Tensor;
}

/** This rank's place on the ring, which is recorded: its blocks and masks follow from it. */
interface Place {
  readonly rank: number;
  readonly size: number;
}

/** Local queries against the block of rank `origin`, whose K and V are packed as kv [B*T, 2 Hkv D]. */
function blockShape(
  place: Place,
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
    causal: causal && origin === place.rank,
    qStart: place.rank * T,
    kStart: origin * T,
    q: packedHeads(T, width, headDim, 0),
    k: packedHeads(T, kvWidth, headDim, 0),
    v: packedHeads(T, kvWidth, headDim, kvHeads * headDim),
    o: packedHeads(T, heads * headDim, headDim, 0),
  };
}

/** The block that this rank holds after `step` hops. */
function originOf(place: Place, step: number): number {
  return (place.rank - step + place.size) % place.size;
}

/** Whether any key of rank `origin` may be seen here. */
function visible(place: Place, origin: number, { causal, mask }: AttentionAttributes): boolean {
  return mask ? mask.seen[origin] : !causal || origin <= place.rank;
}

function blockOf(place: Place, origin: number, q: Tensor, kv: Tensor, attrs: AttentionAttributes): Block {
  return { q, k: kv, v: kv, shape: blockShape(place, origin, attrs), intervals: attrs.mask?.intervals[origin] };
}

/** Starts sending `x` to the next rank and receiving the previous one's. */
function rotate(r: Recorder, group: GroupRef, x: Tensor, label: string): { ticket: Ticket; received: Tensor } {
  const received = r.tensor(x.shape, 'f32', label);
  const ticket = r.host(
    `ring-send ${label} ${group.name}`,
    [x],
    [received],
    ([data], [into], begun) => ringSend(begun.group, data, into, 1, { operation: begun.operations[0] }),
    [{ kind: 'ring-send', bytes: ringSendBytes(group.size, elements(x.shape)) }],
    begins(group, 'ring-send'),
  );
  return { ticket, received };
}

export function ringAttention(group: GroupRef): AttentionOp {
  const P = group.size;
  const place = { rank: group.fixedRank(), size: P };
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
        const origin = originOf(place, step);
        const block = blockOf(place, origin, qkv, kv, attrs);
        const { o } = block.shape;
        if (step === 0) recordAttention(r, block, out, lse);
        else if (visible(place, origin, attrs)) {
          const partOut = r.tensor(out.shape, 'f32', 'partOut');
          const partLse = r.tensor(lse.shape, 'f32', 'partLse');
          recordAttention(r, block, partOut, partLse);
          r.launch(
            attentionMerge,
            { out, lse, partOut, partLse },
            { B, HQ: heads, TQ: T, DV: headDim, O_OFF: o.off, O_B: o.batch, O_H: o.head, O_T: o.token },
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
      const seen = { dOut, lse, delta: recordDelta(r, out, dOut, blockShape(place, place.rank, attrs)) };
      const dQ = r.tensor([R, width], 'f32', 'dqkv');
      let kv = own;
      let travelled: Tensor | undefined;
      for (let step = 0; step < P; step++) {
        const next = step < P - 1 ? rotate(r, group, kv, 'kv') : undefined;
        const origin = originOf(place, step);
        const part = r.tensor([R, kvWidth], 'f32', 'dkv');
        if (step === 0 || visible(place, origin, attrs)) {
          const block = blockOf(place, origin, qkv, kv, attrs);
          recordQueryGradient(r, block, seen, dQ, step > 0);
          recordKeyValueGradient(r, block, seen, part);
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
