// Rows and reports of a bench, made up.

import { emptyReport } from '../../src/app/bench/bench-file.ts';
import type { Report, Row } from '../../src/app/bench/bench-file.ts';
import type { Ceilings } from '../../src/bench/roofline.ts';
import type { WorkloadResult } from '../../src/bench/run.ts';

export const CEILINGS: Ceilings = { bandwidth: { copy: 90, scale: 95, add: 100, triad: 98 }, peakGflops: 1000 };
export const row = (library: string, medianMs: number, more: Partial<WorkloadResult> = {}): WorkloadResult => ({
  workload: 'matmul',
  shape: '256x256x256',
  library,
  medianMs,
  gflops: 33.5 / medianMs,
  gbps: 0.786 / medianMs,
  correct: true,
  roofline: 0.25,
  minMs: 0.9 * medianMs,
  maxMs: 1.1 * medianMs,
  firstMs: 9,
  rounds: 3,
  runs: 2,
  ratio: library === 'tabmesh' ? null : medianMs,
  worstError: 0.1,
  ...more,
});
export const report = (results: readonly Row[], more: Partial<Report> = {}): Report => ({
  ...emptyReport('vendor gpu', 'Chrome 150', '2026-11-25T10:00:00.000Z'),
  results,
  ceilings: CEILINGS,
  ...more,
});
