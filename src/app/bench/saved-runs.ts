// The last run of this browser, in localStorage: what the next one is compared with after a driver or browser update. A
// storage that is full, blocked or holds something else is as good as empty.

import { formatReport, parseReport } from './bench-file.ts';
import type { Report } from './bench-file.ts';

const KEY = 'tabmesh bench: last run';

export function loadLastRun(): Report | undefined {
  try {
    const text = localStorage.getItem(KEY);
    return text === null ? undefined : parseReport(text);
  } catch {
    return undefined;
  }
}

/** False if it could not be kept. */
export function keepLastRun(report: Report): boolean {
  try {
    localStorage.setItem(KEY, formatReport({ ...report, decisions: [] }));
    return true;
  } catch {
    return false;
  }
}
