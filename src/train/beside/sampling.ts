// The next token from logits [vocab]: softmax(logits / temperature) over the k largest, drawn by inverting the
// cumulative sum with one uniform. Temperature 0 is greedy. Ties go to the smaller id, so equal logits and seed give
// equal text on every machine that has equal logits.

import { ConfigError, ShapeError } from '../../base/errors.ts';

export interface SamplingOptions {
  /** 0 takes the largest logit; default 1. */
  readonly temperature?: number;
  /** Only the k largest logits count; 0 or absent: all. */
  readonly topK?: number;
}

/** `uniform` in [0, 1) decides. ShapeError if no logit is a finite number or one is NaN. */
export function sampleToken(
  logits: ArrayLike<number>,
  { temperature = 1, topK = 0 }: SamplingOptions,
  uniform: number,
): number {
  if (!(temperature >= 0 && Number.isFinite(temperature)))
    throw new ConfigError('temperature', `expected a number of at least 0, got ${temperature}`);
  if (!(Number.isSafeInteger(topK) && topK >= 0))
    throw new ConfigError('topK', `expected a whole number of at least 0, got ${topK}`);
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    if (Number.isNaN(logits[i]!))
      throw new ShapeError(`sampling: logit ${i} of ${logits.length} is NaN; the model has diverged`);
    if (logits[i]! > logits[best]!) best = i;
  }
  const max = logits[best];
  if (max === undefined || !Number.isFinite(max))
    throw new ShapeError(`sampling: the largest of ${logits.length} logits is ${max}; expected a finite number`);
  if (temperature === 0 || topK === 1) return best;

  const ids = topK > 0 && topK < logits.length ? largest(logits, topK) : undefined;
  const count = ids?.length ?? logits.length;
  const weight = (i: number): number => Math.exp((logits[ids ? ids[i]! : i]! - max) / temperature);
  let total = 0;
  for (let i = 0; i < count; i++) total += weight(i);
  let left = uniform * total;
  let last = best;
  for (let i = 0; i < count; i++) {
    const w = weight(i);
    if (w === 0) continue;
    last = ids ? ids[i]! : i;
    left -= w;
    if (left < 0) return last;
  }
  // Rounding can leave a crumb after the last token.
  return last;
}

/** Ids of the k largest logits, ascending. */
function largest(logits: ArrayLike<number>, k: number): Uint32Array {
  return Uint32Array.from({ length: logits.length }, (_, i) => i)
    .sort((a, b) => logits[b]! - logits[a]! || a - b)
    .subarray(0, k)
    .sort();
}
