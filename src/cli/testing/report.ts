// What the test command counts in one report of vitest: whatever is not a passed test is a failure, and nothing can hide. A skipped test, a file that
// could not be loaded, an error outside of all tests, a run without tests and a run without a report are all failures.

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

export interface TestCount { readonly passed: number; readonly failed: number; /** Failures that vitest does not print as such. */ readonly notes: readonly string[] }

/**
 * @param json vitest's JSON report; undefined if the run left none.
 * @param exitCode of the run; null if it was killed.
 * @param narrowed true if the user chose some files or names: then no test at all is fine, and so are the tests that were not chosen.
 */
export function countReport(json: string | undefined, exitCode: number | null, narrowed: boolean): TestCount {
  const ending = `vitest ended ${exitCode === null ? 'by a signal' : `with ${exitCode}`}`;
  if (json === undefined) return { passed: 0, failed: 1, notes: [`${ending} and left no report`] };
  const { testResults } = JSON.parse(json) as Report;
  const notes: string[] = [];
  let passed = 0;
  let failed = 0;
  for (const file of testResults) {
    let failedHere = 0;
    for (const test of file.assertionResults) {
      if (test.status === 'passed') { passed++; continue; }
      if (test.status !== 'failed' && narrowed) continue;
      failedHere++;
      if (test.status !== 'failed') notes.push(`not run, counted as failed: ${test.fullName}`);
    }
    if (file.status !== 'passed' && failedHere === 0) {
      failedHere = 1;
      notes.push(`${file.name}: ${file.message?.split('\n')[0] || 'the file could not be run'}`);
    }
    failed += failedHere;
  }
  if (passed + failed === 0 && !narrowed) {
    failed = 1;
    notes.push('ran no test');
  }
  if (exitCode !== 0 && failed === 0) {
    failed = 1;
    notes.push(`${ending} although all its tests passed`);
  }
  return { passed, failed, notes };
}
