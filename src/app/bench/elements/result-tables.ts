// Tables of the results: one per workload with a group of rows per shape, tabmesh first; a library that could not run
// says why in its row.

import { html, nothing } from 'lit';
import { formatBytes } from '../../../base/format-bytes.ts';
import type { Missing } from '../../../bench/run.ts';
import { rowKey } from '../comparison.ts';
import { digits, percent, spreadOf, timesText } from '../numbers.ts';
import type { Report, Row } from '../bench-file.ts';
import { LIBRARY_NAMES } from './settings-form.ts';

/** `saved`: by row key, how many times as long as in the saved run. */
export function workloadTable(
  workload: string,
  { results, missing }: Report,
  saved: ReadonlyMap<string, number> | undefined,
) {
  const rows = results.filter((row) => row.workload === workload);
  const lacking = missing.filter((row) => row.workload === workload);
  const shapes = [...new Set([...rows, ...lacking].map(({ shape }) => shape))];
  const columns = saved ? 10 : 9;
  return html`<div class="scroll" role="region" tabindex="0" aria-label=${`Results of ${workload}`}>
    <table>
      <thead>
        <tr>
          <th scope="col">library</th>
          <th scope="col">correct</th>
          <th scope="col" class="n">median ms</th>
          <th scope="col" class="n" title="how many times as long as tabmesh, the median over the rounds">ratio</th>
          ${saved ? html`<th scope="col" class="n" title="how many times as long as in the saved run">vs saved</th>` : nothing}
          <th scope="col" class="n" title="slowest minus fastest round, in parts of the median">spread</th>
          <th scope="col" class="n">GFLOP/s</th>
          <th scope="col" class="n">GB/s</th>
          <th scope="col" class="n" title="share of what the measured ceilings allow for this work">of roofline</th>
          <th scope="col" class="n">memory</th>
        </tr>
      </thead>
      ${shapes.map(
        (shape) =>
          html`<tbody>
            <tr>
              <th scope="rowgroup" colspan=${columns} class="shape">${shape}</th>
            </tr>
            ${rows.filter((row) => row.shape === shape).map((row) => resultRow(row, saved))}
            ${lacking.filter((row) => row.shape === shape).map((row) => missingRow(row, columns))}
          </tbody>`,
      )}
    </table>
  </div>`;
}

function resultRow(row: Row, saved: ReadonlyMap<string, number> | undefined) {
  const {
    workload,
    library,
    correct,
    medianMs,
    ratio,
    gflops,
    gbps,
    roofline,
    problem,
    peakBytes,
    variants,
    rounds,
    minMs,
    maxMs,
  } = row;
  const spread = spreadOf(row);
  const before = saved?.get(rowKey(row));
  const title = [
    variants?.join(', '),
    rounds === undefined ? '' : `${rounds} round${rounds === 1 ? '' : 's'}`,
    minMs === undefined ? '' : `${digits(minMs)} to ${digits(maxMs!)} ms`,
  ]
    .filter(Boolean)
    .join('; ');
  return html`<tr
      data-workload=${workload}
      data-shape=${row.shape}
      data-library=${library}
      class=${library === 'tabmesh' ? 'own' : ''}
    >
      <th scope="row" title=${title}>
        <i class="dot" data-library=${library}></i>${LIBRARY_NAMES[library] ?? library}
      </th>
      <td class=${correct ? 'yes' : 'no'} title=${problem ?? ''}>${correct ? 'yes' : 'NO'}</td>
      <td class="n">${digits(medianMs)}</td>
      <td class="n">${ratio === null || ratio === undefined ? '' : timesText(ratio)}</td>
      ${saved ? html`<td class="n">${before === undefined ? '' : timesText(before)}</td>` : nothing}
      <td class="n">${spread === undefined ? '' : percent(spread)}</td>
      <td class="n">${digits(gflops)}</td>
      <td class="n">${gbps === undefined ? '' : digits(gbps)}</td>
      <td class="n">${roofline === null || roofline === undefined ? '' : percent(roofline)}</td>
      <td class="n">${peakBytes === undefined ? '' : formatBytes(peakBytes)}</td>
    </tr>
    ${
      problem === undefined
        ? nothing
        : html`<tr class="why">
            <td colspan=${saved ? 10 : 9}>${LIBRARY_NAMES[library] ?? library} is wrong: ${problem}</td>
          </tr>`
    }`;
}

function missingRow({ library, reason, failed }: Missing, columns: number) {
  return html`<tr class=${failed ? 'why failed' : 'why'} data-library=${library}>
    <th scope="row"><i class="dot" data-library=${library}></i>${LIBRARY_NAMES[library] ?? library}</th>
    <td colspan=${columns - 1}>${failed ? 'failed: ' : ''}${reason}</td>
  </tr>`;
}
