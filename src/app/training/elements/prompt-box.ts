// <prompt-box>: lets the model write: a prompt to continue, how freely it draws, how much it writes. Event 'ask' with a
// SampleAsk. A value that cannot be used marks its field and blocks the button.

import { css, html, LitElement, nothing } from 'lit';
import { checkAsk, MOST_ASKED_TOKENS } from '../../../train/beside/ask.ts';
import type { SampleAsk } from '../../../train/beside/ask.ts';
import { ConfigError } from '../../../base/errors.ts';
import { quote } from '../../../base/json.ts';
import { shapes } from '../../shared/elements/theme.ts';

const NUMBERS = [
  {
    name: 'temperature',
    label: 'Temperature',
    help: '0 takes the likeliest token, 1 draws as the model thinks, more is wilder.',
  },
  { name: 'top-k', label: 'Top-k', help: 'Only the k likeliest tokens count; 0 is all.' },
  { name: 'tokens', label: 'Tokens', help: `How many it writes, ${MOST_ASKED_TOKENS} at most.` },
] as const;

export class PromptBox extends LitElement {
  static override properties = { unable: {}, prompt: { state: true }, numbers: { state: true } };
  static override styles = [
    shapes,
    css`
      form {
        display: grid;
        gap: 8px;
        margin: 10px 0;
      }
      textarea {
        font: 13px/1.45 var(--mono);
        color: inherit;
        background: var(--card);
        border: 1px solid var(--edge);
        border-radius: 9px;
        padding: 8px 10px;
        width: 100%;
        min-height: 52px;
        resize: vertical;
      }
      textarea:focus-visible {
        outline: 2px solid var(--accent);
        outline-offset: 2px;
      }
      .numbers {
        display: grid;
        grid-template-columns: repeat(3, minmax(0, 1fr));
        gap: 8px;
      }
      label {
        display: grid;
        gap: 2px;
        font-size: 12px;
        color: var(--soft);
      }
      label > * {
        color: var(--ink);
      }
      .numbers input {
        min-height: 32px;
        padding: 3px 8px;
        font-size: 14px;
      }
      [aria-invalid='true'] {
        border-color: var(--bad);
        box-shadow: inset 0 0 0 1px var(--bad);
      }
      .wrong {
        color: var(--bad);
      }
      button {
        min-height: 34px;
        padding: 4px 14px;
        justify-self: start;
      }
    `,
  ];
  /** Why nothing can be written now; empty: it can. */
  declare unable: string;
  declare prompt: string;
  /** As they were written into the fields. */
  declare numbers: Readonly<Record<(typeof NUMBERS)[number]['name'], string>>;

  constructor() {
    super();
    this.unable = '';
    this.prompt = '';
    this.numbers = { temperature: '0.8', 'top-k': '40', tokens: '120' };
  }

  override render() {
    const wrong = this.#read() instanceof ConfigError ? (this.#read() as ConfigError) : undefined;
    const invalid = (name: string): string => (wrong?.where === name ? 'true' : 'false');
    return html`<form
      aria-label="Let the model write"
      @submit=${(event: Event) => {
        event.preventDefault();
        this.#ask();
      }}
    >
      <label
        >Prompt<textarea
          name="prompt"
          rows="2"
          placeholder="the model goes on from here"
          aria-invalid=${invalid('prompt')}
          .value=${this.prompt}
          @input=${(event: Event) => {
            this.prompt = (event.target as HTMLTextAreaElement).value;
          }}
          @keydown=${(event: KeyboardEvent) => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.#ask();
          }}
        ></textarea>
      </label>
      <div class="numbers">
        ${NUMBERS.map(
          ({ name, label, help }) =>
            html`<label title=${help}
              >${label}<input
                name=${name}
                inputmode="decimal"
                autocomplete="off"
                aria-invalid=${invalid(name)}
                .value=${this.numbers[name]}
                @input=${(event: Event) => {
                  this.numbers = { ...this.numbers, [name]: (event.target as HTMLInputElement).value };
                }}
            /></label>`,
        )}
      </div>
      ${wrong ? html`<p class="small wrong" role="status">${wrong.message}</p>` : this.unable ? html`<p class="small soft">${this.unable}</p>` : nothing}
      <button type="submit" aria-disabled=${wrong !== undefined || this.unable !== '' ? 'true' : 'false'}>Write</button>
    </form>`;
  }

  #read(): SampleAsk | ConfigError {
    const number = (name: keyof typeof this.numbers): number => {
      const text = this.numbers[name].trim();
      if (text === '' || Number.isNaN(Number(text)))
        throw new ConfigError(name, `expected a number, got ${quote(text)}`);
      return Number(text);
    };
    try {
      return checkAsk({
        prompt: this.prompt,
        temperature: number('temperature'),
        topK: number('top-k'),
        tokens: number('tokens'),
      });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error;
    }
  }

  #ask(): void {
    const ask = this.#read();
    if (!(ask instanceof ConfigError) && this.unable === '')
      this.dispatchEvent(new CustomEvent('ask', { detail: ask, bubbles: true, composed: true }));
  }
}

customElements.define('prompt-box', PromptBox);
