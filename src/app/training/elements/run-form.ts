// <run-form>: what to train. A row of examples, one per way to split a run, what the run will take, and behind
// "Settings" every field of a RunConfig that matters here. Event 'draft-change' with the new Draft. A value that cannot
// be used stays in its field, which says why.

import { css, html, LitElement, nothing } from 'lit';
import { formatLayout } from '../../../base/axis.ts';
import { TabmeshError } from '../../../base/errors.ts';
import { draftOf, edit, problemsOf, RATE_NAMES, rateOf, valueOf } from '../form/draft.ts';
import type { Draft } from '../form/draft.ts';
import { GROUPS, MODELS, TEXTS } from '../form/fields.ts';
import type { FieldGroup, FormField, Option } from '../form/fields.ts';
import { fittingLayouts, NO_FACTS } from '../form/fit.ts';
import type { Fault, FormFacts } from '../form/fit.ts';
import { forecast } from '../form/forecast.ts';
import type { Forecast } from '../form/forecast.ts';
import { thumbnail } from '../form/thumbnail.ts';
import { sentence } from '../../shared/sentence.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { taskOf } from '../../../train/tasks/registry.ts';
import { presetConfig, PRESETS } from '../presets.ts';
import { shapes } from '../../shared/elements/theme.ts';

/** Between the last change and the forecast: typing makes several. */
const FORECAST_DELAY_MS = 150;

export class RunForm extends LitElement {
  static override properties = {
    draft: { attribute: false },
    facts: { attribute: false },
    disabled: { type: Boolean, reflect: true },
    schedules: { state: true },
    strategies: { state: true },
    outlook: { state: true },
    open: { state: true },
  };
  static override styles = [
    shapes,
    css`
      :host {
        container-type: inline-size;
      }
      /* One row, or two halves: no example stands alone. */
      .presets {
        display: grid;
        grid-template-columns: repeat(var(--half), minmax(0, 1fr));
        gap: 6px;
      }
      @container (min-width: 700px) {
        .presets {
          grid-template-columns: repeat(var(--all), auto);
        }
      }
      .presets button {
        display: grid;
        grid-template-columns: minmax(0, 1fr);
        gap: 3px;
        justify-items: center;
        align-content: end;
        padding: 6px 5px;
        min-height: 34px;
        font-size: 14px;
        border-radius: 12px;
      }
      .presets svg {
        max-width: 100%;
        height: auto;
      }
      .presets button[aria-pressed='true'] {
        border-color: var(--accent);
        color: var(--accent);
        box-shadow: inset 0 0 0 1px var(--accent);
      }
      .about {
        margin-top: 8px;
      }
      fieldset {
        border: 0;
        margin: 14px 0 0;
        padding: 0;
        min-width: 0;
      }
      legend {
        padding: 0;
        font-size: 13px;
        font-weight: 650;
      }
      .fields {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(190px, 1fr));
        gap: 10px 12px;
        margin-top: 6px;
      }
      label {
        display: grid;
        gap: 3px;
        font-size: 13px;
        color: var(--soft);
      }
      label > * {
        color: var(--ink);
        font-size: 14px;
      }
      .help,
      .wrong {
        font-size: 12px;
        line-height: 1.35;
        margin-top: 3px;
      }
      .help {
        color: var(--soft);
      }
      .wrong {
        color: var(--bad);
        overflow-wrap: anywhere;
      }
      [aria-invalid='true'] {
        border-color: var(--bad);
        box-shadow: inset 0 0 0 1px var(--bad);
      }
      details {
        margin-top: 12px;
      }
      summary {
        font-size: 14px;
        color: var(--soft);
        width: fit-content;
      }
      .outlook {
        margin-top: 8px;
        font-variant-numeric: tabular-nums;
      }
      .said {
        color: var(--warn);
        margin-top: 8px;
      }
      @media (max-width: 700px) {
        :host([disabled]) .presets,
        :host([disabled]) .outlook {
          display: none;
        }
      }
    `,
  ];
  declare draft: Draft;
  /** What the page knows of dropped texts and models. */
  declare facts: FormFacts;
  declare disabled: boolean;
  declare schedules: readonly string[];
  declare strategies: readonly string[];
  declare outlook: Forecast | undefined;
  declare open: boolean;
  #forecastTimer = 0;
  #forecasts = 0;

