// A bench as a file: the JSON form of `tabmesh bench kernels --json`, with the contract cases and the tuner's decisions
// beside the results. Reading is strict in what a comparison needs, and silent about what it does not know.

import { FormatError } from '../../base/errors.ts';
import { parseJson, toPlain } from '../../base/json.ts';
import type { BenchResult } from '../../bench/bench-report.ts';
import type { Ceilings } from '../../bench/roofline.ts';
import type { Missing, WorkloadResult } from '../../bench/run.ts';
import type { Decision } from '../../device/tune/certificate.ts';

/** What every bench says of a row, and what only some do. */
export type Row = BenchResult & Partial<Omit<WorkloadResult, keyof BenchResult>>;

export interface Report {
  readonly adapter: string;
  readonly browser: string;
  /** ISO 8601. */
  readonly date: string;
  /** The fragment that repeats it. */
  readonly settings?: string;
  /** How it ended; absent while it runs. */
  readonly end?: 'complete' | 'stopped' | 'lost' | 'failed';
  readonly ceilings: Ceilings | null;
  readonly results: readonly Row[];
  readonly missing: readonly Missing[];
  /** Contract cases of the kernels. */
  readonly cases: readonly BenchResult[];
  readonly decisions: readonly Decision[];
}

export function emptyReport(adapter: string, browser: string, date: string, settings?: string): Report {
  return {
    adapter,
    browser,
    date,
    ...(settings === undefined ? {} : { settings }),
    ceilings: null,
    results: [],
    missing: [],
    cases: [],
    decisions: [],
  };
}

export function isEmpty({ results, cases, missing }: Report): boolean {
  return results.length + cases.length + missing.length === 0;
}

export function formatReport(report: Report): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

const FORMAT = 'saved run';
const HINT = 'choose a file that this page or `tabmesh bench kernels --json` wrote';
const NUMBERS = [
  'gbps',
  'roofline',
  'minMs',
  'maxMs',
  'firstMs',
  'rounds',
  'runs',
  'ratio',
  'worstError',
  'peakBytes',
] as const;

/** Throws FormatError: where, what was expected, what was there, what to do. */
export function parseReport(text: string): Report {
  let value: unknown;
  try {
    value = toPlain(parseJson(text.trim(), { format: FORMAT, maxDepth: 16 }));
  } catch (error) {
    throw new FormatError(
      FORMAT,
      `expected JSON, ${error instanceof FormatError ? `but ${error.message.replace(`${FORMAT}: `, '')}` : 'got something else'}; ${HINT}`,
    );
  }
  if (!isRecord(value)) throw wrong('the file', 'an object', value);
  const { adapter, browser, date, results, cases = [], settings, ceilings } = value;
  for (const [name, given] of Object.entries({ adapter, browser, date }))
    if (typeof given !== 'string') throw wrong(name, 'a text', given);
  if (!Array.isArray(results)) throw wrong('results', 'a list', results);
  if (!Array.isArray(cases)) throw wrong('cases', 'a list', cases);
  return {
    adapter: adapter as string,
    browser: browser as string,
    date: date as string,
    ...(typeof settings === 'string' ? { settings } : {}),
    results: results.map((row, i) => checkRow(row, `results[${i}]`)),
    cases: cases.map((row, i) => checkRow(row, `cases[${i}]`)),
    missing: [],
    decisions: [],
    ceilings: isCeilings(ceilings) ? ceilings : null,
  };
}

function checkRow(value: unknown, where: string): Row {
  if (!isRecord(value)) throw wrong(where, 'an object', value);
  for (const name of ['workload', 'shape', 'library'])
    if (typeof value[name] !== 'string') throw wrong(`${where}.${name}`, 'a text', value[name]);
  if (!(typeof value['medianMs'] === 'number' && value['medianMs'] > 0))
    throw wrong(`${where}.medianMs`, 'milliseconds above 0', value['medianMs']);
  if (!(typeof value['gflops'] === 'number' && value['gflops'] >= 0))
    throw wrong(`${where}.gflops`, 'a number of at least 0', value['gflops']);
  if (typeof value['correct'] !== 'boolean') throw wrong(`${where}.correct`, 'true or false', value['correct']);
  for (const name of NUMBERS)
    if (!(value[name] === undefined || value[name] === null || typeof value[name] === 'number'))
      throw wrong(`${where}.${name}`, 'a number', value[name]);
  return value as unknown as Row;
}

function isCeilings(value: unknown): value is Ceilings {
  return (
    isRecord(value) &&
    typeof value['peakGflops'] === 'number' &&
    isRecord(value['bandwidth']) &&
    Object.values(value['bandwidth']).every((n) => typeof n === 'number')
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrong(where: string, expected: string, got: unknown): FormatError {
  const shown = got === undefined ? 'nothing' : JSON.stringify(got).slice(0, 60);
  return new FormatError(FORMAT, `at ${where}: expected ${expected}, got ${shown}; ${HINT}`);
}
