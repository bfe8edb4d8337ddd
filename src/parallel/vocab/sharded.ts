// Embedding and loss with the vocabulary split by rows over the tp group: rank r holds tokens [r V/t, (r+1) V/t),
// padded to equal shards. Embedding: rows not owned are zero, all-reduce. Loss (Megatron-LM's form): local max and sum
// of exp per row, all-reduce max, then one all-reduce of (sum exp(m' - m), target logit): 3 R floats in all instead of
// gathering R V; dX all-reduced. Source: parallelism.md sections 1 and 10.

import { allReduce } from '../../collectives/all-reduce.ts';
import type { GroupRef } from '../../collectives/group.ts';
import { begins } from '../../collectives/groups/begun.ts';
import type { Recorder } from '../../device/recorder.ts';
import type { Param, Tensor } from '../../device/tensor.ts';
import { elements } from '../../base/shape.ts';
import { allReduceTraffic, recordAllReduce } from '../../ops/collective.ts';
import type { LossStatistics } from '../../ops/cross-entropy.ts';
import { embedding } from '../../ops/embedding.ts';
import { defineOp } from '../../ops/op.ts';

export function shardedEmbedding(group: GroupRef) {
  return defineOp<{ ids: Tensor }, { table: Param }, { vStart: number }, { ids: Tensor }>({
    name: 'sharded-embedding',
    forward(r, x, w, attrs) {
      const { out, saved } = embedding.forward(r, x, w, attrs);
      return { out: recordAllReduce(r, group, out), saved };
    },
    backwardWeight: (r, dOut, saved, w, attrs) => embedding.backwardWeight!(r, dOut, saved, w, attrs),
  });
}

/** Joins the statistics of all shards in place: the online-softmax merge, in rank order. */
export function reduceStatistics(group: GroupRef): (r: Recorder, statistics: LossStatistics) => void {
  return (r, { rowMax, rowSum, targetLogit }) => {
    const tensors = [rowMax, rowSum, targetLogit];
    const rows = elements(rowMax.shape);
    r.wait(
      r.host(
        `loss-statistics ${group.name}`,
        tensors,
        tensors,
        async (reads, writes, { group: now, operations: [reduceMax, reduceSums] }) => {
          const [localMax, localSum, localTarget] = reads as readonly Float32Array<ArrayBuffer>[];
          const [max, sum, target] = writes as readonly Float32Array<ArrayBuffer>[];
          const R = localMax.length;
          max.set(localMax);
          await allReduce(now, max, { reduction: 'max', operation: reduceMax });
          const both = new Float32Array(2 * R);
          for (let i = 0; i < R; i++) {
            both[i] = localSum[i] * Math.exp(localMax[i] - max[i]);
            both[R + i] = localTarget[i];
          }
          await allReduce(now, both, { operation: reduceSums });
          sum.set(both.subarray(0, R));
          target.set(both.subarray(R));
        },
        [allReduceTraffic(group, rows), allReduceTraffic(group, 2 * rows)],
        begins(group, 'all-reduce', 'all-reduce'),
      ),
    );
  };
}