  constructor() {
    super();
    this.draft = draftOf(presetConfig(PRESETS[0]!));
    this.facts = NO_FACTS;
    this.disabled = false;
    this.schedules = [];
    this.strategies = [];
    this.open = false;
  }

  override willUpdate(changed: Map<PropertyKey, unknown>): void {
    if (changed.has('draft') || changed.has('facts')) this.#foresee();
    // A field that does not fit is of no use behind a closed door.
    if (this.#problems().length && !this.disabled) this.open = true;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearTimeout(this.#forecastTimer);
  }

  override render() {
    const { config, said } = this.draft;
    const chosen = PRESETS.find((preset) => JSON.stringify(presetConfig(preset)) === JSON.stringify(config));
    return html` <div
        class="presets"
        role="group"
        aria-label="Examples"
        .style=${`--all: ${PRESETS.length}; --half: ${Math.ceil(PRESETS.length / 2)}`}
      >
        ${PRESETS.map(
          (preset) =>
            html`<button
              ?disabled=${this.disabled}
              title=${preset.about}
              aria-pressed=${preset === chosen}
              @click=${() => this.#tell(draftOf(presetConfig(preset)))}
            >
              ${thumbnail(presetConfig(preset), NO_FACTS)}<span>${preset.name}</span>
            </button>`,
        )}
      </div>
      <p class="soft small about">
        ${chosen ? `${chosen.about}. ` : ''}${config.model}, ${config.data}, ${formatLayout(config.layout)},
        ${config.steps} steps.
      </p>
      ${this.outlook ? html`<p class="small outlook" aria-label="What it takes"><b>${this.outlook.parameters}</b>, ${this.outlook.memory}. <span class="soft">${this.outlook.shares}</span></p>` : nothing}
      ${said.length ? html`<p class="small said" role="status">${said.join('; ')}.</p>` : nothing}
      <details
        ?open=${this.open}
        @toggle=${(event: Event) => {
          this.open = (event.target as HTMLDetailsElement).open;
          void this.#loadNames();
        }}
      >
        <summary>Settings</summary>
        ${this.open ? GROUPS.map((group) => this.#group(group)) : nothing}
      </details>`;
  }

  #group({ name, fields }: FieldGroup) {
    const problems = this.#problems();
    return html`<fieldset>
      <legend>${name}</legend>
      <div class="fields">
        ${fields.map((field) =>
          this.#field(
            field,
            problems.filter(({ field: at }) => at === field.name),
          ),
        )}
      </div>
    </fieldset>`;
  }

  #field(field: FormField, faults: readonly Fault[]) {
    const { name, label } = field;
    const unused = this.#unused(name);
    const help = unused === undefined ? field.help : `Not used: ${unused}.`;
    const notes = [`${name}-help`, ...(faults.length ? [`${name}-wrong`] : [])].join(' ');
    return html`<div>
      <label>${label}${this.#control(field, faults.length > 0, notes)}</label>
      ${faults.length ? html`<p class="wrong" id=${`${name}-wrong`}>${faults.map(({ text }) => text).join('; ')}</p>` : nothing}
      <p class="help" id=${`${name}-help`}>${help}</p>
    </div>`;
  }

