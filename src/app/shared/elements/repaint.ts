// Paces an element that draws: `request` calls `paint` at most four times a second, and only while the element is on
// screen in a visible tab; what was missed meanwhile is painted once when it comes back. Time spent on curves is taken
// from training.

import type { ReactiveController, ReactiveControllerHost } from 'lit';

const PAUSE_MS = 250;

export class Repaint implements ReactiveController {
  readonly #host: ReactiveControllerHost & HTMLElement;
  readonly #paint: () => void;
  readonly #sight = new IntersectionObserver((entries) => {
    this.#seen = entries.at(-1)!.isIntersecting;
    this.#next();
  });
  readonly #size = new ResizeObserver(() => this.request());
  readonly #shown = (): void => this.#next();
  readonly #scheme = matchMedia('(prefers-color-scheme: dark)');
  readonly #recolour = (): void => this.request();
  #seen = false;
  #wanted = false;
  #timer = 0;
  #paintedAtMs = -PAUSE_MS;

  constructor(host: ReactiveControllerHost & HTMLElement, paint: () => void) {
    this.#host = host;
    this.#paint = paint;
    host.addController(this);
  }

  request(): void {
    this.#wanted = true;
    this.#next();
  }

  hostConnected(): void {
    this.#sight.observe(this.#host);
    this.#size.observe(this.#host);
    this.#scheme.addEventListener('change', this.#recolour);
    document.addEventListener('visibilitychange', this.#shown);
  }

  hostDisconnected(): void {
    this.#sight.disconnect();
    this.#size.disconnect();
    this.#scheme.removeEventListener('change', this.#recolour);
    document.removeEventListener('visibilitychange', this.#shown);
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  #next(): void {
    if (!this.#wanted || !this.#seen || this.#timer || document.hidden) return;
    this.#timer = window.setTimeout(
      () => {
        this.#timer = 0;
        if (!this.#seen || document.hidden) return;
        this.#wanted = false;
        this.#paintedAtMs = performance.now();
        this.#paint();
      },
      Math.max(0, this.#paintedAtMs + PAUSE_MS - performance.now()),
    );
  }
}

/** The value of a colour of the theme ('--accent'), for a canvas; any other colour as it is. */
export function colour(element: Element, name: string): string {
  return !name.startsWith('--') ? name : getComputedStyle(element).getPropertyValue(name).trim();
}
