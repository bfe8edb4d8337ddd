// Are a library's numbers right? A sample of each output is computed in f64 and compared at the scale of the sample;
// every other element must at least be finite. Sampling keeps the check of a 50 million element gradient in
// milliseconds; a kernel that is wrong in one tile in a hundred is found with the 64 places that are taken by default
// only by luck, which is why the kernels' contract tests compare everything.

import type { TypedArray } from '../../base/shape.ts';
import { seededU32 } from '../inputs.ts';
import type { Outputs, Verdict } from '../problem.ts';

export const SAMPLES = 64;
/** Of f32 sums of a few thousand terms, relative to the largest expected magnitude of the sample. */
export const TOLERANCE = 1e-4;

/** Expected values of some places of one output. */
export interface Sample {
  readonly length: number;
  readonly at: readonly number[];
  readonly expected: readonly number[];
  readonly tolerance?: number;
}

/** `count` places below `length`, the first and the last among them, none twice. */
export function places(name: string, length: number, count = SAMPLES): number[] {
  const next = seededU32(`places ${name}`);
  const chosen = new Set([0, length - 1]);
  while (chosen.size < Math.min(count, length)) chosen.add(next() % length);
  return [...chosen];
}

/** A sample of an output of `length` elements whose element i is `value(i)` in f64. */
export function sampled(name: string, length: number, value: (i: number) => number, tolerance?: number): Sample {
  const at = places(name, length);
  return { length, at, expected: at.map(value), ...(tolerance === undefined ? {} : { tolerance }) };
}

/** Judges the outputs that there are; `needed` ones must be there. */
export function verify(
  samples: Readonly<Record<string, Sample>>,
  outputs: Outputs,
  needed: readonly string[] = Object.keys(samples),
): Verdict {
  const absent = needed.find((name) => outputs[name] === undefined);
  if (absent !== undefined) return { correct: false, worst: Infinity, text: `${absent} is missing` };
  let worst: Verdict = { correct: true, worst: 0 };
  for (const [name, sample] of Object.entries(samples)) {
    if (outputs[name] === undefined) continue;
    const verdict = verifyOne(name, sample, outputs[name]);
    if (verdict.worst > worst.worst || (!verdict.correct && worst.correct)) worst = verdict;
  }
  return worst;
}

function verifyOne(name: string, { length, at, expected, tolerance = TOLERANCE }: Sample, got: TypedArray): Verdict {
  if (got.length !== length)
    return { correct: false, worst: Infinity, text: `${name} has ${got.length} elements, expected ${length}` };
  const bad = got.findIndex((value: number) => !Number.isFinite(value));
  if (bad >= 0) return { correct: false, worst: Infinity, text: `${name}[${bad}] is ${got[bad]}` };
  const allowed = tolerance * expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  let [worst, where] = [0, 0];
  at.forEach((place, i) => {
    const distance = Math.abs(got[place] - expected[i]);
    const error = distance === 0 ? 0 : distance / allowed;
    if (error > worst) [worst, where] = [error, i];
  });
  if (worst <= 1) return { correct: true, worst };
  return { correct: false, worst, text: `${name}[${at[where]}] is ${got[at[where]]}, expected ${expected[where]}` };
}
