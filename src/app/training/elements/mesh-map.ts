// <mesh-map>: one card for each rank: its place in the mesh, its adapter and memory, and its links with kind, round
// trip and rate.

import { css, html, LitElement } from 'lit';
import { formatBytes } from '../../../base/format-bytes.ts';
import { explain, summary } from '../../../device/tune/certificate.ts';
import type { Certificate } from '../../../device/tune/certificate.ts';
import { linkFigures, linkWay } from '../run-view.ts';
import type { LinkView, RankView } from '../run-view.ts';
import { shapes } from '../../shared/elements/theme.ts';

export class MeshMap extends LitElement {
  static override properties = { ranks: { attribute: false }, version: { attribute: false } };
  static override styles = [
    shapes,
    css`
      ul {
        list-style: none;
        margin: 10px 0 0;
        padding: 0;
        display: grid;
        gap: 10px;
        grid-template-columns: repeat(auto-fill, minmax(235px, 1fr));
      }
      ul.card-list > li {
        border: 1px solid var(--edge);
        border-radius: 12px;
        padding: 12px;
        background: var(--sunken);
        min-width: 0;
      }
      .rank {
        display: inline-grid;
        place-items: center;
        width: 26px;
        height: 26px;
        border-radius: 8px;
        background: var(--accent);
        color: var(--on-accent);
        font-weight: 700;
        font-size: 13px;
        flex: none;
      }
      .place {
        font-family: var(--mono);
        font-size: 13px;
        font-weight: 600;
        overflow-wrap: anywhere;
      }
      .adapter {
        font-size: 13px;
        margin-top: 8px;
        overflow-wrap: anywhere;
      }
      dl {
        display: grid;
        grid-template-columns: auto 1fr;
        gap: 0 10px;
        margin: 6px 0 0;
        font-size: 13px;
      }
      dt {
        color: var(--soft);
      }
      dd {
        margin: 0;
        text-align: right;
        font-variant-numeric: tabular-nums;
      }
      table {
        width: 100%;
        border-collapse: collapse;
        margin-top: 8px;
        font-size: 12px;
        font-variant-numeric: tabular-nums;
      }
      th {
        color: var(--soft);
        font-weight: 500;
        text-align: right;
      }
      td {
        text-align: right;
        padding: 1px 0;
        white-space: nowrap;
      }
      th:first-child,
      td:first-child {
        text-align: left;
      }
      details {
        font-size: 12px;
        margin-top: 6px;
        color: var(--soft);
      }
      details p {
        margin: 4px 0 0;
        overflow-wrap: anywhere;
      }
      caption {
        text-align: left;
        color: var(--soft);
      }
    `,
  ];
  declare ranks: readonly RankView[];
  declare version: unknown;

  constructor() {
    super();
    this.ranks = [];
  }

  override render() {
    return html` <div class="row spread">
        <h2>Mesh</h2>
        <span class="small soft"
          >${this.ranks.length ? `${this.ranks.length} device${this.ranks.length === 1 ? '' : 's'}` : ''}</span
        >
      </div>
      ${
        this.ranks.length
          ? html`<ul class="card-list">
              ${this.ranks.map((rank) => this.#card(rank))}
            </ul>`
          : html`<p class="soft small" .style=${'margin-top:6px'}>devices appear here when a run begins</p>`
      }`;
  }

  #card(view: RankView) {
    const { rank, place, name, own, adapter, software, memoryBytes, links, text, certificate } = view;
    // Of a rank in another tab we know what all ranks do alike, what it will have allocated, and our own link to it.
    const here = this.ranks.find((known) => known.own);
    const seen = own ? links : (here?.links.filter(({ peer }) => peer === rank) ?? []);
    const state = own || !name ? text || 'starting' : here?.text || text || 'not told';
    const memory = memoryBytes
      ? formatBytes(memoryBytes)
      : view.expectedBytes
        ? `about ${formatBytes(view.expectedBytes)}`
        : 'not known yet';
    const kinds = [...new Set(seen.map(linkWay))].join(', ');
    return html`<li>
      <div class="row">
        <span class="rank" aria-label=${`rank ${rank}`}>${rank}</span><span class="place">${place}</span>
      </div>
      <div class="adapter">
        ${adapter || 'opening the device'}
        ${software ? html`<span class="badge warn" title="It computes on the processor: correct, but slow.">software</span>` : ''}
      </div>
      <dl>
        ${
          name
            ? html`<dt>tab</dt>
                <dd>${name}${own ? ' (this one)' : ''}</dd>`
            : ''
        }
        <dt>state</dt>
        <dd>${state}</dd>
        <dt>memory</dt>
        <dd>${memory}</dd>
      </dl>
      ${certificate ? qualification(certificate) : ''}
      ${
        seen.length
          ? html`<table>
              <caption>
                ${kinds}
              </caption>
              <thead>
                <tr>
                  <th scope="col">to rank</th>
                  <th scope="col">round trip</th>
                  <th scope="col">rate</th>
                </tr>
              </thead>
              <tbody>
                ${seen.map(
                  (link) =>
                    html`<tr>
                      <td>${own ? link.peer : `${here!.rank} (this tab)`}</td>
                      <td>${roundTrip(link)}</td>
                      <td title=${linkFigures(link)}>${(link.bytesPerSecond / 1e6).toFixed(2)} MB/s</td>
                    </tr>`,
                )}
              </tbody>
            </table>`
          : ''
      }
    </li>`;
  }
}

/** One line, with the reasons behind it. */
function qualification(certificate: Certificate) {
  const refused = certificate.refused.map(
    ({ kernel, variant, reason }) => `${kernel}/${variant} was refused: ${reason}`,
  );
  return html`<details>
    <summary>${summary(certificate)}</summary>
    ${[...refused, ...certificate.decisions.map(explain), ...certificate.notes].map((line) => html`<p>${line}</p>`)}
  </details>`;
}

/** A link has no round trip before its first heartbeat. */
function roundTrip({ roundTripMs }: LinkView): string {
  return roundTripMs > 0 && Number.isFinite(roundTripMs)
    ? `${roundTripMs < 10 ? roundTripMs.toFixed(1) : Math.round(roundTripMs)} ms`
    : 'not yet';
}

customElements.define('mesh-map', MeshMap);
