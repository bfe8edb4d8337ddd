// What a bench says: a row per workload, shape and library, under the adapter and browser that it ran on. The JSON form
// has the same fields.

import { namelessAdapter, userAgent } from '../base/gpu-advice.ts';
import type { AdapterInfo } from '../device/device.ts';

export interface BenchResult {
  readonly workload: string;
  readonly shape: string;
  readonly library: string;
  readonly medianMs: number;
  /** Useful floating-point operations per second, in 10^9; every library is credited the same count. */
  readonly gflops: number;
  readonly correct: boolean;
  /** WebAssembly: threads that computed. */
  readonly threads?: number;
}

/** 'tabmesh 1, tfjs 1', in order of appearance; undefined where threads mean nothing. */
export function threadsLine(results: readonly BenchResult[]): string | undefined {
  const known = new Map(results.flatMap(({ library, threads }) => (threads === undefined ? [] : [[library, threads]])));
  return known.size ? [...known].map(([library, threads]) => `${library} ${threads}`).join(', ') : undefined;
}

/** What a backend finds out; where and when are added by the command. */
export interface Measured<R extends BenchResult = BenchResult> {
  readonly adapter: string;
  readonly results: readonly R[];
}

export interface BenchReport<R extends BenchResult = BenchResult> extends Measured<R> {
  readonly browser: string;
  readonly date: string;
}

export function describeAdapter({ vendor, architecture, description, software }: AdapterInfo): string {
  return `${[vendor, architecture, description].filter(Boolean).join(' ') || namelessAdapter(userAgent())}${software ? ' (software)' : ''}`;
}

/** The middle of the sorted values, or the mean of the two middle ones; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length / 2;
  return (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
}

/** Lines of a table; `align` has an `l` or `r` per column. */
export function table(align: string, header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)));
  return [header, ...rows].map((row) =>
    row
      .map((cell, column) => (align[column] === 'l' ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join('  ')
      .trimEnd(),
  );
}
