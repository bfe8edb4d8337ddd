// A pipeline schedule is data: for each rank the ordered list of its actions. Sends, receives, slots, validation,
// picture, bubble and memory are derived from the lists and the table of passes (passes.ts): execute.ts runs them,
// simulate.ts times them. A schedule is one file in schedules/ that exports `schedule`.

/**
 * Passes of a microbatch, in the order of its way. IF and IB: input embedding, forward and backward, where all ranks
 * share it; F: forward; S and T: the two halves of a loss whose vocabulary all ranks share; S2: between them, in the
 * naive form, the sums that wait for the row maxima of all ranks; R: the forward again, to have what B needs
 * (re-materialisation); B: backward for the input; W: backward for the weights (part of B in a schedule without W).
 */
export const PASS_KINDS = ['IF', 'F', 'S', 'S2', 'T', 'R', 'B', 'W', 'IB'] as const;
export type PassKind = (typeof PASS_KINDS)[number];

/**
 * How the vocabulary lies in the pipeline (Yeung et al. 2025, "Balancing Pipeline Parallelism with Vocabulary
 * Parallelism"). none: the embedding on the first stage, the head on the last; else both over all ranks by rows. naive:
 * three barriers per microbatch; alg1 and alg2: two and one (Vocab-1, Vocab-2); interlaced: all ranks stop for the head
 * of a microbatch at the same time, the baseline of the paper.
 */
export const VOCABULARY_FORMS = ['none', 'naive', 'alg1', 'alg2', 'interlaced'] as const;
export type VocabularyForm = (typeof VOCABULARY_FORMS)[number];
/** A form in which all ranks share the vocabulary. */
export type SharedForm = Exclude<VocabularyForm, 'none'>;

export interface Action {
  readonly kind: PassKind;
  readonly stage: number;
  readonly microbatch: number;
}

export interface PipelineShape {
  /** Pipeline ranks p. */
  readonly ranks: number;
  /** Model chunks per rank v; stages of blocks = ranks * chunks. */
  readonly chunks: number;
  /** Microbatches m per step. */
  readonly microbatches: number;
  /** Microbatches that go through a chunk together, in a schedule with groups; it chooses if absent. */
  readonly group?: number;
}

export interface Schedule {
  readonly name: string;
  /** Chunks per rank where none are asked for; 1 if absent. */
  readonly defaultChunks?: number;
  /** The passes that its lists have. With IF or S, all ranks host a stage of its own for the embedding or the head. */
  readonly passes: readonly PassKind[];
  /**
   * With S and T: whose results on all ranks give the gradient of the last blocks. 'T' has two barriers per microbatch,
   * 'S' one (Vocab-1 and Vocab-2 of Yeung et al. 2025, "Balancing Pipeline Parallelism with Vocabulary Parallelism").
   */
  readonly headGradient?: 'S' | 'T';
  /** The form of the vocabulary that its lists have passes for; none if absent. */
  readonly vocabulary?: VocabularyForm;
  /**
   * The same schedule with the passes of a form; undefined if it has none such. Absent: they are put between the
   * actions that it has (vocabulary/around.ts).
   */
  withVocabulary?(form: SharedForm): Schedule | undefined;
  /** Messages that a channel must hold for the lists not to deadlock, where senders wait for room; 1 if absent. */
  room?(shape: PipelineShape): number;
  /** Throws LayoutError when the shape is not supported, saying which are. */
  check?(shape: PipelineShape): void;
  /**
   * The stage of blocks that chunk `chunk` of `rank` holds; stage 0 has the embedding, the last one the loss, unless
   * all ranks share them.
   */
  stageOf(rank: number, chunk: number, shape: PipelineShape): number;
  /** The actions of one rank in order, for one step. */
  actions(rank: number, shape: PipelineShape): readonly Action[];
}
