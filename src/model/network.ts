// What a family of networks provides: its parameters per stage, and its forward in three pieces that a stage strings
// together.

import type { Param, Tensor } from '../device/tensor.ts';
import type { Tape } from '../ops/tape.ts';
import type { ModelConfig } from './config.ts';
import type { Parallelism, ShardPlace } from './parallelism.ts';
import type { ParamSpec, StageRange } from './param-spec.ts';
import type { RowTensors } from './row-tensors.ts';

/** Everything a network needs while it records one stage: B rows of T local tokens; R = B * T. */
export interface NetworkContext extends RowTensors {
  readonly tape: Tape;
  readonly config: ModelConfig;
  readonly parallelism: Parallelism;
  readonly B: number;
  readonly T: number;
  param(name: string): Param;
}

export interface Network {
  /** Parameters of one stage on one rank. */
  params(config: ModelConfig, range: StageRange, place: ShardPlace): readonly ParamSpec[];
  /** Token ids u32 [R] -> [R, hidden]. */
  embed(c: NetworkContext, ids: Tensor): Tensor;
  /** Layer `layer`: [R, hidden] -> [R, hidden]. */
  block(c: NetworkContext, layer: number, x: Tensor): Tensor;
  /** Final norm: [R, hidden] -> [R, hidden]. */
  norm(c: NetworkContext, x: Tensor): Tensor;
  /** Name of the parameter that holds the head's rows on a stage. */
  headName(config: ModelConfig, range: StageRange): string;
}
