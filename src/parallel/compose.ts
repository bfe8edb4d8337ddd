// The Parallelism of one rank, put together from its mesh: each axis of size 1 keeps the plain op.

import type { Mesh } from '../collectives/mesh.ts';
import { allGather } from '../collectives/all-gather.ts';
import { begins } from '../collectives/groups/begun.ts';
import { InternalError } from '../base/errors.ts';
import { recordAllReduce } from '../ops/collective.ts';
import { linearCrossEntropy } from '../ops/cross-entropy.ts';
import { experts } from '../ops/experts.ts';
import { product } from '../ops/matmul.ts';
import { singleRank } from '../model/parallelism.ts';
import type { Parallelism } from '../model/parallelism.ts';
import { expertExchange } from './expert/all-to-all.ts';
import { sequenceStrategy } from './sequence/registry.ts';
import { columnLinear, rowLinear } from './tensor/megatron.ts';
import { reduceStatistics, shardedEmbedding } from './vocab/sharded.ts';

export interface ComposeOptions {
  readonly sequence?: string;
}

export function composeParallelism(mesh: Mesh, options: ComposeOptions = {}): Parallelism {
  const tp = mesh.axis('tp');
  const sp = mesh.axis('sp');
  const ep = mesh.axis('ep');
  const place = Object.fromEntries(
    (
      [
        ['tp', tp],
        ['sp', sp],
        ['ep', ep],
      ] as const
    ).map(([name, group]) => [name, { rank: group.fixedRank(), size: group.size }]),
  ) as Pick<Parallelism, 'tp' | 'sp' | 'ep'>;
  const sharded: Partial<Parallelism> = {};

  if (tp.size > 1) {
    const column = columnLinear(tp);
    const embed = shardedEmbedding(tp);
    sharded.columnLinear = (t, x, w, b) => t.apply(column, { x }, { w, b }, null);
    sharded.rowLinear = rowLinear(tp);
    sharded.embedding = (t, ids, table) =>
      t.apply(embed, { ids }, { table }, { vStart: place.tp.rank * table.shape[0] });
    sharded.loss = (t, x, head, targets, vocab, statistics) =>
      t.apply(
        linearCrossEntropy,
        { x, targets },
        { w: head },
        {
          vStart: place.tp.rank * head.shape[0],
          vocab,
          statistics,
          reduce: reduceStatistics(tp),
          reduceInput: (r, dX) => recordAllReduce(r, tp, dX),
        },
      );
    sharded.logits = (t, x, head) => {
      const own = product(t.recorder, x, head, { transB: true, label: 'logits' });
      const all = t.recorder.tensor([tp.size, ...own.shape], 'f32', 'allLogits');
      const part = own.shape[0] * own.shape[1];
      t.recorder.wait(
        t.recorder.host(
          `all-gather ${tp.name}`,
          [own],
          [all],
          async ([mine], [into], { group, operations: [operation] }) => {
            const offsets = Array.from({ length: tp.size + 1 }, (_, i) => i * part);
            await allGather(group, mine, offsets, into, { operation });
          },
          [],
          begins(tp, 'all-gather'),
        ),
      );
      return all;
    };
  }
  if (sp.size > 1) {
    const attention = sequenceStrategy(options.sequence ?? 'ring').attention(sp);
    sharded.attention = (t, qkv, attrs) => t.apply(attention, { qkv }, {}, attrs);
  }
  if (ep.size > 1 || tp.size > 1) {
    sharded.experts = (t, x, w, attrs, residual) => {
      if (x.shape.length !== 2) throw new InternalError('experts want [tokens, hidden]');
      const exchange =
        ep.size > 1 ? expertExchange(ep, { tokens: x.shape[0], width: x.shape[1], ...attrs }) : undefined;
      return t.apply(
        experts,
        { x, residual },
        { ...w },
        {
          ...attrs,
          renormalise: true,
          exchange,
          reduce: tp.size > 1 ? (r, y) => recordAllReduce(r, tp, y) : undefined,
        },
      );
    };
  }
  return { ...singleRank, ...place, ...sharded };
}
