// <connection-doctor>: what became of the connection to each other tab, what was tried, and what to do. Open by itself
// when something is wrong, one line that can be opened when all is well, nothing when there are no connections. Event:
// 'check-connections' (look again).

import { css, html, LitElement, nothing } from 'lit';
import { connectionLine, connectionSummary } from '../connections.ts';
import type { ConnectionView } from '../connections.ts';
import { shapes } from '../../shared/elements/theme.ts';

export class ConnectionDoctor extends LitElement {
  static override properties = { connections: { attribute: false }, checkable: { type: Boolean } };
  static override styles = [
    shapes,
    css`
      :host {
        display: contents;
      }
      section {
        background: var(--card);
        border: 1px solid var(--edge);
        border-radius: 12px;
        padding: 10px 14px;
        min-width: 0;
        overflow-wrap: anywhere;
      }
      section.bad {
        border-color: var(--bad);
      }
      summary {
        font-size: 14px;
      }
      summary::marker {
        color: var(--soft);
      }
      ul {
        list-style: none;
        margin: 10px 0;
        padding: 0;
        display: grid;
        gap: 10px;
      }
      ul ul {
        margin: 4px 0 0;
        gap: 0;
        font: 12px/1.5 var(--mono);
        color: var(--soft);
      }
      .line::before {
        content: '';
        display: inline-block;
        width: 8px;
        height: 8px;
        border-radius: 50%;
        margin-right: 8px;
        background: var(--good);
      }
      .wait .line::before {
        background: var(--wait);
      }
      .bad .line::before {
        background: var(--bad);
      }
      .bad .line {
        color: var(--bad);
        font-weight: 550;
      }
      li details {
        margin-top: 2px;
        font-size: 13px;
      }
      li details summary {
        font-size: 13px;
        color: var(--soft);
      }
    `,
  ];
  declare connections: readonly ConnectionView[];
  /** There are connections to look at again. */
  declare checkable: boolean;

  constructor() {
    super();
    this.connections = [];
    this.checkable = false;
  }

  override render() {
    const { connections } = this;
    if (connections.length === 0) return nothing;
    const bad = connections.some(({ health }) => health === 'bad');
    return html`<section class=${bad ? 'bad' : ''} aria-label="Connections">
      <details ?open=${bad}>
        <summary>${bad ? 'Connection doctor: ' : ''}${connectionSummary(connections)}</summary>
        <ul>
          ${connections.map((connection) => this.#connection(connection))}
        </ul>
        ${this.checkable ? html`<button @click=${() => this.dispatchEvent(new CustomEvent('check-connections'))}>Check again</button>` : nothing}
      </details>
    </section>`;
  }

  #connection(connection: ConnectionView) {
    const { name, advice, tried, health } = connection;
    return html`<li class=${health}>
      <div class="line">
        ${connectionLine(connection)}${name ? html` <span class="soft small">${name}</span>` : nothing}
      </div>
      ${advice ? html`<p><b>What to do:</b> ${advice}</p>` : nothing}
      <details>
        <summary>What was tried</summary>
        <ul>
          ${tried.map((line) => html`<li>${line}</li>`)}
        </ul>
      </details>
    </li>`;
  }
}

customElements.define('connection-doctor', ConnectionDoctor);
