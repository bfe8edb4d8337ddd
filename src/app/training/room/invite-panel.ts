// <invite-panel>: what somebody who was invited reads before lending this device.

import { css, html, LitElement, nothing } from 'lit';
import type { Presence } from '../../../cluster/presence.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { shapes } from '../../shared/elements/theme.ts';
import { NO_FACTS } from '../form/fit.ts';
import { forecast } from '../form/forecast.ts';
import type { RunView } from '../run-view.ts';
import { inviteOf } from './invite.ts';

export class InvitePanel extends LitElement {
  static override properties = {
    members: { attribute: false },
    watched: { attribute: false },
    version: { attribute: false },
    memory: { state: true },
  };
  static override styles = [
    shapes,
    css`
      dl {
        display: grid;
        grid-template-columns: max-content minmax(0, 1fr);
        gap: 4px 12px;
        margin: 0 0 12px;
        font-size: 13px;
      }
      dt {
        color: var(--soft);
      }
      dd {
        margin: 0;
        overflow-wrap: anywhere;
      }
    `,
  ];
  declare members: readonly Presence[];
  declare watched: RunView | undefined;
  declare version: unknown;
  /** What this device will need; undefined while it is not known. */
  declare memory: string | undefined;
  #counted = '';

  constructor() {
    super();
    this.members = [];
  }

  override render() {
    const { config, lines } = inviteOf(this.members, this.watched);
    this.#count(config);
    return html`<dl aria-label="What joining means">
      ${lines.map(
        ([name, text]) =>
          html`<dt>${name}</dt>
            <dd>${text}</dd>`,
      )}
      ${
        config && this.memory
          ? html`<dt>memory</dt>
              <dd>${this.memory}</dd>`
          : nothing
      }
    </dl>`;
  }

  #count(config: RunConfig | undefined): void {
    const key = JSON.stringify(config) ?? '';
    if (key === this.#counted) return;
    this.#counted = key;
    this.memory = undefined;
    if (!config) return;
    forecast(config, NO_FACTS).then(
      (outlook) => {
        if (key === this.#counted) this.memory = outlook?.memory;
      },
      () => {
        // It cannot be built, or its model is not here; whoever joins the run hears why.
        if (key === this.#counted) this.memory = undefined;
      },
    );
  }
}

customElements.define('invite-panel', InvitePanel);