  #control({ name, kind }: FormField, wrong: boolean, notes: string) {
    const value = valueOf(this.draft, name);
    const invalid = wrong ? 'true' : 'false';
    const fixed =
      this.disabled ||
      // What is refused must be mended all the same.
      (!wrong && this.#unused(name) !== undefined) ||
      ((RATE_NAMES as readonly string[]).includes(name) && rateOf(this.draft.config) === undefined);
    if (kind === 'number' || kind === 'text' || kind === 'layouts') {
      return html`<input
          name=${name}
          ?disabled=${fixed}
          .value=${value}
          list=${kind === 'layouts' ? 'layouts' : nothing}
          inputmode=${kind === 'number' ? 'decimal' : 'text'}
          aria-invalid=${invalid}
          aria-describedby=${notes}
          autocomplete="off"
          spellcheck="false"
          @input=${(event: Event) => {
            if (wrong) this.#edit(name, event);
          }}
          @change=${(event: Event) => this.#edit(name, event)}
        />
        ${kind === 'layouts' ? html`<datalist id="layouts">${fittingLayouts(this.draft.config, this.facts).map((text) => html`<option value=${text}></option>`)}</datalist>` : nothing}`;
    }
    const options = this.#options(kind);
    const all = options.some((option) => option.value === value) ? options : [{ value, name: value }, ...options];
    return html`<select
      name=${name}
      ?disabled=${fixed}
      aria-invalid=${invalid}
      aria-describedby=${notes}
      @change=${(event: Event) => this.#edit(name, event)}
    >
      ${all.map((option) => html`<option value=${option.value} .selected=${option.value === value}>${option.name}</option>`)}
    </select>`;
  }

  #options(kind: FormField['kind']): readonly Option[] {
    const plain = (values: Iterable<string>, what = ''): Option[] =>
      [...values].map((value) => ({ value, name: what + value }));
    if (kind === 'models') return [...MODELS, ...plain(this.facts.models.keys(), 'folder: ')];
    if (kind === 'texts') return [...TEXTS, ...plain(this.facts.characters.keys(), 'file: ')];
    return kind === 'schedules'
      ? plain(this.schedules)
      : kind === 'strategies'
        ? plain(this.strategies)
        : (kind as readonly Option[]);
  }

  /** Why a setting means nothing to the task of the draft; undefined for one that does. */
  #unused(name: string): string | undefined {
    const { config } = this.draft;
    return taskOf(config).unused(config)[name as keyof RunConfig];
  }

  #problems(): readonly Fault[] {
    return problemsOf(this.draft, this.facts);
  }

  #edit(name: string, event: Event): void {
    this.#tell(edit(this.draft, name, (event.target as HTMLInputElement).value, this.facts));
  }

  #tell(draft: Draft): void {
    this.draft = draft;
    this.dispatchEvent(new CustomEvent('draft-change', { detail: draft }));
  }

  /** What the run will take; nothing while something does not fit. */
  #foresee(): void {
    const number = ++this.#forecasts;
    clearTimeout(this.#forecastTimer);
    if (this.#problems().length) {
      this.outlook = undefined;
      return;
    }
    this.#forecastTimer = window.setTimeout(() => {
      forecast(this.draft.config, this.facts).then(
        (outlook) => {
          if (number === this.#forecasts) this.outlook = outlook;
        },
        (error: unknown) => {
          if (number !== this.#forecasts) return;
          this.outlook = undefined;
          // What cannot be built says so when it is trained; a part of the page that cannot be loaded is told at once.
          if (!(error instanceof TabmeshError))
            this.dispatchEvent(new CustomEvent('trouble', { detail: sentence(error), bubbles: true, composed: true }));
        },
      );
    }, FORECAST_DELAY_MS);
  }

  /** The registries bring kernels along, so they are loaded when somebody looks. */
  async #loadNames(): Promise<void> {
    if (this.schedules.length) return;
    const [{ schedules }, { sequenceStrategies }] = await Promise.all([
      import('../../../parallel/pipeline/registry.ts'),
      import('../../../parallel/sequence/registry.ts'),
    ]);
    this.schedules = [...schedules.keys()];
    this.strategies = [...sequenceStrategies.keys()];
  }
}

customElements.define('run-form', RunForm);
