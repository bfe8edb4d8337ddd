// `npm test` runs a sample of what is exhaustive: the ways to fail, the pairs of browsers, the inputs of a fuzzer. `npm
// run test:all` runs them all.

import { test } from 'vitest';

/** Whether everything was asked for. */
export const ALL = import.meta.env['TABMESH_TEST_ALL'] === '1';

/** All of `cases`, or the first `count` of them: the most telling stand first. */
export function sample<T>(cases: readonly T[], count: number): readonly T[] {
  return ALL ? cases : cases.slice(0, count);
}

/** A test of something that another test shows too, in another way. */
export function alsoTest(name: string, body: () => Promise<void>): void {
  if (ALL) test(name, body);
}
