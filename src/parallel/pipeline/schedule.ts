// A pipeline schedule is data: for each rank the ordered list of its actions. Sends, receives, validation, picture,
// bubble and memory are derived from the lists (execute.ts runs them, simulate.ts times them). A schedule is one file
// in schedules/ that exports `schedule`.

/**
 * F forward, B backward for the input, W backward for the weights (fused into B unless the schedule splits them), S and
 * T vocabulary passes.
 */
export type ActionKind = 'F' | 'B' | 'W' | 'S' | 'T';

export interface Action {
  readonly kind: ActionKind;
  readonly stage: number;
  readonly microbatch: number;
}

export interface PipelineShape {
  /** Pipeline ranks p. */
  readonly ranks: number;
  /** Model chunks per rank v; stages = ranks * chunks. */
  readonly chunks: number;
  /** Microbatches m per step. */
  readonly microbatches: number;
}

export interface Schedule {
  readonly name: string;
  /** True if W actions are listed apart from B. */
  readonly splitsWeights: boolean;
  /** Throws LayoutError when the shape is not supported, saying which are. */
  check?(shape: PipelineShape): void;
  /** The stage that chunk `chunk` of `rank` holds; stage 0 has the embedding, the last one the loss. */
  stageOf(rank: number, chunk: number, shape: PipelineShape): number;
  /** The actions of one rank in order, for one step. */
  actions(rank: number, shape: PipelineShape): readonly Action[];
}
