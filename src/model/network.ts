// The forward of a family in three pieces that a stage strings together.

import type { Param, Tensor } from '../device/tensor.ts';
import type { Tape } from '../ops/tape.ts';
import type { CommonConfig, ModelConfig } from './config.ts';
import type { Parallelism } from './parallelism.ts';
import type { RowTensors } from './language/row-tensors.ts';

/** Everything a network needs while it records one stage: B rows of T local tokens; R = B * T. */
export interface NetworkContext<C extends CommonConfig = ModelConfig> extends RowTensors {
  readonly tape: Tape;
  readonly config: C;
  readonly parallelism: Parallelism;
  readonly B: number;
  readonly T: number;
  param(name: string): Param;
}

export interface Network<C extends CommonConfig = ModelConfig> {
  /** Rows of the tokens' table [R, hidden] -> what the first layer takes [R, hidden]: absent where that is the same. */
  start?(c: NetworkContext<C>, x: Tensor): Tensor;
  /** Layer `layer`: [R, hidden] -> [R, hidden]. */
  block(c: NetworkContext<C>, layer: number, x: Tensor): Tensor;
  /** Final norm: [R, hidden] -> [R, hidden]. */
  norm(c: NetworkContext<C>, x: Tensor): Tensor;
}
