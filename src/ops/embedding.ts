// y[r] = table[ids[r]]: rows of `table` [V, C] by token id; ids u32 [R], y [R, C]. A vocabulary shard holds rows
// vStart.. of the whole table and gives zeros for ids that it does not own. W: dTable[id] += dY[r], without atomics:
// rows with the same id are linked into a list, its head adds them in order.

import type { Param, Tensor } from '../device/tensor.ts';
import { embeddingBackward } from '../../shaders/embedding/embedding-backward.ts';
import { embeddingLinks } from '../../shaders/embedding/embedding-links.ts';
import { embedding as kernel } from '../../shaders/embedding/embedding.ts';
import { defineOp } from './op.ts';

export const embedding = defineOp<{ ids: Tensor }, { table: Param }, { vStart: number }, { ids: Tensor }>({
  name: 'embedding',
  forward(r, { ids }, { table }, { vStart }) {
    const [V, C] = table.shape;
    const R = ids.shape[0];
    const out = r.tensor([R, C], 'f32', 'embedded');
    r.launch(kernel, { ids, table, out }, { R, C, V_START: vStart, V_ROWS: V });
    return { out, saved: { ids } };
  },
  backwardWeight(r, dOut, { ids }, { table }, { vStart }) {
    const [V, C] = table.shape;
    const R = ids.shape[0];
    const next = r.tensor([R], 'u32', 'next');
    r.launch(embeddingLinks, { ids, next }, { R });
    r.launch(embeddingBackward, { ids, next, dOut, dTable: table.grad }, { R, C, V_START: vStart, V_ROWS: V });
  },
});
