// The first thing to read after a run: how many times as long the other libraries take, workload by workload.

import { html, nothing } from 'lit';
import type { WorkloadResult } from '../../../bench/run.ts';
import { summarise } from '../../../bench/summary.ts';
import { geometricMean } from '../../../bench/turns.ts';
import { verdictOf } from '../comparison.ts';
import { digits, percent, timesText } from '../numbers.ts';
import type { Report, Row } from '../bench-file.ts';
import { libraryName } from './charts.ts';

export function overview({ results, missing, cases }: Report) {
  const summaries = summarise(results as readonly WorkloadResult[]);
  const libraries = [...new Set(summaries.flatMap(({ peers }) => peers.map(({ library }) => library)))];
  const wrong = results.filter(({ correct }) => !correct);
  const own = results.filter(({ library }) => library === 'tabmesh');
  const others = wrong.filter(({ library }) => library !== 'tabmesh').length;
  return html` <h2>In short</h2>
    <p class="small">
      ${own.filter(({ correct }) => correct).length} of ${own.length} results of tabmesh are
      correct${cases.length ? `, ${cases.filter(({ correct }) => correct).length} of ${cases.length} kernel cases` : ''}${others ? `; ${others} of other libraries ${others === 1 ? 'is wrong and does' : 'are wrong and do'} not count below` : ''}.
    </p>
    ${
      libraries.length
        ? html`<p class="soft small">
              How many times as long as tabmesh they take: geometric means over the shapes that both ran right, and the
              shape at which tabmesh gains least. Above 1, tabmesh is faster.
            </p>
            <div class="scroll" role="region" tabindex="0" aria-label="How many times as long as tabmesh">
              <table class="overview">
                <thead>
                  <tr>
                    <th scope="col">workload</th>
                    ${libraries.map((library) => html`<th scope="col" class="n"><i class="dot" data-library=${library}></i>${libraryName(library)}</th>`)}
                  </tr>
                </thead>
                <tbody>
                  ${summaries.map(
                    ({ workload, peers }) =>
                      html`<tr>
                        <th scope="row">${workload}</th>
                        ${libraries.map((library) => {
                          const peer = peers.find((one) => one.library === library);
                          return html`<td class="n">
                            ${peer ? html`<b class=${verdictOf(1 / peer.ratio) === 'slower' ? 'slower' : ''}>${timesText(peer.ratio)}</b>${peer.shapes > 1 ? html`<span class="least" title=${peer.least.shape}>least ${timesText(peer.least.ratio)}</span>` : nothing}` : ''}
                          </td>`;
                        })}
                      </tr>`,
                  )}
                </tbody>
                ${
                  summaries.length > 1
                    ? html`<tfoot>
                        <tr>
                          <th scope="row">all workloads</th>
                          ${libraries.map((library) => {
                            const ratios = summaries.flatMap(({ peers }) =>
                              peers.filter((one) => one.library === library).map(({ ratio }) => ratio),
                            );
                            return html`<td class="n"><b>${timesText(geometricMean(ratios))}</b></td>`;
                          })}
                        </tr>
                      </tfoot>`
                    : nothing
                }
              </table>
            </div>`
        : html`<p class="soft small">
              ${missing.some(({ failed }) => failed) ? 'no library to compare with has run; the tables say why' : 'choose libraries to compare with, and ratios appear here'}
            </p>
            ${ownTable(own)}`
    }`;
}

/** Without anybody to compare with: the shape at which each workload comes closest to what the adapter can do. */
function ownTable(own: readonly Row[]) {
  const best = [...new Set(own.map(({ workload }) => workload))].map((workload) =>
    own.filter((row) => row.workload === workload).reduce((a, b) => ((b.roofline ?? 0) > (a.roofline ?? 0) ? b : a)),
  );
  return html`<table class="overview">
    <thead>
      <tr>
        <th scope="col">workload</th>
        <th scope="col">best shape</th>
        <th scope="col" class="n">GFLOP/s</th>
        <th scope="col" class="n">GB/s</th>
        <th scope="col" class="n">of roofline</th>
      </tr>
    </thead>
    <tbody>
      ${best.map(
        ({ workload, shape, gflops, gbps, roofline }) =>
          html`<tr>
            <th scope="row">${workload}</th>
            <td>${shape}</td>
            <td class="n">${digits(gflops)}</td>
            <td class="n">${gbps === undefined ? '' : digits(gbps)}</td>
            <td class="n">${roofline ? percent(roofline) : ''}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}
