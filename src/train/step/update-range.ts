// Whether an AdamW update stays within f32, from numbers that all ranks know before it begins: so an update that would
// not is refused before it overwrites anything. With |g| <= G (gradient times scale), |m| <= M, v <= 2^122, |w| <=
// 2^100 before (adamw.ts flags what is beyond):
// v' <= max(v, G^2), |m'| <= max(M, G), |w'| <= |w| |1 - lr decay| + lr |m'| / bias1 / eps. Every intermediate of the
// kernel is one of these, or smaller.

import type { AdamHyper } from '../optimizer.ts';

const MOST = 2 ** 125;
const MOST_G = 2 ** 60;
/** The smallest normal f32; below it a GPU may take 0. */
const LEAST = 2 ** -126;

export interface UpdateNumbers {
  /** Largest |gradient| of the model, as summed. */
  readonly largest: number;
  /** What it is multiplied by: 1 / tokens, times the clipping factor. */
  readonly scale: number;
  /** A bound of |m| over all ranks. */
  readonly moment: number;
  /** Updates done, this one included. */
  readonly t: number;
  readonly lr: number;
  readonly hyper: AdamHyper;
}

/**
 * Why the update cannot be made: `gradient` where the gradients are too large, `setting` where it is the learning rate
 * or AdamW's settings.
 */
export function updateProblem({
  largest,
  scale,
  moment,
  t,
  lr,
  hyper: {
    betas: [beta1],
    eps,
    weightDecay,
  },
}: UpdateNumbers): { readonly kind: 'gradient' | 'setting'; readonly text: string } | undefined {
  if (!(Number.isFinite(lr) && lr >= 0))
    return { kind: 'setting', text: `lr: expected a number of at least 0, got ${lr}` };
  const g = largest * scale;
  if (scale < LEAST)
    return {
      kind: 'gradient',
      text: `gradients of ${show(largest)} are too large to be scaled in f32 (by ${show(scale)})`,
    };
  if (g > MOST_G)
    return {
      kind: 'gradient',
      text: `gradients of ${show(g)} are too large: their squares leave f32; clip them (gradClip)`,
    };
  const ratio = Math.max(moment, g) / (1 - beta1 ** t) / eps;
  if (ratio > MOST || lr * ratio > 2 ** 100)
    return {
      kind: 'setting',
      text: `lr ${show(lr)} with eps ${show(eps)}: an update of gradients of ${show(g)} could leave f32; use a smaller lr or a larger eps`,
    };
  if (Math.abs(1 - lr * weightDecay) > 2 ** 20)
    return {
      kind: 'setting',
      text: `lr ${show(lr)} with weightDecay ${show(weightDecay)}: the decay multiplies weights by ${show(1 - lr * weightDecay)}; use smaller ones`,
    };
  return undefined;
}

function show(value: number): string {
  return value.toPrecision(3);
}
