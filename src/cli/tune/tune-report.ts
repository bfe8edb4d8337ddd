// What `tabmesh tune` prints: a row per kernel and shape (the default's ms as they were beside the chosen one's), then
// what was refused and why, what was not checked, and what went wrong without harm.

import type { Params } from '../../device/kernel.ts';
import { explain, formatPicked, measuredOf, summary } from '../../device/tune/certificate.ts';
import type { Certificate, Decision } from '../../device/tune/certificate.ts';

const HEADER = ['kernel', 'shape', 'chosen', 'ms', 'default', 'ms', 'speed-up', 'tried', ''];

/** The lines of the report; with `reasons`, a paragraph per choice. */
export function tuneReport(certificate: Certificate, reasons: boolean): readonly string[] {
  const { adapter, decisions, refused, unchecked, notes } = certificate;
  return [
    `adapter: ${adapter}`,
    summary(certificate),
    '',
    ...table([HEADER, ...decisions.map(row)]),
    ...(reasons ? ['', ...decisions.map(explain)] : []),
    ...refused.map(
      ({ kernel, params, reason, ...picked }) =>
        `refused ${kernel}/${formatPicked(picked)} at ${formatParams(params)}: ${reason}`,
    ),
    ...unchecked.map(({ kernel, reason, ...picked }) => `not checked ${kernel}/${formatPicked(picked)}: ${reason}`),
    ...notes.map((note) => `note: ${note}`),
  ];
}

function row(decision: Decision): readonly string[] {
  const chosen = measuredOf(decision, decision);
  const ms = (value: number | undefined): string => (value === undefined ? '-' : value.toPrecision(3));
  const state = [decision.remembered ? 'remembered' : '', decision.complete ? '' : 'not all yet']
    .filter(Boolean)
    .join(', ');
  return [
    decision.kernel,
    formatParams(decision.params),
    named(decision),
    ms(chosen?.medianMs),
    named(decision.default),
    ms(chosen && chosen.medianMs / chosen.relative),
    chosen ? (1 / chosen.relative).toFixed(2) : '-',
    String(decision.candidates.length),
    state,
  ];
}

/** A variant whose name says its constants needs no list of them. */
function named({
  variant,
  constants,
}: {
  readonly variant: string;
  readonly constants: Readonly<Record<string, number>>;
}): string {
  return /\d/.test(variant) ? variant : formatPicked({ variant, constants });
}

/** Without what is off or neutral, and without strides and offsets, which follow from the rest. */
export function formatParams(params: Params): string {
  const neutral = (name: string, value: number): boolean =>
    value === 0 || (value === 1 && /^(BATCH|SCALE|ALPHA|BETA)$/.test(name)) || /_(B|H|T|OFF|BATCH|START)$/.test(name);
  return Object.entries(params)
    .filter(([name, value]) => !neutral(name, value))
    .map(([name, value]) => `${name}=${Number(value.toPrecision(4))}`)
    .join(' ');
}

function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((cells) => cells[column].length)));
  return rows.map((cells) =>
    cells
      .map((cell, column) => (/^[-\d.]+$/.test(cell) ? cell.padStart(widths[column]) : cell.padEnd(widths[column])))
      .join('  ')
      .trimEnd(),
  );
}
