// The contract cases of all kernels: is it right, and how long does a launch take. The cases are small, so they show
// overhead as much as speed.

import { html } from 'lit';
import type { BenchResult } from '../../../bench/bench-report.ts';
import { rowKey } from '../comparison.ts';
import { digits, timesText } from '../numbers.ts';

export function casesTable(cases: readonly BenchResult[], saved: ReadonlyMap<string, number> | undefined) {
  const right = cases.filter(({ correct }) => correct).length;
  const kernels = [...new Set(cases.map(({ workload }) => workload))];
  return html` <h2>All kernels</h2>
    <p class="small">
      <b class=${right === cases.length ? 'yes' : 'no'}>${right} of ${cases.length} cases correct</b>
      <span class="soft"
        >against the f64 references, in ${kernels.length} kernel${kernels.length === 1 ? '' : 's'}. Cases are small:
        their times show overhead as much as speed.</span
      >
    </p>
    ${kernels.map((kernel) => {
      const rows = cases.filter(({ workload }) => workload === kernel);
      const wrong = rows.filter(({ correct }) => !correct).length;
      return html`<details ?open=${wrong > 0}>
        <summary>
          <b>${kernel}</b>
          <span class=${wrong ? 'no' : 'yes'}
            >${wrong ? `${wrong} of ${rows.length} WRONG` : `${rows.length} correct`}</span
          >
          <span class="soft small"
            >${digits(Math.min(...rows.map(({ medianMs }) => medianMs)))} to
            ${digits(Math.max(...rows.map(({ medianMs }) => medianMs)))} ms</span
          >
        </summary>
        <div class="scroll" role="region" tabindex="0" aria-label=${`Cases of ${kernel}`}>
          <table>
            <thead>
              <tr>
                <th scope="col">case</th>
                <th scope="col">correct</th>
                <th scope="col" class="n">median ms</th>
                <th scope="col" class="n">GFLOP/s</th>
                ${saved ? html`<th scope="col" class="n">vs saved</th>` : ''}
              </tr>
            </thead>
            <tbody>
              ${rows.map((row) => {
                const before = saved?.get(rowKey(row));
                return html`<tr data-kernel=${kernel}>
                  <th scope="row" class="case">${row.shape}</th>
                  <td class=${row.correct ? 'yes' : 'no'}>${row.correct ? 'yes' : 'NO'}</td>
                  <td class="n">${digits(row.medianMs)}</td>
                  <td class="n">${digits(row.gflops)}</td>
                  ${saved ? html`<td class="n">${before === undefined ? '' : timesText(before)}</td>` : ''}
                </tr>`;
              })}
            </tbody>
          </table>
        </div>
      </details>`;
    })}`;
}
