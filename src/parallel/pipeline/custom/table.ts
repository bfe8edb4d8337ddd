// The lines of a schedule's text as a table, with `<-- here` under a cell.

/** Columns on either side of the cell that are shown. */
const AROUND = 6;

export function tableOf(
  rows: readonly (readonly string[])[],
  { rank, column }: { readonly rank: number; readonly column: number },
): readonly string[] {
  const first = Math.max(0, column - AROUND);
  const last = Math.min(Math.max(...rows.map((row) => row.length)), column + AROUND + 1);
  const widths = Array.from({ length: last - first }, (_, i) =>
    Math.max(1, ...rows.map((row) => (row[first + i] ?? '').length)),
  );
  const digits = String(rows.length - 1).length;
  const cut = first > 0 ? '.. ' : '';
  const lines: string[] = [];
  for (const [at, row] of rows.entries()) {
    const head = `rank ${String(at).padStart(digits)} | ${cut}`;
    const cells = widths.map((width, i) => (row[first + i] ?? '').padEnd(width)).join(' ');
    lines.push(`${head}${cells}${row.length > last ? ' ..' : ''}`.trimEnd());
    if (at !== rank) continue;
    const before = widths.slice(0, column - first).reduce((sum, width) => sum + width + 1, 0);
    lines.push(`${' '.repeat(head.length + before)}<-- here`);
  }
  return lines;
}
