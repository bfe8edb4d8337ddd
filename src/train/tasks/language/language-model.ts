// Language modelling: the loss is the cross-entropy of the next token. Rows of a batch are divided over dp and ep, the
// tokens of a row over sp, the network over pp, tp and ep.

import type { Mesh } from '../../../collectives/mesh.ts';
import type { ModelConfig } from '../../../model/config.ts';
import { LanguageStage } from '../../../model/language/language-stage.ts';
import type { TokenSlice } from '../../../model/language/language-stage.ts';
import { IGNORED } from '../../../model/language/token-rows.ts';
import type { ParamSpec, StageRange } from '../../../model/param-spec.ts';
import type { ShardPlace } from '../../../model/parallelism.ts';
import { VocabularyShard } from '../../../model/language/vocabulary-shard.ts';
import type { ShardOptions } from '../../../model/language/vocabulary-shard.ts';
import { headName, stageParams, vocabularyParams } from '../../../model/stage-params.ts';
import type { WeightSpec } from '../../../model/weight.ts';
import { weightSpecs } from '../../../model/weights.ts';
import { composeParallelism } from '../../../parallel/compose.ts';
import { columnsOf } from '../../../parallel/sequence/placement.ts';
import { tokenPlacement } from '../../../parallel/sequence/registry.ts';
import { documentStarts } from '../../data/batch.ts';
import type { Batch } from '../../data/batch.ts';
import { sliceBatch } from '../../data/slice-batch.ts';
import type { Cut, RankTask, Task } from '../task.ts';

export interface LanguageModelOptions {
  readonly model: ModelConfig;
  /** Tokens per row. */
  readonly context: number;
  /** A sequence strategy's name; the first one if absent. */
  readonly sequence?: string;
  /** The batches have documents. */
  readonly packed?: boolean;
}

export class LanguageModel implements Task<Batch> {
  readonly options: LanguageModelOptions;
  readonly layers: number;
  readonly weights: readonly WeightSpec[];
  readonly tied: { readonly owner: string; readonly copy: string } | undefined;
  readonly squareGroup: 1 | 4;

  constructor(options: LanguageModelOptions) {
    const { model } = options;
    this.options = options;
    this.layers = model.layers;
    this.weights = weightSpecs(model);
    this.tied = model.tied
      ? { owner: headName(model, { first: true }), copy: headName(model, { first: false }) }
      : undefined;
    this.squareGroup = squareGroup(model);
  }

  params(range: StageRange, place: ShardPlace): readonly ParamSpec[] {
    return stageParams(this.options.model, range, place);
  }

  vocabularyParams(place: { readonly rank: number; readonly size: number }): readonly ParamSpec[] {
    return vocabularyParams(this.options.model, place);
  }

  onRank(mesh: Mesh, rows: number): RankLanguageModel {
    return new RankLanguageModel(this.options, mesh, rows);
  }
}

export class RankLanguageModel extends LanguageStage implements RankTask<Batch, TokenSlice> {
  constructor({ model, context, sequence, packed = false }: LanguageModelOptions, mesh: Mesh, rows: number) {
    const { sp } = mesh.layout;
    const placement = tokenPlacement(sp, sequence);
    super({
      config: model,
      parallelism: composeParallelism(mesh, { ...(sequence === undefined ? {} : { sequence }) }),
      B: rows,
      columns: Array.from({ length: sp }, (_, rank) => columnsOf(placement, rank, sp, context)),
      packed,
    });
  }

  vocabularyShard(options: Omit<ShardOptions, 'config' | 'rows'>): Promise<VocabularyShard> {
    return VocabularyShard.create({ ...options, config: this.options.config, rows: this.between[0] });
  }

  cut(batch: Batch): (microbatch: number) => Cut<TokenSlice> {
    const { B, columns, packed, parallelism } = this.options;
    const place = { rows: B, columns, sequence: parallelism.sp.rank };
    const starts = packed ? documentStarts(batch) : undefined;
    return (microbatch) => {
      const data = sliceBatch(batch, place, microbatch, starts);
      return { data, counts: (row) => data.targets[row] !== IGNORED };
    };
  }
}

/**
 * Neighbouring elements that may make one square of the norm: 4 where no layout of this model cuts a row or a vector
 * within four elements, else 1. tp divides heads, key and value heads and the MLP; every other axis cuts at whole rows
 * or at multiples of 64 elements.
 */
export function squareGroup({ hidden, heads, kvHeads, headDim, mlp }: ModelConfig): 1 | 4 {
  const most = gcd(gcd(heads, kvHeads), mlp);
  return [hidden, (heads / most) * headDim, (kvHeads / most) * headDim, mlp / most].every((extent) => extent % 4 === 0)
    ? 4
    : 1;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
