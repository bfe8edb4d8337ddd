// What the test command counts in one report of vitest: whatever is not a passed test is a failure, and nothing can
// hide. A skipped test, a file that could not be loaded, an error outside of all tests, a run without tests and a run
// without a report are all failures.

import { stripVTControlCharacters } from 'node:util';

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

export interface TestCount {
  readonly passed: number;
  readonly failed: number;
  /** A line for each failure: where, and the beginning of what it says. */
  readonly failures: readonly string[];
}

/** A failure in a list is for finding it; the whole stands where it happened. */
const MOST_CHARACTERS = 600;

/**
 * @param json vitest's JSON report; undefined if the run left none.
 * @param exitCode of the run; null if it was killed.
 * @param narrowed true if the user chose some files or names: then no test at all is fine, and so are the tests that
 * were not chosen.
 */
export function countReport(json: string | undefined, exitCode: number | null, narrowed: boolean): TestCount {
  const ending = `vitest ended ${exitCode === null ? 'by a signal' : `with ${exitCode}`}`;
  if (json === undefined) return { passed: 0, failed: 1, failures: [`${ending} and left no report`] };
  const { testResults } = JSON.parse(json) as Report;
  const failures: string[] = [];
  let passed = 0;
  for (const { name, status, message, assertionResults } of testResults) {
    const before = failures.length;
    for (const test of assertionResults) {
      if (test.status === 'passed') passed++;
      else if (test.status === 'failed') failures.push(line(`${name} > ${test.fullName}`, test.failureMessages?.[0]));
      else if (!narrowed) failures.push(line(`${name} > ${test.fullName}`, 'not run, counted as failed'));
    }
    if (status !== 'passed' && failures.length === before)
      failures.push(line(name, message || 'the file could not be run'));
  }
  if (passed + failures.length === 0 && !narrowed) failures.push('ran no test');
  if (exitCode !== 0 && failures.length === 0) failures.push(`${ending} although all its tests passed`);
  return { passed, failed: failures.length, failures };
}

function line(where: string, message = ''): string {
  // What a test says may come from a program that paints.
  return `${where}: ${stripVTControlCharacters(message).replace(/\s+/g, ' ').trim()}`.slice(0, MOST_CHARACTERS);
}
