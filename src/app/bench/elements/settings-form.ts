// <bench-settings>: what runs. Events 'choose' with a part of the settings.

import { css, html, LitElement } from 'lit';
import { shapes } from '../../shared/elements/theme.ts';
import type { Catalogue } from '../protocol.ts';
import { BACKENDS, DEFAULT_SETTINGS, SCOPES } from '../settings.ts';
import type { BenchSettings, Selection } from '../settings.ts';

/** Libraries by the names that people know. */
export const LIBRARY_NAMES: Readonly<Record<string, string>> = {
  tfjs: 'TensorFlow.js',
  'onnxruntime-web': 'ONNX Runtime Web',
  'jax-js': 'jax-js',
};

const BACKEND_NAMES = { webgpu: 'GPU (WebGPU)', wasm: 'Processor (WebAssembly)' } as const;
const SCOPE_NAMES = {
  quick: 'Quick: a few shapes',
  default: 'Default: most shapes',
  full: 'Full: all shapes, nobody left out',
} as const;

export class BenchSettingsForm extends LitElement {
  static override properties = {
    settings: { attribute: false },
    catalogue: { attribute: false },
    disabled: { type: Boolean },
  };
  static override styles = [
    shapes,
    css`
      :host {
        display: grid;
        gap: 14px;
      }
      fieldset {
        border: 0;
        margin: 0;
        padding: 0;
        min-width: 0;
      }
      legend {
        padding: 0;
        font-size: 13px;
        color: var(--soft);
        margin-bottom: 6px;
      }
      .chips {
        display: flex;
        flex-wrap: wrap;
        gap: 6px;
      }
      .chip {
        position: relative;
        display: inline-flex;
        align-items: center;
        gap: 6px;
        padding: 4px 12px;
        min-height: 34px;
        font-size: 14px;
        border: 1px solid var(--edge);
        border-radius: 99px;
        cursor: pointer;
      }
      .chip:has(:checked) {
        border-color: var(--accent);
        color: var(--accent);
        box-shadow: inset 0 0 0 1px var(--accent);
      }
      .chip:has(:focus-visible) {
        outline: 2px solid var(--accent);
        outline-offset: 2px;
      }
      .chip:has(:disabled) {
        opacity: 0.5;
        cursor: default;
      }
      .fields {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(min(190px, 100%), 1fr));
        gap: 10px 12px;
      }
      label.field {
        display: grid;
        gap: 3px;
        font-size: 13px;
        color: var(--soft);
        align-content: end;
      }
      label.field > * {
        color: var(--ink);
        font-size: 14px;
      }
    `,
  ];
  declare settings: BenchSettings;
  declare catalogue: Catalogue | undefined;
  declare disabled: boolean;

  constructor() {
    super();
    this.settings = DEFAULT_SETTINGS;
    this.disabled = false;
  }

  override render() {
    const { settings, catalogue } = this;
    const workloads = catalogue?.workloads ?? [];
    const libraries = catalogue?.libraries ?? [];
    return html` <fieldset ?disabled=${this.disabled}>
        <legend>Workloads</legend>
        <div class="chips">
          ${
            workloads.length
              ? workloads.map(({ name, about }) =>
                  this.#chip(
                    'workloads',
                    name,
                    name,
                    workloads.map((one) => one.name),
                    about,
                  ),
                )
              : html`<span class="soft small">loading the list</span>`
          }
          ${catalogue ? html`<label class="chip" title=${`the contract cases of ${catalogue.kernels.length} kernels: correct, and milliseconds`}><input type="checkbox" .checked=${settings.cases.length > 0} @change=${(event: Event) => this.#choose({ cases: checked(event) ? 'all' : [] })} />all kernels</label>` : ''}
        </div>
      </fieldset>
      <fieldset ?disabled=${this.disabled}>
        <legend>Compare with (loaded only when chosen)</legend>
        <div class="chips">
          ${libraries.map((name) => this.#chip('peers', name, LIBRARY_NAMES[name] ?? name, libraries))}
        </div>
      </fieldset>
      <div class="fields">
        <label class="field"
          >Device<select
            ?disabled=${this.disabled}
            name="backend"
            @change=${(event: Event) => this.#choose({ backend: (event.target as HTMLSelectElement).value as BenchSettings['backend'] })}
          >
            ${BACKENDS.map((backend) => html`<option value=${backend} ?selected=${backend === settings.backend}>${BACKEND_NAMES[backend]}</option>`)}
          </select></label
        >
        ${settings.backend === 'wasm' ? this.#number('threads', 'Threads (libraries have one)', 1, 64, 1) : ''}
        <label class="field"
          >Shapes<select
            ?disabled=${this.disabled}
            name="scope"
            @change=${(event: Event) => this.#choose({ scope: (event.target as HTMLSelectElement).value as BenchSettings['scope'] })}
          >
            ${SCOPES.map((scope) => html`<option value=${scope} ?selected=${scope === settings.scope}>${SCOPE_NAMES[scope]}</option>`)}
          </select></label
        >
        ${this.#number('rounds', 'Rounds, at most', 1, 100, 1)}
        ${settings.backend === 'webgpu' ? this.#number('tune', 'Seconds to choose variants first', 0, 600, 1) : ''}
      </div>`;
  }

  #chip(kind: 'workloads' | 'peers', name: string, label: string, all: readonly string[], title = '') {
    const choice: Selection = this.settings[kind];
    const chosen = choice === 'all' || choice.includes(name);
    const toggle = (event: Event): void => {
      const names = all.filter((one) => (one === name ? checked(event) : choice === 'all' || choice.includes(one)));
      this.#choose({ [kind]: names.length === all.length ? 'all' : names });
    };
    return html`<label class="chip" title=${title}
      ><input type="checkbox" name=${name} .checked=${chosen} @change=${toggle} />${label}</label
    >`;
  }

  #number(name: 'threads' | 'rounds' | 'tune', label: string, least: number, most: number, step: number) {
    return html`<label class="field"
      >${label}<input
        type="number"
        name=${name}
        min=${least}
        max=${most}
        step=${step}
        inputmode="numeric"
        ?disabled=${this.disabled}
        .value=${String(this.settings[name])}
        @change=${(event: Event) => {
          const field = event.target as HTMLInputElement;
          if (field.value !== '' && field.checkValidity()) this.#choose({ [name]: field.valueAsNumber });
          else field.value = String(this.settings[name]);
        }}
    /></label>`;
  }

  #choose(change: Partial<BenchSettings>): void {
    this.dispatchEvent(new CustomEvent('choose', { detail: change }));
  }
}

function checked(event: Event): boolean {
  return (event.target as HTMLInputElement).checked;
}

customElements.define('bench-settings', BenchSettingsForm);
