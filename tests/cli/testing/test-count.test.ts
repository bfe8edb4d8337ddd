import { describe, expect, it } from 'vitest';
import { countReport } from '../../../src/cli/testing/test-count.ts';

const file = (status: string, ...tests: string[]) => ({
  name: 'a.test.ts',
  status,
  message: 'Error: boom\nat x',
  assertionResults: tests.map((s, i) => ({
    fullName: `test ${i}`,
    status: s,
    failureMessages: s === 'failed' ? ['\u001b[31mError\u001b[39m: expected 1\n  at y'] : [],
  })),
});
const count = (files: object[], exitCode: number | null = 0, narrowed = false) =>
  countReport(JSON.stringify({ testResults: files }), exitCode, narrowed);

describe('countReport', () => {
  it('counts passed and failed tests', () => {
    expect(count([file('passed', 'passed', 'passed'), file('failed', 'passed', 'failed')], 1)).toEqual({
      passed: 3,
      failed: 1,
      failures: ['a.test.ts > test 1: Error: expected 1 at y'],
    });
  });
  it('counts skipped and todo tests as failed and names them', () => {
    const { passed, failed, failures } = count([file('passed', 'passed', 'skipped', 'todo')]);
    expect({ passed, failed }).toEqual({ passed: 1, failed: 2 });
    expect(failures).toEqual([
      'a.test.ts > test 1: not run, counted as failed',
      'a.test.ts > test 2: not run, counted as failed',
    ]);
  });
  it('passes over the tests that were not chosen in a narrowed run, but not over a failed set-up', () => {
    expect(count([file('passed', 'passed', 'skipped')], 0, true)).toEqual({ passed: 1, failed: 0, failures: [] });
    expect(count([file('failed', 'skipped', 'skipped')], 1, true)).toMatchObject({ passed: 0, failed: 1 });
  });
  it('counts a file that could not be loaded', () => {
    expect(count([file('failed'), file('passed', 'passed')], 1)).toEqual({
      passed: 1,
      failed: 1,
      failures: ['a.test.ts: Error: boom at x'],
    });
  });
  it('counts an error outside of tests, seen only in the exit code', () => {
    expect(count([file('passed', 'passed')], 1)).toMatchObject({ passed: 1, failed: 1 });
    expect(count([file('passed', 'passed')], null)).toMatchObject({ passed: 1, failed: 1 });
  });
  it('counts an empty run as a failure unless the user narrowed it', () => {
    expect(count([])).toMatchObject({ passed: 0, failed: 1, failures: ['ran no test'] });
    expect(count([], 0, true)).toMatchObject({ passed: 0, failed: 0 });
  });
  it('counts a run that left no report', () => {
    expect(countReport(undefined, null, true)).toMatchObject({ passed: 0, failed: 1 });
  });
});
