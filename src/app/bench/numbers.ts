// Numbers as the tables, charts and texts of the bench page write them: three digits that mean something.

/** Three significant digits without an exponent: '0.0123', '4.56', '1230'. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (value === 0) return '0';
  const size = Math.floor(Math.log10(Math.abs(value)));
  return size >= 2 ? String(Math.round(value)) : value.toFixed(Math.min(6, 2 - size));
}

/** '3.21x'. */
export function timesText(ratio: number): string {
  return `${digits(ratio)}x`;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}

/** How far apart the slowest and the fastest round are, as a share of the median; undefined for one round. */
export function spreadOf({
  minMs,
  maxMs,
  medianMs,
  rounds,
}: {
  readonly minMs?: number;
  readonly maxMs?: number;
  readonly medianMs: number;
  readonly rounds?: number;
}): number | undefined {
  return minMs === undefined || maxMs === undefined || rounds === undefined || rounds < 2
    ? undefined
    : (maxMs - minMs) / medianMs;
}
