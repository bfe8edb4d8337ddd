// <consent-card>: what a link would have this tab do, and two buttons. Nothing of it happens before a click. Events:
// 'allow', 'refuse'.

import { css, html, LitElement, nothing } from 'lit';
import { palette, shapes } from '../../shared/elements/theme.ts';

export class ConsentCard extends LitElement {
  static override properties = { wishes: { attribute: false } };
  static override styles = [
    palette,
    shapes,
    css`
      section {
        max-width: 1240px;
        margin: 0 auto;
        padding: 14px 20px;
        display: grid;
        gap: 10px;
        background: var(--warn-ground);
        border-radius: 0 0 16px 16px;
      }
      ul {
        margin: 0;
        padding-left: 18px;
      }
      li {
        overflow-wrap: anywhere;
      }
    `,
  ];
  declare wishes: readonly string[];

  constructor() {
    super();
    this.wishes = [];
  }

  override render() {
    if (this.wishes.length === 0) return nothing;
    const say = (name: 'allow' | 'refuse') => () => {
      this.dispatchEvent(new CustomEvent(name));
    };
    return html`<section role="alertdialog" aria-label="What this link asks for">
      <h2>This link asks this tab to begin by itself. Nothing has happened yet. It would:</h2>
      <ul>
        ${this.wishes.map((wish) => html`<li>${wish}</li>`)}
      </ul>
      <div class="row">
        <button class="primary" @click=${say('allow')}>Allow and begin</button>
        <button @click=${say('refuse')}>Do not begin</button>
      </div>
    </section>`;
  }
}

customElements.define('consent-card', ConsentCard);
