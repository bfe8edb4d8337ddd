// What a device proved about itself before it trained: which variants it checked against the references and how wrong
// they were, which it refused and why, and what it measured to choose between them. Plain data, so that a worker can
// post it and a file can keep it.

import type { Constants, Params } from '../kernel.ts';

/** A variant with its tunable constants. */
export interface Picked {
  readonly variant: string;
  readonly constants: Constants;
}

export interface Check extends Picked {
  readonly kernel: string;
  readonly params: Params;
  /** Worst error in units of what the kernel's tolerance allows; at most 1. */
  readonly error: number;
  /**
   * `plan`: on a launch of the plan; `case`: on a case of the kernel's contract; `remembered`: passed before on this
   * adapter, browser and source.
   */
  readonly how: 'plan' | 'case' | 'remembered';
}

export interface Refusal extends Picked {
  readonly kernel: string;
  readonly params: Params;
  readonly reason: string;
}

export interface Unchecked extends Picked {
  readonly kernel: string;
  readonly reason: string;
}

export interface Candidate extends Picked {
  /** One launch, by the clock that decided. */
  readonly medianMs: number;
  /**
   * Its time over the default's, from turns taken side by side; the medians of two candidates may come from different
   * moments of a busy machine.
   */
  readonly relative: number;
  /** (largest - smallest sample) / median. */
  readonly spread: number;
  readonly clock: 'gpu' | 'wall';
  readonly samples: number;
  /** It was so slow in one run that it was not measured further. */
  readonly abandoned?: boolean;
}

export interface Decision extends Picked {
  readonly kernel: string;
  readonly shapeClass: string;
  /** The launch that was measured. */
  readonly params: Params;
  /** What would run without measuring. */
  readonly default: Picked;
  readonly candidates: readonly Candidate[];
  readonly refused: readonly Refusal[];
  /** Nothing was measured this time. */
  readonly remembered: boolean;
  /** Every candidate was tried; otherwise the next start goes on. */
  readonly complete: boolean;
}

export interface Certificate {
  /** Adapter, features and browser; what is remembered belongs to them. */
  readonly adapter: string;
  /** Distinct launches of the plans so far. */
  readonly launches: number;
  readonly checks: readonly Check[];
  readonly unchecked: readonly Unchecked[];
  readonly refused: readonly Refusal[];
  readonly decisions: readonly Decision[];
  /** Both without the time of pipelines that the plans compile anyway. */
  readonly checkMs: number;
  readonly tuneMs: number;
  /** What went wrong without harm, in sentences. */
  readonly notes: readonly string[];
}

/** One line for a progress display. */
export function summary({ checks, unchecked, refused, decisions, checkMs, tuneMs }: Certificate): string {
  const worst = checks.reduce((most, { error }) => Math.max(most, error), 0);
  const measured = decisions.filter(({ remembered }) => !remembered).length;
  const parts = [`qualified ${checks.length} kernel variants (worst error ${worst.toPrecision(2)} of the tolerance)`];
  if (unchecked.length) parts.push(`${unchecked.length} not checked in time`);
  if (refused.length) parts.push(`refused ${refused.length}`);
  if (measured) parts.push(`tuned ${measured} shapes`);
  if (decisions.length > measured) parts.push(`${decisions.length - measured} remembered`);
  return `${parts.join(', ')} in ${((checkMs + tuneMs) / 1000).toFixed(1)} s`;
}

export function formatPicked({ variant, constants }: Picked): string {
  const values = Object.entries(constants).map(([name, value]) => `${name} ${value}`);
  return values.length ? `${variant} (${values.join(', ')})` : variant;
}

export function samePick(a: Picked, b: Picked): boolean {
  return formatPicked(a) === formatPicked(b);
}

/** What was measured of `picked`; undefined if nothing was. */
export function measuredOf({ candidates }: Decision, picked: Picked): Candidate | undefined {
  return candidates.find((candidate) => samePick(candidate, picked));
}

/** Why a choice was made, in sentences. */
export function explain(decision: Decision): string {
  const { kernel, candidates, refused } = decision;
  const [chosen, preset] = [measuredOf(decision, decision), measuredOf(decision, decision.default)];
  const ms = (candidate: Candidate | undefined, medianMs = candidate?.medianMs): string =>
    candidate && medianMs
      ? `${medianMs.toPrecision(3)} ms by the ${candidate.clock === 'gpu' ? "GPU's timestamps" : 'wall clock'}`
      : 'not measured';
  const sentences = [
    samePick(decision, decision.default)
      ? `${kernel} keeps ${formatPicked(decision)}, the default (${ms(chosen)}): nothing of ${candidates.length} measured was at least 3 % faster.`
      : `${kernel} takes ${formatPicked(decision)} (${ms(chosen)}) instead of ${formatPicked(decision.default)} (${ms(preset, chosen && chosen.medianMs / chosen.relative)})${chosen && preset ? `: ${(1 / chosen.relative).toFixed(2)} times as fast` : ''}.`,
  ];
  for (const { variant, constants, reason } of refused)
    sentences.push(`${formatPicked({ variant, constants })} was refused: ${reason}.`);
  if (!decision.complete)
    sentences.push('The time was over before all candidates were measured; the next start goes on.');
  return sentences.join(' ');
}
