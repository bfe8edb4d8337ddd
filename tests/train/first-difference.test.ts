// The comparison that the tests of layouts stand on: it finds what differs, and never agrees because there was nothing
// to compare.

import { expect, test } from 'vitest';
import { firstDifference } from '../support/local-run.ts';

const tensors = (entries: Readonly<Record<string, readonly number[]>>): Map<string, Float32Array> =>
  new Map(Object.entries(entries).map(([name, values]) => [name, Float32Array.from(values)]));
const want = { a: [1, -4], b: [2] };

test.each<
  [string, Readonly<Record<string, readonly number[]>>, Readonly<Record<string, readonly number[]>>, RegExp | undefined]
>([
  ['the same', want, want, undefined],
  ['within the share of the largest', { a: [1.03, -4], b: [2] }, want, undefined],
  ['beyond it', { a: [1.05, -4], b: [2] }, want, /^a\[0\]: 1\.0\d+, expected 1 /],
  ['no number', { a: [1, NaN], b: [2] }, want, /^a\[1\]: NaN/],
  ['a tensor that is missing', { a: [1, -4] }, want, /^b: no elements, expected 1/],
  ['another size', { a: [1], b: [2] }, want, /^a: 1 elements, expected 2/],
  ['a tensor too many', { ...want, c: [0] }, want, /^c: got a tensor/],
  ['nothing expected', want, {}, /^no tensors are expected/],
  ['nothing at all', {}, {}, /^no tensors are expected/],
  ['a tensor without elements', { a: [] }, { a: [] }, /^a: no elements are expected/],
])('%s', (_, got, expected, sentence) => {
  const difference = firstDifference(tensors(got), tensors(expected), 0.01);
  if (sentence) expect(difference).toMatch(sentence);
  else expect(difference).toBeUndefined();
});
