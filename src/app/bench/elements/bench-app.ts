// <bench-app>: the bench page. Draws the controller's state and turns clicks into its calls.

import { html, LitElement, nothing } from 'lit';
import { userAgent, whySoftware } from '../../../base/gpu-advice.ts';
import { KeepFocus } from '../../shared/elements/keep-focus.ts';
import { mainButton } from '../../shared/elements/main-button.ts';
import { problemList } from '../../shared/elements/problem-list.ts';
import { palette, shapes } from '../../shared/elements/theme.ts';
import { version } from '../../../../package.json';
import { compareRows, rowKey } from '../comparison.ts';
import type { Comparison } from '../comparison.ts';
import type { BenchController, BenchState } from '../controller.ts';
import { isEmpty } from '../bench-file.ts';
import type { Report } from '../bench-file.ts';
import type { BenchSettings } from '../settings.ts';
import { benchStyle } from '../../shared/elements/bench-style.ts';
import { casesTable } from './cases-table.ts';
import { bars, rooflineChart } from './charts.ts';
import { chartsStyle } from './charts-style.ts';
import './keep-panel.ts';
import { overview } from './overview.ts';
import { workloadTable } from './result-tables.ts';
import './settings-form.ts';
import { tunerPanel } from './tuner-panel.ts';

export class BenchApp extends LitElement {
  static override properties = { state: { attribute: false } };
  static override styles = [palette, shapes, benchStyle, chartsStyle];
  declare state: BenchState;
  controller!: BenchController;

  constructor() {
    super();
    new KeepFocus(this);
  }

  override render() {
    const { state, controller } = this;
    if (!state) return '';
    const { report, baseline } = state;
    return html` <header>
        <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
          <path d="M8 8h16v16H8zM8 8l16 16M24 8L8 24"></path>
          <circle cx="8" cy="8" r="4"></circle>
          <circle cx="24" cy="8" r="4"></circle>
          <circle cx="8" cy="24" r="4"></circle>
          <circle cx="24" cy="24" r="4"></circle>
        </svg>
        <div class="title">
          <h1>tabmesh bench</h1>
          <p class="soft">How fast, and how right, are tabmesh's kernels on this device?</p>
        </div>
        <nav><a href="./collectives.html">Collectives</a> · <a href="./index.html">Train across tabs</a></nav>
      </header>
      <main>
        ${problemList(state.problems, (text) => controller.forget(text))}
        <div class="top">
          <section class="card" aria-label="Run">${this.#runPanel()}</section>
          <section class="card keep" aria-label="Keep and compare">
            <keep-panel .state=${state} .controller=${controller}></keep-panel>
          </section>
        </div>
        ${report && !isEmpty(report) ? this.#results(report, baseline && compareRows(report, baseline.report)) : nothing}
        <section class="card tuner" aria-label="Tuner">${tunerPanel(state, controller)}</section>
      </main>
      <footer class="small soft">
        tabmesh ${version}. Everything is measured on this device, and nothing leaves it. Libraries take turns on the
        same data; ratios are medians over rounds, so a busy machine slows all alike. Inputs and results stay on the
        device while the clock runs.
      </footer>`;
  }

  #runPanel() {
    const { state, controller } = this;
    const { phase, tool, adapter, software, browser, settings, catalogue, status, done, total, notes } = state;
    const busy = phase === 'running' || phase === 'stopping';
    return html` <dl class="facts">
        <div>
          <dt>adapter</dt>
          <dd>${adapter ?? (phase === 'no-device' ? 'none' : 'looking')}</dd>
        </div>
        <div>
          <dt>browser</dt>
          <dd>${browser || 'looking'}</dd>
        </div>
      </dl>
      ${software ? html`<p class="small hint">This is a software adapter: it computes on the processor, so times say little about a GPU, and large shapes take long. ${whySoftware(userAgent())}</p>` : nothing}
      ${tool === 'bench' ? notes.map((note) => html`<p class="small hint">${note}</p>`) : nothing}
      <div class="row actions">
        ${busy && tool === 'bench' ? mainButton('Stop', () => controller.stop(), { idle: phase === 'stopping' }) : mainButton('Run', () => controller.run(), { idle: phase !== 'ready' })}
        <p class=${phase === 'no-device' ? 'now none' : 'now'} role="status" aria-live="polite">
          ${busy && total ? `${done} of ${total}: ` : ''}${status}
        </p>
      </div>
      <progress
        max=${Math.max(1, total)}
        .value=${busy || done ? done : 0}
        aria-label=${`${done} of ${total} done`}
      ></progress>
      <bench-settings
        .settings=${settings}
        .catalogue=${catalogue}
        ?disabled=${busy}
        @choose=${(event: CustomEvent<Partial<BenchSettings>>) => controller.choose(event.detail)}
      ></bench-settings>`;
  }

  #results(report: Report, comparison: Comparison | undefined) {
    const { results, missing, cases, ceilings } = report;
    const savedOf = (rows: Comparison['rows'] | undefined) =>
      rows && new Map(rows.map((row) => [rowKey(row), row.ratio]));
    const saved = savedOf(comparison?.rows);
    const about = new Map(this.state.catalogue?.workloads.map((one) => [one.name, one.about]));
    return html` ${
      results.length
        ? html`<div class="panels">
            <section class="card" aria-label="In short">${overview(report)}</section>
            <section class="card" aria-label="Roofline">${rooflineChart(results, ceilings)}</section>
          </div>`
        : nothing
    }
    ${[...new Set([...results, ...missing].map(({ workload }) => workload))].map((workload) => {
      const rows = results.filter((row) => row.workload === workload);
      return html`<section class="card workload" aria-label=${workload}>
        <div>
          <h2>${workload}</h2>
          <p class="soft small">${about.get(workload) ?? ''}</p>
        </div>
        <div class="both">${rows.length ? bars(workload, rows) : nothing}${workloadTable(workload, report, saved)}</div>
      </section>`;
    })}
    ${cases.length ? html`<section class="card cases" aria-label="All kernels">${casesTable(cases, savedOf(comparison?.cases))}</section>` : nothing}`;
  }
}

customElements.define('bench-app', BenchApp);
