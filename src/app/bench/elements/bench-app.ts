// <bench-app>: the bench page. Draws the controller's state and turns clicks into its calls.

import { html, LitElement, nothing } from 'lit';
import { palette, shapes } from '../../elements/theme.ts';
import type { BenchController, BenchState } from '../controller.ts';
import type { BenchSettings } from '../settings.ts';
import { benchStyle } from './bench-style.ts';
import { workloadTable } from './result-tables.ts';
import './settings-form.ts';

export class BenchApp extends LitElement {
  static override properties = { state: { attribute: false } };
  static override styles = [palette, shapes, benchStyle];
  declare state: BenchState;
  controller!: BenchController;

  override render() {
    const { state } = this;
    if (!state) return '';
    return html`<main>
      <bench-settings .settings=${state.settings} .catalogue=${state.catalogue} ?disabled=${this.controller.busy} @choose=${(event: CustomEvent<Partial<BenchSettings>>) => this.controller.choose(event.detail)}></bench-settings>
      <button class="primary" ?disabled=${state.phase !== 'ready'} @click=${() => this.controller.run()}>Run</button>
      <p role="status">${state.status}</p>
      ${state.report ? [...new Set([...state.report.results, ...state.report.missing].map(({ workload }) => workload))].map((workload) => workloadTable(workload, state.report!, undefined)) : nothing}
    </main>`;
  }
}

customElements.define('bench-app', BenchApp);
