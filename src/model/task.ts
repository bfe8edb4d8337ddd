// What a stage computes: a task records it. The stage owns buffers, plans and slots, and knows neither tokens nor
// losses; language modelling (language-stage.ts) is one task among others. A task as a whole, with its batches, is in
// train/tasks/.

import type { DType, Shape, TypedArray } from '../base/shape.ts';
import type { Param, Tensor } from '../device/tensor.ts';
import type { Tape } from '../ops/tape.ts';
import type { ParamSpec, StageRange } from './param-spec.ts';

/** One stage on one rank, while it is recorded. */
export interface StageScene {
  /** Of the forward; the stage records its backward from it. */
  readonly tape: Tape;
  readonly range: StageRange;
  /** f32, of the task's `between`: what the stage before gives; undefined where the stage takes tokens. */
  readonly received: Tensor | undefined;
  param(name: string): Param;
  /** A tensor that every microbatch fills before the forward. */
  input(shape: Shape, dtype: DType, label: string): Tensor;
  /** A tensor that holds `data` as long as the stage lives. */
  constant(label: string, shape: Shape, data: TypedArray): Tensor;
}

/** M: what a task makes of one microbatch for its stages. */
export interface StageRecording<M> {
  /** What a microbatch brings to this stage: the contents of `tensors`, in their order. */
  readonly inputs: readonly { readonly tensors: readonly Tensor[]; values(microbatch: M): readonly TypedArray[] }[];
  /** f32, for the next stage and of the task's `between`; where the stage gives losses those of the rows [R]. */
  readonly out: Tensor;
  /** Where the stage gives losses, and the task can be right or wrong about a row. */
  readonly score?: {
    /** f32, read beside the row losses when somebody wants to know. */
    readonly tensors: readonly Tensor[];
    /** By row, from their contents; of a row whose loss does not count anything. */
    correct(contents: readonly Float32Array[]): readonly boolean[];
  };
}

/** A task on one rank: rows R per microbatch that do not change. */
export interface StageTask<M> {
  /** Of what travels between two stages for one microbatch: [R, width]. */
  readonly between: Shape;
  /** Parameters of a stage on this rank. */
  params(range: StageRange): readonly ParamSpec[];
  record(scene: StageScene): StageRecording<M>;
}
