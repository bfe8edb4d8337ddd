// <run-form>: what to train. A row of examples, one per way to split a run, and behind "Settings" every field of a RunConfig that matters here.
// Event 'config-change' with the new RunConfig; a value that does not parse stays in its field, with the reason below the form.

import { css, html, LitElement } from 'lit';
import { formatLayout } from '../../base/axis.ts';
import { PRESET_NAMES } from '../../model/presets.ts';
import { parseRunConfig } from '../../train/run-config.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { sentence } from '../plan.ts';
import { DATA, LAYOUTS, presetConfig, PRESETS } from '../presets.ts';
import { shapes } from './theme.ts';

export class RunForm extends LitElement {
  static override properties = { config: { attribute: false }, disabled: { type: Boolean }, files: { attribute: false }, trouble: { state: true }, schedules: { state: true }, strategies: { state: true } };
  static override styles = [shapes, css`
    .presets { display: flex; flex-wrap: wrap; gap: 6px; }
    .presets button { padding: 4px 12px; min-height: 34px; font-size: 14px; border-radius: 99px; }
    .presets button[aria-pressed='true'] { border-color: var(--accent); color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
    .fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 10px 12px; margin-top: 12px; }
    label { display: grid; gap: 3px; font-size: 13px; color: var(--soft); }
    label > * { color: var(--ink); font-size: 14px; }
    details { margin-top: 12px; }
    summary { font-size: 14px; color: var(--soft); width: fit-content; }
    .trouble { color: var(--bad); font-size: 13px; margin-top: 8px; }
  `];
  declare config: RunConfig;
  declare disabled: boolean;
  /** Names of text files that were dropped on the page. */
  declare files: readonly string[];
  declare trouble: string;
  declare schedules: readonly string[];
  declare strategies: readonly string[];

  constructor() {
    super();
    this.config = presetConfig(PRESETS[0]!);
    this.disabled = false;
    this.files = [];
    this.trouble = '';
    this.schedules = [];
    this.strategies = [];
  }

  override render() {
    const { config, disabled } = this;
    const layout = formatLayout(config.layout);
    const chosen = PRESETS.find((preset) => JSON.stringify(presetConfig(preset)) === JSON.stringify(config));
    return html`
      <div class="presets" role="group" aria-label="Examples">
        ${PRESETS.map((preset) => html`<button ?disabled=${disabled} title=${preset.about} aria-pressed=${preset === chosen} @click=${() => this.#set(presetConfig(preset))}>${preset.name}</button>`)}
      </div>
      <p class="soft small" .style=${'margin-top:8px'}>${chosen ? `${chosen.about}. ` : ''}${config.model}, ${config.data}, ${layout}, ${config.steps} steps.</p>
      <details @toggle=${() => { void this.#loadNames(); }}>
        <summary>Settings</summary>
        <div class="fields">
          ${this.#select('model', 'Model', PRESET_NAMES.map((value) => ({ value, name: value })))}
          ${this.#select('data', 'Data', [...DATA, ...this.files.map((value) => ({ value, name: `file: ${value}` }))])}
          ${this.#select('tokenizer', 'Tokenizer', ['auto', 'chars', 'bytes', 'bpe:512', 'bpe:1024'].map((value) => ({ value, name: value })))}
          ${this.#text('layout', 'Layout (mesh)', layout, 'layouts')}
          ${this.#select('schedule', 'Pipeline schedule', this.schedules.map((value) => ({ value, name: value })))}
          ${this.#select('sequence', 'Sequence strategy', this.strategies.map((value) => ({ value, name: value })))}
          ${this.#text('microbatches', 'Microbatches', config.microbatches)}
          ${this.#text('chunks', 'Chunks per pipeline rank', config.chunks)}
          ${this.#text('batch', 'Rows per step', config.batch)}
          ${this.#text('context', 'Tokens per row', config.context ?? 'none')}
          ${this.#text('steps', 'Steps', config.steps)}
          ${typeof config.lr === 'number' ? this.#text('lr', 'Learning rate', config.lr) : ''}
          ${this.#text('evalEvery', 'Evaluate every', config.evalEvery)}
          ${this.#text('sampleEvery', 'Sample every', config.sampleEvery)}
          ${this.#text('checkpointEvery', 'Checkpoint every', config.checkpointEvery)}
          ${this.#text('seed', 'Seed', config.seed)}
        </div>
        <datalist id="layouts">${LAYOUTS.map((value) => html`<option value=${value}></option>`)}</datalist>
      </details>
      ${this.trouble ? html`<p class="trouble" role="alert">${this.trouble}</p>` : ''}`;
  }

  #select(name: 'model' | 'data' | 'tokenizer' | 'schedule' | 'sequence', label: string, options: readonly { readonly value: string; readonly name: string }[]) {
    const value = this.config[name];
    const all = options.some((option) => option.value === value) ? options : [{ value, name: value }, ...options];
    return html`<label>${label}<select ?disabled=${this.disabled} @change=${(event: Event) => this.#edit(name, (event.target as HTMLSelectElement).value)}>
      ${all.map((option) => html`<option value=${option.value} ?selected=${option.value === value}>${option.name}</option>`)}
    </select></label>`;
  }

  #text(name: keyof RunConfig, label: string, value: string | number, list?: string) {
    return html`<label>${label}<input name=${name} ?disabled=${this.disabled} .value=${String(value)} list=${list ?? ''} inputmode=${typeof value === 'number' ? 'decimal' : 'text'} @change=${(event: Event) => this.#edit(name, (event.target as HTMLInputElement).value)}></label>`;
  }

  #edit(name: string, value: string): void {
    try {
      this.#set(parseRunConfig([[name, value.trim()]], this.config));
    } catch (error) {
      this.trouble = sentence(error);
    }
  }

  #set(config: RunConfig): void {
    this.trouble = '';
    this.config = config;
    this.dispatchEvent(new CustomEvent('config-change', { detail: config }));
  }

  /** The registries bring kernels along, so they are loaded when somebody looks. */
  async #loadNames(): Promise<void> {
    if (this.schedules.length) return;
    const [{ schedules }, { sequenceStrategies }] = await Promise.all([import('../../parallel/pipeline/registry.ts'), import('../../parallel/sequence/registry.ts')]);
    this.schedules = [...schedules.keys()];
    this.strategies = [...sequenceStrategies.keys()];
  }
}

customElements.define('run-form', RunForm);
