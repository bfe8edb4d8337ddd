// Measured rows as a table and as curves.

import { html, nothing } from 'lit';
import { COLLECTIVES } from '../../../bench/collectives/catalogue.ts';
import { cellsOf, OWN } from '../../../bench/collectives/collectives-report.ts';
import type { CollectiveResult } from '../../../bench/collectives/collectives-report.ts';
import type { BandwidthCurve } from './bandwidth-chart.ts';

/** What is measured beside the collectives. */
export const ABOUT: Readonly<Record<string, string>> = {
  ...Object.fromEntries(COLLECTIVES.map(({ name, about }) => [name, about])),
  transfer: 'rank 0 to rank 1, until the sender is told that all came; the same array by each library',
  'gpu-to-gpu':
    'a buffer on the GPU of rank 0 to one on that of rank 1: readback, wire and upload overlapped in pieces',
  'gpu-to-gpu-naive': 'the same, one after the other',
};

const HEADINGS: readonly (readonly [string, string])[] = [
  ['size', 'bytes of the array, as nccl-tests count them'],
  ['library', ''],
  ['ms', 'one call on the slowest rank, median of the rounds'],
  ['algbw', 'MB/s: size / time'],
  ['busbw', 'MB/s: algbw times the factor of nccl-tests'],
  ['raw pipe', 'MB/s of one bare data channel alone, in the same rounds'],
  ['of pipe', 'busbw / raw pipe'],
  ['raw alike', 'busbw of bare channels with the same bytes between the same tabs, all at once'],
  ['of alike', 'busbw / raw alike'],
  ['ratio', 'how many times as fast tabmesh was'],
  ['wrong', 'elements that were not exactly right'],
];

export function table(rows: readonly CollectiveResult[]) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table of results">
    <table>
      <thead>
        <tr>
          ${HEADINGS.map(([name, title], i) => html`<th class=${i > 1 ? 'n' : ''} scope="col" title=${title || nothing}>${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${[...new Set(rows.map(({ collective }) => collective))].map(
          (name) =>
            html` <tr>
                <th class="name" scope="rowgroup" colspan=${HEADINGS.length}>
                  ${name} <span class="soft small">${ABOUT[name]}</span>
                </th>
              </tr>
              ${rows
                .filter(({ collective }) => collective === name)
                .map(
                  (row) =>
                    html`<tr
                      data-collective=${name}
                      data-library=${row.library}
                      class=${row.library === OWN ? '' : 'soft'}
                    >
                      ${cellsOf(row)
                        .slice(1)
                        .map(
                          (cell, i, cells) =>
                            html`<td
                              class="${i === 1 ? '' : 'n'}${i === cells.length - 1 ? (row.wrong ? ' no' : ' yes') : ''}"
                            >
                              ${cell}
                            </td>`,
                        )}
                    </tr>`,
                )}`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** tabmesh's collectives, and the bare pipe in the middle of what it reached beside them. */
export function curvesOf(rows: readonly CollectiveResult[]): readonly BandwidthCurve[] {
  const own = rows
    .filter(
      ({ bytes, library, collective }) =>
        bytes > 0 && library === OWN && collective !== 'transfer' && collective !== 'gpu-to-gpu-naive',
    )
    // An array that was made divisible by a few bytes stands under its size.
    .map((row) => ({ ...row, bytes: row.bytes < 1024 ? row.bytes : Math.ceil(row.bytes / 64) * 64 }));
  const curve = (name: string): BandwidthCurve => {
    const mine = own.filter(({ collective }) => collective === name);
    return { name, sizes: mine.map(({ bytes }) => bytes), rates: mine.map(({ busbw }) => busbw) };
  };
  const sizes = [...new Set(own.map(({ bytes }) => bytes))].sort((a, b) => a - b);
  const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1];
  return [
    ...[...new Set(own.map(({ collective }) => collective))].map(curve),
    {
      name: 'bare channel',
      sizes,
      rates: sizes.map((bytes) => middle(own.filter((row) => row.bytes === bytes).map(({ rawPipe }) => rawPipe))),
      reference: true,
    },
  ];
}
