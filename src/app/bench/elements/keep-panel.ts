// <keep-panel>: take a run away as JSON, Markdown or link, and lay it beside a saved one from a file, pasted text, or
// this browser's last run.

import { css, html, LitElement, nothing } from 'lit';
import { KeepFocus } from '../../shared/elements/keep-focus.ts';
import { shapes } from '../../shared/elements/theme.ts';
import { compareRows } from '../comparison.ts';
import type { BenchController, BenchState } from '../controller.ts';
import { formatMarkdown } from '../markdown.ts';
import { timesText } from '../numbers.ts';
import { isEmpty } from '../bench-file.ts';
import { formatSettings } from '../settings.ts';
import { libraryName } from './charts.ts';

export class KeepPanel extends LitElement {
  static override properties = { state: { attribute: false }, said: { state: true } };
  static override styles = [
    shapes,
    css`
      :host {
        display: grid;
        gap: 10px;
        align-content: start;
      }
      label.button {
        position: relative;
        display: inline-flex;
        align-items: center;
        overflow: hidden;
      }
      label.button input {
        position: absolute;
        inset: 0;
        opacity: 0;
        cursor: pointer;
      }
      textarea {
        width: 100%;
        min-height: 84px;
        font: 12px/1.4 var(--mono);
        color: inherit;
        background: var(--sunken);
        border: 1px solid var(--edge);
        border-radius: 9px;
        padding: 8px;
        margin: 8px 0;
      }
      textarea:focus-visible {
        outline: 2px solid var(--accent);
        outline-offset: 2px;
      }
      ul {
        margin: 0;
        padding-left: 18px;
      }
      button,
      .button {
        font-size: 14px;
        min-height: 34px;
        padding: 4px 12px;
      }
      summary {
        width: fit-content;
        font-size: 14px;
        color: var(--soft);
      }
      .differs {
        color: var(--warn);
      }
    `,
  ];
  declare state: BenchState;
  declare said: string;
  controller!: BenchController;

  constructor() {
    super();
    new KeepFocus(this);
    this.said = '';
  }

  override render() {
    const { report, baseline, last, settings } = this.state;
    const there = report && !isEmpty(report);
    return html` <h2>Keep</h2>
      <div class="row">
        <button ?disabled=${!there} @click=${() => this.#copy(this.controller.json() ?? '', 'the JSON is')}>
          Copy JSON
        </button>
        <button
          ?disabled=${!there}
          @click=${() => report && this.#copy(formatMarkdown(report, baseline), 'the Markdown is')}
        >
          Copy Markdown
        </button>
        <button ?disabled=${!there} @click=${() => this.#download()}>Download JSON</button>
        <button
          @click=${() => this.#copy(`${location.href.split('#')[0]}#${formatSettings(settings, 'bench')}`, 'a link that runs this by itself is')}
        >
          Copy link
        </button>
      </div>
      <p class="soft small" role="status">${this.said}</p>
      <h2>Compare with a saved run</h2>
      <div class="row">
        <label class="button"
          ><input
            type="file"
            accept=".json,application/json"
            @change=${(event: Event) => {
              void this.#load(event.target as HTMLInputElement);
            }}
          />Load a JSON file</label
        >
        ${last && !isEmpty(last) && baseline?.report !== last && report !== last ? html`<button @click=${() => this.controller.compareWithLast()}>The last run (${new Date(last.date).toLocaleString()})</button>` : nothing}
        ${baseline ? html`<button @click=${() => this.controller.compareWithNothing()}>Compare with nothing</button>` : nothing}
      </div>
      <details>
        <summary>Paste a saved run</summary>
        <textarea
          aria-label="JSON of a saved run"
          spellcheck="false"
          placeholder='{ "adapter": ..., "results": [ ... ] }'
        ></textarea>
        <button @click=${() => this.#paste()}>Compare with this text</button>
      </details>
      ${this.#comparison()}`;
  }

  #comparison() {
    const { report, baseline } = this.state;
    if (!baseline) return nothing;
    const about = `${baseline.name}: ${baseline.report.adapter}, ${baseline.report.browser}, ${baseline.report.date.slice(0, 16).replace('T', ' ')}, ${baseline.report.results.length + baseline.report.cases.length} rows`;
    if (!report || isEmpty(report))
      return html`<p class="small">Loaded ${about}. Press Run, and every row says how it compares.</p>`;
    const { means, casesMean, differences, rows, cases, unmatched } = compareRows(report, baseline.report);
    return html`<div class="small comparison">
      <p>${about}.</p>
      ${differences.map((text) => html`<p class="differs">${text}</p>`)}
      ${rows.length + cases.length ? nothing : html`<p class="differs">No row of this run is in the saved one; run the same workloads and shapes.</p>`}
      <ul>
        ${means.map(({ library, ratio, rows: n, verdict }) => html`<li><b>${libraryName(library)}</b> takes ${timesText(ratio)} the time of the saved run (${verdict}; geometric mean of ${n} row${n === 1 ? '' : 's'})</li>`)}${casesMean === undefined ? nothing : html`<li><b>all kernels</b> take ${timesText(casesMean)} the time (geometric mean of ${cases.length} cases)</li>`}
      </ul>
      ${unmatched.now || unmatched.before ? html`<p class="soft">Rows that only this run has: ${unmatched.now}; only the saved one: ${unmatched.before}.</p>` : nothing}
    </div>`;
  }

  async #load(field: HTMLInputElement): Promise<void> {
    const file = field.files?.[0];
    // The same file may be chosen again.
    const text = await file?.text();
    field.value = '';
    if (file && text !== undefined) this.controller.compareWith(file.name, text);
  }

  #paste(): void {
    const text = this.renderRoot.querySelector('textarea')!.value;
    this.controller.compareWith('the pasted run', text);
  }

  #copy(text: string, what: string): void {
    navigator.clipboard.writeText(text).then(
      () => {
        this.said = `${what} in the clipboard`;
      },
      () =>
        this.controller.problem('clipboard: this browser does not let the page write there; use Download JSON instead'),
    );
  }

  #download(): void {
    const text = this.controller.json();
    if (text === undefined) return;
    const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
    const link = document.createElement('a');
    link.href = url;
    link.download = `tabmesh-bench-${new Date().toISOString().slice(0, 16).replace(/[:T]/g, '-')}.json`;
    link.click();
    URL.revokeObjectURL(url);
    this.said = `${link.download} is downloaded`;
  }
}

customElements.define('keep-panel', KeepPanel);
