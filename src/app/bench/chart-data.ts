// What the charts draw, as plain numbers: bars per shape and library, and the roofline (Williams, Waterman, Patterson,
// 2009) on logarithmic axes.

import type { Ceilings } from '../../bench/roofline.ts';
import type { Row } from './bench-file.ts';

export interface Bar {
  readonly library: string;
  readonly value: number;
  /** Length, 0 to 1. */ readonly share: number;
  readonly correct: boolean;
}
export interface BarGroup {
  readonly shape: string;
  readonly bars: readonly Bar[];
}
export interface BarChart {
  readonly unit: 'GFLOP/s' | 'GB/s';
  /** Bars begin at `from`, a power of ten, and every decade is as long; otherwise they begin at 0. */
  readonly log: boolean;
  readonly from: number;
  readonly to: number;
  readonly groups: readonly BarGroup[];
}

/** Below this many operations per byte it is memory that is measured. */
const MEMORY_BOUND = 2;
/** Bars of one chart that differ by more than this are drawn on a logarithmic scale. */
const LINEAR_RANGE = 30;

/** Rows of one workload, tabmesh first in each shape. */
export function barChart(rows: readonly Row[]): BarChart {
  const memory =
    rows.length > 0 && rows.every(({ gflops, gbps }) => gbps !== undefined && gflops / gbps < MEMORY_BOUND);
  const valueOf = ({ gflops, gbps }: Row): number => (memory ? gbps! : gflops);
  const values = rows.map(valueOf).filter((value) => value > 0 && Number.isFinite(value));
  const [least, most] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  const log = values.length > 1 && most / least > LINEAR_RANGE;
  // The shortest bar keeps a length that can be seen.
  const from = log ? 10 ** Math.floor(Math.log10(least * 0.7)) : 0;
  const share = (value: number): number =>
    !(value > from) ? 0 : log ? Math.log(value / from) / Math.log(most / from) : value / most;
  return {
    unit: memory ? 'GB/s' : 'GFLOP/s',
    log,
    from,
    to: most,
    groups: [...new Set(rows.map(({ shape }) => shape))].map((shape) => ({
      shape,
      bars: rows
        .filter((row) => row.shape === shape)
        .map((row) => ({
          library: row.library,
          value: valueOf(row),
          share: share(valueOf(row)),
          correct: row.correct,
        })),
    })),
  };
}

export interface RooflinePoint {
  readonly workload: string;
  readonly shape: string;
  readonly library: string;
  /** Useful operations per useful byte. */ readonly intensity: number;
  readonly gflops: number;
  readonly correct: boolean;
}
export interface Axis {
  readonly from: number;
  readonly to: number;
  /** Powers of ten within. */ readonly ticks: readonly number[];
}
export interface Roofline {
  readonly points: readonly RooflinePoint[];
  readonly x: Axis;
  readonly y: Axis;
  /** Largest of STREAM's loops, in GB/s. */
  readonly bandwidth: number;
  readonly peakGflops: number;
  /** Where the two ceilings meet: work to the left is bound by memory. */
  readonly ridge: number;
}

/** Undefined while there are no ceilings or nothing to place under them. */
export function roofline(rows: readonly Row[], ceilings: Ceilings | null): Roofline | undefined {
  const points = rows.flatMap(({ workload, shape, library, gflops, gbps, correct }): RooflinePoint[] =>
    gbps && gflops ? [{ workload, shape, library, intensity: gflops / gbps, gflops, correct }] : [],
  );
  if (!ceilings || !points.length) return undefined;
  const { peakGflops } = ceilings;
  const bandwidth = Math.max(...Object.values(ceilings.bandwidth));
  const ridge = peakGflops / bandwidth;
  const x = decades([...points.map(({ intensity }) => intensity), ridge]);
  return {
    points,
    x,
    y: decades([...points.map(({ gflops }) => gflops), peakGflops, Math.min(peakGflops, x.from * bandwidth * 2)]),
    bandwidth,
    peakGflops,
    ridge,
  };
}

/** What the ceilings allow at an intensity, in GFLOP/s. */
export function attainable({ bandwidth, peakGflops }: Roofline, intensity: number): number {
  return Math.min(peakGflops, intensity * bandwidth);
}

/** Position on a logarithmic axis, 0 to 1. */
export function place({ from, to }: Axis, value: number): number {
  return Math.log(value / from) / Math.log(to / from);
}

/** An axis around the values, with room, and the powers of ten within. */
function decades(values: readonly number[]): Axis {
  const from = Math.min(...values) / 1.6;
  const to = Math.max(...values) * 1.6;
  const ticks: number[] = [];
  for (let power = Math.ceil(Math.log10(from)); power <= Math.floor(Math.log10(to)); power++)
    ticks.push(Number(`1e${power}`));
  return { from, to, ticks };
}
