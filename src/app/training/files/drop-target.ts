// The whole page as a place to drop files on.

import type { ReactiveController, ReactiveControllerHost } from 'lit';
import { filesOf } from './model-folder.ts';

export class DropTarget implements ReactiveController {
  readonly #host: ReactiveControllerHost;
  readonly #take: (given: ReturnType<typeof filesOf>) => void;
  #over = false;

  /** `take` gets what is dropped. */
  constructor(host: ReactiveControllerHost, take: (given: ReturnType<typeof filesOf>) => void) {
    this.#host = host;
    this.#take = take;
    host.addController(this);
  }

  /** Files are held over the page. */
  get over(): boolean {
    return this.#over;
  }

  hostConnected(): void {
    for (const name of ['dragover', 'drop', 'dragleave'] as const) addEventListener(name, this.#onDrag);
  }

  hostDisconnected(): void {
    for (const name of ['dragover', 'drop', 'dragleave'] as const) removeEventListener(name, this.#onDrag);
  }

  readonly #onDrag = (event: DragEvent): void => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    this.#over = event.type === 'dragover';
    this.#host.requestUpdate();
    if (event.type === 'drop') this.#take(filesOf(event.dataTransfer));
  };
}
