// The learning rate of step s (0-based): a constant, a list with one value per step, or linear warm-up to a peak and
// then cosine or linear decay to a floor. Warm-up of w steps gives peak (s + 1) / w at step s < w, so that step 0
// already moves; the floor is reached at the last step. Source of the cosine: Loshchilov and Hutter 2017, without
// restarts.

import { ConfigError } from '../base/errors.ts';

export interface WarmupDecay {
  readonly peak: number;
  readonly warmupSteps: number;
  readonly decay: 'cosine' | 'linear' | 'none';
  readonly floor: number;
}
export type LearningRate = number | readonly number[] | WarmupDecay;

/** `steps` is the length of the whole run. */
export function learningRateAt(rate: LearningRate, step: number, steps: number): number {
  if (typeof rate === 'number') return rate;
  if (isList(rate)) {
    const value = rate[step];
    if (value === undefined)
      throw new ConfigError('lr', `the list has ${rate.length} values, but step ${step} needs one`);
    return value;
  }
  const { peak, warmupSteps, decay, floor } = rate;
  if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
  if (decay === 'none') return peak;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, steps - 1 - warmupSteps));
  const share = decay === 'cosine' ? (1 + Math.cos(Math.PI * progress)) / 2 : 1 - progress;
  return floor + (peak - floor) * share;
}

/** ConfigError unless every step of the run has a finite rate of at least 0. */
export function checkLearningRate(rate: LearningRate, steps: number): void {
  const check = (name: string, value: number): void => {
    if (!(Number.isFinite(value) && value >= 0))
      throw new ConfigError(name, `expected a number of at least 0, got ${value}`);
  };
  if (typeof rate === 'number') return check('lr', rate);
  if (isList(rate)) {
    if (rate.length < steps)
      throw new ConfigError('lr', `the list has ${rate.length} values, but the run has ${steps} steps`);
    return rate.forEach((value, i) => check(`lr[${i}]`, value));
  }
  check('lr', rate.peak);
  check('minLr', rate.floor);
  if (rate.floor > rate.peak) throw new ConfigError('minLr', `expected at most lr ${rate.peak}, got ${rate.floor}`);
  if (!(Number.isSafeInteger(rate.warmupSteps) && rate.warmupSteps >= 0 && rate.warmupSteps <= steps))
    throw new ConfigError('warmup', `expected 0 to ${steps} steps, got ${rate.warmupSteps}`);
}

function isList(rate: LearningRate): rate is readonly number[] {
  return Array.isArray(rate);
}
