// Workgroups for kernels that number their threads along one line. A dimension holds at most 65535 workgroups, so long
// lines are folded into rows; the kernel unfolds them: i = (group.y * groups.x + group.x) * WG + lane, and drops i >=
// count.

const MAX_WORKGROUPS = 65535;

/** The grid that covers `count` threads in workgroups of `workgroupSize`, with few idle workgroups at the end. */
export function linearGrid(count: number, workgroupSize: number): readonly [number, number, number] {
  const groups = Math.max(1, Math.ceil(count / workgroupSize));
  const rows = Math.ceil(groups / MAX_WORKGROUPS);
  return [Math.ceil(groups / rows), rows, 1];
}
