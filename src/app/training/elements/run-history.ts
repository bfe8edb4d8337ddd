// <run-history>: the runs that this browser keeps: names, curves over the current ones, CSV and JSON, delete. Events:
// 'rename' ({ id, name }), 'delete' (id), 'overlay' (ids whose curves to draw).

import { css, html, LitElement, nothing } from 'lit';
import { duration, figure } from '../charts/curve.ts';
import { download } from '../checkpoints.ts';
import { toCsv, toJson } from '../history/kept-run.ts';
import type { KeptRun } from '../history/kept-run.ts';
import { KeepFocus } from '../../shared/elements/keep-focus.ts';
import { shapes } from '../../shared/elements/theme.ts';

/** Colours of curves of other runs; more would not be told apart. */
export const OTHER_COLOURS = ['#9333ea', '#0d9488', '#c026d3', '#ca8a04', '#64748b', '#dc2626'];

export class RunHistory extends LitElement {
  static override properties = { runs: { attribute: false }, shown: { attribute: false }, atWork: {}, trouble: {} };
  static override styles = [
    shapes,
    css`
      ul {
        list-style: none;
        margin: 10px 0 0;
        padding: 0;
        display: grid;
        gap: 8px;
        max-height: 420px;
        overflow: auto;
      }
      li {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr) auto;
        gap: 4px 10px;
        align-items: center;
        border: 1px solid var(--edge);
        border-radius: 10px;
        padding: 8px 12px;
      }
      li > .row:last-child {
        justify-content: flex-end;
      }
      input.name {
        border-color: transparent;
        background: transparent;
        font-weight: 600;
        min-height: 32px;
        padding: 2px 6px;
        text-overflow: ellipsis;
      }
      input.name:hover,
      input.name:focus {
        border-color: var(--edge);
        background: var(--card);
      }
      .what {
        padding-left: 7px;
        overflow-wrap: anywhere;
      }
      li button {
        min-height: 30px;
        padding: 2px 10px;
        font-size: 13px;
      }
      .trouble {
        color: var(--warn);
        margin-top: 8px;
      }
      @media (max-width: 700px) {
        li {
          grid-template-columns: auto minmax(0, 1fr);
        }
        li > .row:last-child {
          grid-column: 2;
          justify-content: flex-start;
        }
      }
    `,
  ];
  declare runs: readonly KeptRun[];
  /** Ids of the runs whose curves are drawn. */
  declare shown: readonly string[];
  /** Id of the run that trains on this page. */
  declare atWork: string | undefined;
  declare trouble: string;

  constructor() {
    super();
    new KeepFocus(this);
    this.runs = [];
    this.shown = [];
    this.trouble = '';
  }

  override render() {
    const { runs, trouble } = this;
    return html` <div class="row spread">
        <h2 tabindex="-1">History</h2>
        <span class="small soft"
          >${runs.length ? `${runs.length} run${runs.length === 1 ? '' : 's'} in this browser` : ''}</span
        >
      </div>
      ${trouble ? html`<p class="small trouble" role="status">${trouble}</p>` : nothing}
      ${
        runs.length
          ? html`<ul aria-label="Runs in this browser">
              ${runs.map((run) => this.#row(run))}
            </ul>`
          : html`<p class="small soft">
              what you train is kept here, in this browser alone: curves, samples, settings
            </p>`
      }`;
  }

  #row(run: KeptRun) {
    const { id, name, curves, step, steps, outcome, elapsedMs, startedAtMs } = run;
    const place = this.shown.indexOf(id);
    const how = outcome === 'running' ? (id === this.atWork ? 'training' : 'not ended') : outcome;
    const loss = curves.loss.y.at(-1);
    const full = place < 0 && this.shown.length >= OTHER_COLOURS.length;
    return html`<li>
      <input
        type="checkbox"
        aria-label=${`Draw the loss of ${name}`}
        title=${full ? `${OTHER_COLOURS.length} at most are told apart` : 'Draw its loss beside the others'}
        .checked=${place >= 0}
        ?disabled=${full}
        .style=${place >= 0 ? `accent-color:${OTHER_COLOURS[place]}` : ''}
        @change=${() => this.#tell('overlay', place >= 0 ? this.shown.filter((other) => other !== id) : [...this.shown, id])}
      />
      <div>
        <input
          class="name"
          aria-label="Name of the run"
          .value=${name}
          maxlength="100"
          @change=${(event: Event) => this.#rename(run, event.target as HTMLInputElement)}
        />
        <p class="what small soft">
          ${new Date(startedAtMs).toLocaleString()}, ${how} at step ${step} of
          ${steps}${loss === undefined ? '' : `, loss ${figure(loss)}`}, ${duration(elapsedMs)}
        </p>
      </div>
      <div class="row">
        <button aria-label=${`CSV of ${name}`} @click=${() => save(run, 'csv', toCsv(run))}>CSV</button>
        <button aria-label=${`JSON of ${name}`} @click=${() => save(run, 'json', toJson(run))}>JSON</button>
        <button aria-label=${`Delete ${name}`} @click=${() => this.#tell('delete', id)}>Delete</button>
      </div>
    </li>`;
  }

  #rename({ id, name }: KeptRun, field: HTMLInputElement): void {
    if (field.value.trim()) this.#tell('rename', { id, name: field.value });
    else field.value = name;
  }

  #tell(name: 'rename' | 'delete' | 'overlay', detail: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function save({ name, startedAtMs }: KeptRun, kind: 'csv' | 'json', text: string): void {
  const plain =
    name
      .replace(/[^\p{L}\p{N}=._-]+/gu, '-')
      .replace(/^-|-$/g, '')
      .slice(0, 60) || 'run';
  download(
    new TextEncoder().encode(text),
    `tabmesh-${plain}-${new Date(startedAtMs).toISOString().slice(0, 10)}.${kind}`,
  );
}

customElements.define('run-history', RunHistory);
