// The forms in which all ranks share the vocabulary: the passes of the head, and how many barriers a microbatch meets
// between F and B of the last stage. Source: Yeung et al. 2025, "Balancing Pipeline Parallelism with Vocabulary
// Parallelism", section 4: the naive form, algorithms 1 and 2, and the interlaced pipeline of section 2.

import type { PassKind, Schedule, SharedForm } from '../schedule.ts';

export interface Form {
  /** Passes of the head in the order of a microbatch's way; each waits for the one before it on all ranks. */
  readonly head: readonly PassKind[];
  /** The pass whose results on all ranks give the gradient of the last blocks. */
  readonly headGradient: NonNullable<Schedule['headGradient']>;
  /** Barriers per microbatch: intervals between F and B of the last stage. */
  readonly barriers: number;
}

export const FORMS: Readonly<Record<SharedForm, Form>> = {
  naive: { head: ['S', 'S2', 'T'], headGradient: 'T', barriers: 3 },
  alg1: { head: ['S', 'T'], headGradient: 'T', barriers: 2 },
  alg2: { head: ['S', 'T'], headGradient: 'S', barriers: 1 },
  interlaced: { head: ['S', 'T'], headGradient: 'T', barriers: 2 },
};

/** `base` with the passes of a vocabulary that all ranks share; its lists are those of `actions`. */
export function inForm(base: Schedule, form: SharedForm, actions: Schedule['actions']): Schedule {
  const { head, headGradient } = FORMS[form];
  const passes: PassKind[] = ['IF', 'F', ...head, ...base.passes.filter((kind) => kind !== 'F'), 'IB'];
  return { ...base, passes, headGradient, vocabulary: form, withVocabulary: undefined, actions };
}
