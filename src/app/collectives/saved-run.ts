// The last run of this browser, in localStorage, so that a reload or a crash of the page loses nothing. A storage that
// is full, blocked or holds something else is as good as empty.

import { cellsOf, summarise } from '../../bench/collectives/collectives-report.ts';
import type { CollectivesReport } from '../../bench/collectives/collectives-report.ts';
import type { Kept } from '../shared/kept.ts';

const KEY = 'tabmesh collectives: last run';

export function loadLastRun(kept: Kept): CollectivesReport | undefined {
  try {
    const text = kept().getItem(KEY);
    if (text === null) return undefined;
    const report = JSON.parse(text) as CollectivesReport;
    // An older version of the page may have written other fields: what cannot be shown whole is not shown.
    for (const row of report.results) cellsOf(row);
    summarise(report);
    return typeof report.date === 'string' && typeof report.adapter === 'string' && report.results.length > 0
      ? report
      : undefined;
  } catch {
    return undefined;
  }
}

/** False if it could not be kept. */
export function keepLastRun(kept: Kept, report: CollectivesReport): boolean {
  try {
    kept().setItem(KEY, JSON.stringify(report));
    return true;
  } catch {
    return false;
  }
}
