// How a rank's parameters are cut from Hugging Face weights. A parameter is a matrix [rows, cols] (y = x W^T
// everywhere, so [out, in]; vectors have one column) glued from rectangular parts of named weights; GPT-2's Conv1D
// weights are [in, out] and are read transposed. stage-params.ts finds the parts. The same parts put a gathered shard
// back into place when a model is saved.

import type { Shape } from '../base/shape.ts';
import { elements } from '../base/shape.ts';

/**
 * Who else holds these values, which decides how gradients are summed and updates are published. `tensor`: cut over tp.
 * `replicated`: the same on all tp ranks, with the same gradient. `expert`: cut over ep. `tied`: the last stage's copy
 * of the embedding, owned by the first stage.
 */
export type Segment = 'tensor' | 'replicated' | 'expert' | 'tied';

export interface WeightPart {
  readonly weight: string;
  /** First row of the parameter that this part fills, and how many rows; all columns. */
  readonly row: number;
  readonly rows: number;
  /** Where the part begins in the weight, after transposition. */
  readonly sourceRow: number;
  readonly sourceCol: number;
  readonly transposed: boolean;
}

export interface ParamSpec {
  readonly name: string;
  readonly shape: Shape;
  readonly segment: Segment;
  /** AdamW decays it: the Hugging Face weight has two or more dimensions. */
  readonly decays: boolean;
  readonly parts: readonly WeightPart[];
}

/** Whole weights by their names in the files, as stored. */
export type WeightSource = (name: string) => { shape: readonly number[]; data: Float32Array };

/** Layers [firstLayer, endLayer) of the network; `first` has the embedding, `last` the final norm and the head. */
export interface StageRange {
  readonly firstLayer: number;
  readonly endLayer: number;
  readonly first: boolean;
  readonly last: boolean;
  /**
   * All ranks of the pipeline share the tables of the vocabulary, which are no part of a stage then: the first one gets
   * embedded tokens, and the last one gives hidden states.
   */
  readonly sharedVocabulary?: boolean;
}

/** Whether the stage begins with the tokens themselves. */
export function takesTokens({ first, sharedVocabulary = false }: StageRange): boolean {
  return first && !sharedVocabulary;
}

/** Whether the stage ends with the row losses. */
export function givesLosses({ last, sharedVocabulary = false }: StageRange): boolean {
  return last && !sharedVocabulary;
}

/** Stage `index` of `stages`: layers dealt as evenly as possible, the earlier stages get the shorter share. */
export function stageRange(index: number, stages: number, layers: number, sharedVocabulary = false): StageRange {
  return {
    firstLayer: Math.floor((index * layers) / stages),
    endLayer: Math.floor(((index + 1) * layers) / stages),
    first: index === 0,
    last: index === stages - 1,
    ...(sharedVocabulary ? { sharedVocabulary } : {}),
  };
}

/** Rows per vocabulary shard, padded up so that all shards are equal. */
export function vocabRows(vocab: number, tp: number): number {
  return Math.ceil(vocab / tp);
}

function columns(spec: ParamSpec): number {
  return spec.shape.length === 1 ? 1 : spec.shape[spec.shape.length - 1];
}

/**
 * Copies the parts of `spec` out of whole weights (row-major, as stored) into `into`, which has the parameter's size.
 */
export function readParts(
  spec: ParamSpec,
  weights: (name: string) => { shape: Shape; data: Float32Array },
  into: Float32Array,
): void {
  forEachRun(spec, weights, (data, from, step, to, count) => {
    if (step === 1) into.set(data.subarray(from, from + count), to);
    else for (let i = 0; i < count; i++) into[to + i] = data[from + i * step];
  });
}

/** The inverse of readParts: writes this shard into whole weights. */
export function writeParts(
  spec: ParamSpec,
  values: Float32Array,
  weights: (name: string) => { shape: Shape; data: Float32Array },
): void {
  forEachRun(spec, weights, (data, from, step, to, count) => {
    for (let i = 0; i < count; i++) data[from + i * step] = values[to + i];
  });
}

function forEachRun(
  spec: ParamSpec,
  weights: (name: string) => { shape: Shape; data: Float32Array },
  visit: (data: Float32Array, from: number, step: number, to: number, count: number) => void,
): void {
  const cols = columns(spec);
  for (const part of spec.parts) {
    const { shape, data } = weights(part.weight);
    const width = shape.length === 1 ? 1 : elements(shape.slice(1));
    for (let i = 0; i < part.rows; i++) {
      const to = (part.row + i) * cols;
      const row = part.sourceRow + i;
      if (part.transposed) visit(data, part.sourceCol * width + row, width, to, cols);
      else visit(data, row * width + part.sourceCol, 1, to, cols);
    }
  }
}
