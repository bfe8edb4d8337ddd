// The weights of a model as its family lists them: each once, with its Hugging Face name and shape, its first value,
// the parameter that holds it, and how ranks divide it. Layouts are those of the files: GPT-2's Conv1D is [in, out]
// and says so, the Linear of Llama and Mixtral is [out, in].

import type { Shape } from '../base/shape.ts';
import type { CommonConfig } from './config.ts';

export type WeightInit =
  { readonly kind: 'normal'; readonly std: number } | { readonly kind: 'zeros' } | { readonly kind: 'ones' };

export const ONES: WeightInit = { kind: 'ones' };
export const ZEROS: WeightInit = { kind: 'zeros' };
export const normal = ({ initStd }: CommonConfig): WeightInit => ({ kind: 'normal', std: initStd });
/**
 * GPT-2's rule: 2 * layers projections add into the residual stream, so each starts smaller by the root of their
 * number.
 */
export const residual = ({ initStd, layers }: CommonConfig): WeightInit => ({
  kind: 'normal',
  std: initStd / Math.sqrt(2 * layers),
});

/**
 * What a tp rank holds of a weight as [out, in]. `whole`: all of it, as the others do. `rows`: its run of the output
 * features; `columns`: of the input features. `vocabulary`: its run of the tokens, padded so that all runs are equal.
 */
export type Cut = 'whole' | 'rows' | 'columns' | 'vocabulary';

export interface WeightSpec {
  /** As the LM-head class saves it, prefix included. */
  readonly name: string;
  readonly shape: Shape;
  readonly init: WeightInit;
  /** Weight decay applies: tensors of 2 or more dimensions, embeddings included. */
  readonly decays: boolean;
}

export interface Weight extends WeightSpec {
  /** The parameter [rows, columns] of a stage that holds it, below what stands before it in the list. */
  readonly param: string;
  readonly cut: Cut;
  /** Stored as [in, out]. */
  readonly transposed?: boolean;
  /** Equal blocks of rows, one below the other, that `rows` cuts each by itself: q, k and v in one. Default 1. */
  readonly blocks?: number;
  /** It belongs to expert `index` of `of`: an ep rank holds whole experts, each as `cut` says. */
  readonly expert?: { readonly index: number; readonly of: number };
}

/** In the order of the network, which is that of the files. */
export interface ModelWeights {
  /** Of the first stage. The first one is the table of the tokens, cut by `vocabulary`. */
  readonly embedding: readonly Weight[];
  layer(index: number): readonly Weight[];
  /** Of the last stage: the last norm and, unless the table is the head too, the head, cut by `vocabulary`. */
  readonly end: readonly Weight[];
}

/** A weight that the parameter `param` holds. */
export function weight(
  param: string,
  name: string,
  shape: Shape,
  init: WeightInit,
  cut: Cut,
  more: Pick<Weight, 'transposed' | 'blocks' | 'expert'> = {},
): Weight {
  return { name, shape, init, decays: shape.length >= 2, param, cut, ...more };
}

/** The output projection of a model whose embedding is not tied to it; else nothing. */
export function headWeight(config: CommonConfig): readonly Weight[] {
  const { vocab, hidden, tied } = config;
  return tied ? [] : [weight('head', 'lm_head.weight', [vocab, hidden], normal(config), 'vocabulary')];
}
