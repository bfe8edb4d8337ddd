// What a run trains: a network, its loss and its batches. The trainer, the sync and the checkpoints know a task by this
// alone; B is a whole batch of it, the same on every rank.

import type { Mesh } from '../../collectives/mesh.ts';
import type { ParamSpec, StageRange } from '../../model/param-spec.ts';
import type { ShardPlace } from '../../model/parallelism.ts';
import type { ShardOptions, VocabularyShard } from '../../model/language/vocabulary-shard.ts';
import type { StageTask } from '../../model/task.ts';
import type { WeightSpec } from '../../model/weight.ts';

export interface Task<B = unknown> {
  /** What a pipeline may be cut between. */
  readonly layers: number;
  /** Every weight of the network, once, in its order. */
  readonly weights: readonly WeightSpec[];
  /** Names of the parameters of a table that the last stage needs too, on the first stage and on the last. */
  readonly tied?: { readonly owner: string; readonly copy: string } | undefined;
  /** Neighbouring elements that may make one square of the norm: 4 where no layout cuts within four, else 1. */
  readonly squareGroup: 1 | 4;
  /** In the order of `weights`: what a rank at `place` holds of a stage. */
  params(range: StageRange, place: ShardPlace): readonly ParamSpec[];
  /** What shard `place.rank` of `place.size` holds of the tables that a pipeline can share; absent without such. */
  vocabularyParams?(place: { readonly rank: number; readonly size: number }): readonly ParamSpec[];
  /** The task on this rank of `mesh`, with `rows` rows of the batch in a microbatch. */
  onRank(mesh: Mesh, rows: number): RankTask<B>;
}

/** M: what this rank's stages need of a microbatch. */
export interface RankTask<B = unknown, M = unknown> extends StageTask<M> {
  /** Cuts microbatches out of a batch: microbatch i is its rows [i * rows, (i + 1) * rows). */
  cut(batch: B): (microbatch: number) => Cut<M>;
  /** Compiles this rank's shard of the tables that its pipeline shares; absent without such. */
  vocabularyShard?(options: Omit<ShardOptions, 'config' | 'rows'>): Promise<VocabularyShard>;
}

export interface Cut<M> {
  readonly data: M;
  /** Whether the loss of row r of the last stage counts. Those that do not are 0. */
  counts(row: number): boolean;
}

/** The loss is the mean over the rows that count. */
export interface TaskData<B = unknown> {
  /** Rows of a batch. */
  readonly batch: number;
  /** Steps that batchAt can serve; Infinity where batches are drawn. */
  readonly steps: number;
  batchAt(step: number): B;
  /** Batches of evalAt; 0 if nothing is held out. */
  readonly evalBatches: number;
  evalAt(index: number): B;
  /** A batch in which only those rows count that a network can get all right; absent where nothing is asked. */
  answersOf?(batch: B): B;
}
