// The button that begins and stops: one element for both, so that focus stays where it is. While it waits for something
// it says so and keeps its focus, which a disabled button would lose. The second click of a double click, and a key
// that is held down, press nothing.

import { html } from 'lit';

export function mainButton(name: string, press: () => void, { idle = false, primary = true } = {}) {
  const hold = (event: KeyboardEvent): void => {
    if (event.repeat && (event.key === 'Enter' || event.key === ' ')) event.preventDefault();
  };
  return html`<button
    class=${primary ? 'primary' : ''}
    aria-disabled=${idle ? 'true' : 'false'}
    @keydown=${hold}
    @click=${(event: MouseEvent) => {
      if (event.detail < 2 && !idle) press();
    }}
  >
    ${name}
  </button>`;
}
