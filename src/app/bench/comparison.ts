// A run beside a saved one: for every row that both have, how many times as long it takes now. Different adapters or
// browsers are said, not refused: the comparison of two machines is a question too.

import { median } from '../../bench/bench-report.ts';
import { geometricMean } from '../../bench/turns.ts';
import { spreadOf } from './numbers.ts';
import type { Report, Row } from './bench-file.ts';

export interface ComparedRow {
  readonly workload: string;
  readonly shape: string;
  readonly library: string;
  readonly beforeMs: number;
  readonly nowMs: number;
  /** now / before; below 1 is faster. */ readonly ratio: number;
  readonly correct: boolean;
  /** How far apart the rounds of either run were, as a share of their median. */ readonly spread: number;
}

export type Verdict = 'faster' | 'as fast' | 'slower';

export interface Comparison {
  readonly rows: readonly ComparedRow[];
  /** The same for the contract cases. */
  readonly cases: readonly ComparedRow[];
  /** Geometric mean of the ratios of each library over rows that are right in both. */
  readonly means: readonly {
    readonly library: string;
    readonly ratio: number;
    readonly rows: number;
    readonly verdict: Verdict;
  }[];
  /** The same over the contract cases that are right in both; undefined without any. */
  readonly casesMean: number | undefined;
  /** What makes the two runs hard to compare, in sentences. */
  readonly differences: readonly string[];
  /** Rows that only one of the two has. */
  readonly unmatched: { readonly now: number; readonly before: number };
}

export function rowKey({ workload, shape, library }: Pick<Row, 'workload' | 'shape' | 'library'>): string {
  return [workload, shape, library].join(' | ');
}

export function compareRows(now: Report, before: Report): Comparison {
  const rows = match(now.results, before.results);
  const cases = match(now.cases, before.cases);
  const fair = rows.filter(({ correct }) => correct);
  const fairCases = cases.filter(({ correct }) => correct);
  const libraries = [...new Set(fair.map(({ library }) => library))];
  const differences = (['adapter', 'browser'] as const)
    .filter((name) => now[name] !== before[name])
    .map(
      (name) =>
        `The ${name} is another one: ${now[name] || 'unknown'} now, ${before[name] || 'unknown'} in the saved run.`,
    );
  return {
    rows,
    cases,
    differences,
    casesMean: fairCases.length ? geometricMean(fairCases.map(({ ratio }) => ratio)) : undefined,
    means: libraries.map((library) => {
      const own = fair.filter((row) => row.library === library);
      const ratio = geometricMean(own.map((row) => row.ratio));
      return { library, ratio, rows: own.length, verdict: verdictOf(ratio, median(own.map(({ spread }) => spread))) };
    }),
    unmatched: {
      now: now.results.length + now.cases.length - rows.length - cases.length,
      before: before.results.length + before.cases.length - rows.length - cases.length,
    },
  };
}

/** Less than this is nobody's merit: two runs of one build on a quiet machine differ as much. */
const EQUAL = 0.03;

/**
 * @param ratio of times, ours to the other's. @param spread a difference within that of the rounds themselves says
 * nothing.
 */
export function verdictOf(ratio: number, spread = 0): Verdict {
  const margin = 1 + Math.max(EQUAL, spread);
  return ratio > margin ? 'slower' : ratio < 1 / margin ? 'faster' : 'as fast';
}

/** Rows of the same workload, shape and library. */
function match(now: readonly Row[], before: readonly Row[]): readonly ComparedRow[] {
  const saved = new Map(before.map((row) => [rowKey(row), row]));
  return now.flatMap((row): ComparedRow[] => {
    const old = saved.get(rowKey(row));
    if (!old) return [];
    const { workload, shape, library, medianMs, correct } = row;
    return [
      {
        workload,
        shape,
        library,
        beforeMs: old.medianMs,
        nowMs: medianMs,
        ratio: medianMs / old.medianMs,
        correct: correct && old.correct,
        spread: Math.max(spreadOf(row) ?? 0, spreadOf(old) ?? 0),
      },
    ];
  });
}
