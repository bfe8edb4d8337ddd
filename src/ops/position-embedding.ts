// y[r] = x[r] + table[posStart + r mod T]: learned positions; x, y [B*T, C] with T tokens per row of the batch, table
// [maxPositions, C]. posStart is the first position of this sequence shard.

import type { Param, Tensor } from '../device/tensor.ts';
import { addPositionBackward } from '../../shaders/embedding/add-position-backward.ts';
import { addPosition } from '../../shaders/embedding/add-position.ts';
import { defineOp } from './op.ts';

export const positionEmbedding = defineOp<{ x: Tensor }, { table: Param }, { T: number; posStart: number }, null>({
  name: 'position-embedding',
  forward(r, { x }, { table }, { T, posStart }) {
    const [R, C] = x.shape;
    const out = r.tensor([R, C], 'f32', 'positioned');
    r.launch(addPosition, { x, table, residual: x, out }, { R, C, T, POS_START: posStart, RESIDUAL: 0 });
    return { out, saved: null };
  },
  backwardInput(_r, dOut) {
    return { x: dOut };
  },
  backwardWeight(r, dOut, _saved, { table }, { T, posStart }) {
    const [R, C] = dOut.shape;
    r.launch(addPositionBackward, { dOut, dTable: table.grad }, { R, C, T, POS_START: posStart });
  },
});
