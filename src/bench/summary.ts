// One line per workload: how many times as long each peer takes, as a geometric mean over the shapes that both ran
// right.

import { geometricMean } from './turns.ts';
import type { WorkloadResult } from './run.ts';

export interface PeerSummary {
  readonly library: string;
  /** Geometric mean of the ratios. */
  readonly ratio: number;
  readonly shapes: number;
  /** The shape at which tabmesh gains least. */
  readonly least: { readonly shape: string; readonly ratio: number };
}

export interface WorkloadSummary {
  readonly workload: string;
  readonly peers: readonly PeerSummary[];
}

/** Shapes at which either side is wrong do not count; a workload without any ratio is left out. */
export function summarise(results: readonly WorkloadResult[]): readonly WorkloadSummary[] {
  const workloads = [...new Set(results.map(({ workload }) => workload))];
  return workloads
    .map((workload) => {
      const rows = results.filter((row) => row.workload === workload);
      const right = new Set(rows.filter(({ ratio, correct }) => ratio === null && correct).map(({ shape }) => shape));
      const libraries = [...new Set(rows.filter(({ ratio }) => ratio !== null).map(({ library }) => library))];
      const peers = libraries.flatMap((library): PeerSummary[] => {
        const fair = rows.filter(
          (row) => row.library === library && row.correct && right.has(row.shape) && row.ratio !== null,
        ) as (WorkloadResult & { readonly ratio: number })[];
        if (!fair.length) return [];
        const least = fair.reduce((a, b) => (b.ratio < a.ratio ? b : a));
        return [
          {
            library,
            ratio: geometricMean(fair.map(({ ratio }) => ratio)),
            shapes: fair.length,
            least: { shape: least.shape, ratio: least.ratio },
          },
        ];
      });
      return { workload, peers };
    })
    .filter(({ peers }) => peers.length > 0);
}

/** 'matmul: 8.1x tfjs, 1.9x jax-js (geometric means of 9 shapes; least 1.2x jax-js at 1x4096x512)'. */
export function summaryLine({ workload, peers }: WorkloadSummary): string {
  const counts = [...new Set(peers.map(({ shapes }) => shapes))];
  const shapes =
    counts.length === 1
      ? `${counts[0]} shape${counts[0] === 1 ? '' : 's'}`
      : `${peers.map(({ shapes: n }) => n).join(', ')} shapes`;
  const least = peers
    .map((peer) => ({ ...peer.least, library: peer.library }))
    .reduce((a, b) => (b.ratio < a.ratio ? b : a));
  return `${workload}: ${peers.map(({ library, ratio }) => `${times(ratio)} ${library}`).join(', ')} (geometric mean of ${shapes}; least ${times(least.ratio)} ${least.library} at ${least.shape})`;
}

function times(ratio: number): string {
  return `${ratio >= 100 ? ratio.toFixed(0) : ratio.toFixed(ratio < 10 ? 2 : 1)}x`;
}
