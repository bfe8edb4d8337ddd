// Language modelling on one rank: token ids to hidden states to the loss of the next token.

import { InternalError } from '../../base/errors.ts';
import type { Shape } from '../../base/shape.ts';
import type { Tensor } from '../../device/tensor.ts';
import { lossStatistics } from '../../ops/cross-entropy.ts';
import type { ModelConfig } from '../config.ts';
import type { NetworkContext } from '../network.ts';
import type { Parallelism } from '../parallelism.ts';
import { givesLosses } from '../param-spec.ts';
import type { ParamSpec, StageRange } from '../param-spec.ts';
import { networkOf } from '../registry.ts';
import { fixedRows, packedRows } from './row-tensors.ts';
import { headName, stageParams, tableName } from '../stage-params.ts';
import type { StageRecording, StageScene, StageTask } from '../task.ts';
import type { TokenRows } from './token-rows.ts';

/** A microbatch on this rank: R = rows * tokens per row of it. */
export interface TokenSlice {
  /** U32 [R] */
  readonly tokens: Uint32Array<ArrayBuffer>;
  /** I32 [R]: the token that should follow, or IGNORED. */
  readonly targets: Int32Array<ArrayBuffer>;
  /** Of a packed batch. */
  readonly rows?: TokenRows;
}

export interface LanguageStageOptions {
  readonly config: ModelConfig;
  readonly parallelism: Parallelism;
  /** Rows per microbatch on this rank. */
  readonly B: number;
  /** Columns of the context that each rank of the sequence group holds, [tokens per row]; -1 is padding. */
  readonly columns: readonly Int32Array[];
  /** Every microbatch says where its documents begin. */
  readonly packed?: boolean;
}

/** A row is right when no token has a larger logit than its target, so one that ties for the largest is right. */
export class LanguageStage implements StageTask<TokenSlice> {
  readonly options: LanguageStageOptions;
  readonly between: Shape;

  constructor(options: LanguageStageOptions) {
    this.options = options;
    const { B, columns, parallelism, config } = options;
    this.between = [B * columns[parallelism.sp.rank].length, config.hidden];
  }

  params(range: StageRange): readonly ParamSpec[] {
    return stageParams(this.options.config, range, this.options.parallelism);
  }

  record({ tape, range, received, param, input, constant }: StageScene): StageRecording<TokenSlice> {
    const { config, parallelism, B, columns } = this.options;
    const { rank } = parallelism.sp;
    const T = columns[rank].length;
    const R = B * T;
    const network = networkOf(config);
    const place = { columns, rank, B, first: range.first };
    const packed = this.options.packed ? packedRows(config, place, input) : undefined;
    const rows = packed?.rows ?? fixedRows(config, place, constant);
    const context: NetworkContext = { tape, config, parallelism, B, T, ...rows, param };
    const inputs: StageRecording<TokenSlice>['inputs'][number][] = [];
    let x: Tensor;
    if (received) x = received;
    else {
      const tokens = input([R], 'u32', 'tokens');
      inputs.push({ tensors: [tokens], values: (slice) => [slice.tokens] });
      x = parallelism.embedding(tape, tokens, param(tableName(config)));
    }
    if (range.first) x = network.start?.(context, x) ?? x;
    if (packed)
      inputs.push({
        tensors: packed.inputs,
        values(slice) {
          if (!slice.rows) throw new InternalError('a packed stage got a microbatch without documents');
          return packed.values(slice.rows);
        },
      });
    for (let layer = range.firstLayer; layer < range.endLayer; layer++) x = network.block(context, layer, x);
    if (range.last) x = network.norm(context, x);
    if (!givesLosses(range)) return { inputs, out: x };
    const targets = input([R], 'i32', 'targets');
    inputs.push({ tensors: [targets], values: (slice) => [slice.targets] });
    const statistics = lossStatistics(tape.recorder, R);
    const head = param(headName(config, range));
    return {
      inputs,
      out: parallelism.loss(tape, x, head, targets, config.vocab, statistics),
      score: {
        tensors: [statistics.rowMax, statistics.targetLogit],
        correct: ([rowMax, targetLogit]) => Array.from(rowMax, (most, r) => targetLogit[r] === most),
      },
    };
  }
}
