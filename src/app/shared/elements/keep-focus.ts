// Keeps the focus in an element: when what had it is drawn no more, it goes to what stands in its place now, and does
// not fall to the page.

import type { LitElement, ReactiveController } from 'lit';

const CAN_HAVE_IT = 'a[href], button, input, select, textarea, summary, [tabindex]';

export class KeepFocus implements ReactiveController {
  readonly #host: Pick<LitElement, 'shadowRoot' | 'addController'>;
  #had: Element | null = null;
  /** Its place among all that can have it. */
  #place = 0;

  constructor(host: Pick<LitElement, 'shadowRoot' | 'addController'>) {
    this.#host = host;
    host.addController(this);
  }

  hostUpdate(): void {
    this.#had = this.#host.shadowRoot?.activeElement ?? null;
    if (this.#had) this.#place = this.#all().indexOf(this.#had as HTMLElement);
  }

  hostUpdated(): void {
    if (!this.#had || this.#had.isConnected) return;
    const all = this.#all();
    const able = (element: HTMLElement): boolean => !element.matches(':disabled');
    (all.slice(Math.max(0, this.#place)).find(able) ?? all.findLast(able))?.focus();
  }

  #all(): HTMLElement[] {
    return [...this.#host.shadowRoot!.querySelectorAll<HTMLElement>(CAN_HAVE_IT)];
  }
}
