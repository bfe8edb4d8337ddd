// The mesh axes, outermost first. The world rank of coordinates (pp, dp, sp, ep, tp) is ((((pp * DP) + dp) * SP + sp) *
// EP + ep) * TP + tp: tensor-parallel neighbours are adjacent, pipeline stages are far apart.

export const AXES = ['pp', 'dp', 'sp', 'ep', 'tp'] as const;
export type AxisName = (typeof AXES)[number];
export type Layout = Readonly<Record<AxisName, number>>;

export function worldSize(layout: Layout): number {
  return AXES.reduce((n, axis) => n * layout[axis], 1);
}

/** 'dp=2,pp=2' without the axes of size 1; 'dp=1' when all are 1. */
export function formatLayout(layout: Layout): string {
  const parts = (['dp', 'pp', 'tp', 'sp', 'ep'] as const)
    .filter((axis) => layout[axis] > 1)
    .map((axis) => `${axis}=${layout[axis]}`);
  return parts.length ? parts.join(',') : 'dp=1';
}
