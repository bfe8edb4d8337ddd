// The button that begins, pauses and stops: one element for all its meanings, so that focus stays where it is. While it
// waits for something it says so and keeps its focus, which a disabled button would lose. The second click of a double
// click, and a key that is held down, press nothing.

import { html } from 'lit';

export interface MainButton {
  /** It waits for something, and presses nothing meanwhile. */
  readonly idle?: boolean;
  /** Something must be mended before it can be pressed. */
  readonly blocked?: boolean;
  readonly primary?: boolean;
}

export function mainButton(
  name: string,
  press: () => void,
  { idle = false, blocked = false, primary = true }: MainButton = {},
) {
  return html`<button
    class=${primary ? 'main primary' : 'main'}
    ?disabled=${blocked}
    aria-disabled=${idle ? 'true' : 'false'}
    @keydown=${pressOnce}
    @click=${(event: MouseEvent) => {
      if (event.detail < 2 && !idle) press();
    }}
  >
    ${name}
  </button>`;
}

/** For `keydown`: a key that is held down presses a button once. */
export function pressOnce(event: Pick<KeyboardEvent, 'repeat' | 'key' | 'preventDefault'>): void {
  if (event.repeat && (event.key === 'Enter' || event.key === ' ')) event.preventDefault();
}
