// What all runs of a page have in common: one state, which the page draws, the ranks that it holds, and how a run
// begins and fails. Every failure ends as one sentence in `problems`.

import { formatBytes } from '../../../base/format-bytes.ts';
import { realWorld } from '../../../base/world.ts';
import { RoomError } from '../../../base/errors.ts';
import { chooseDevice } from '../../../device/wasm/choose.ts';
import type { Backend, BackendSetting } from '../../../../workers/protocol.ts';
import { sentence } from '../../shared/sentence.ts';
import { loadingOf, withMoved } from '../files/transfers.ts';
import type { Moved } from '../files/transfers.ts';
import type { Reporter } from '../reporter.ts';
import { changed, EMPTY_STATE } from '../room/page-state.ts';
import type { PageState, RoomState } from '../room/page-state.ts';
import { Hosts } from './hosts.ts';

export interface PageLifeOptions {
  readonly backend: BackendSetting;
  readonly reporter: Reporter;
  readonly onChange: (state: PageState) => void;
  /** Another run begins: what the last one left undone is over. */
  readonly onBegin: () => void;
  readonly inRoom: () => boolean;
}

export class PageLife {
  state: PageState = EMPTY_STATE;
  readonly hosts = new Hosts();
  readonly #options: PageLifeOptions;
  #abort = new AbortController();
  #backend: Backend | undefined;

  constructor(options: PageLifeOptions) {
    this.#options = options;
  }

  /** What this tab computes on; chosen once, when it is first asked for. */
  async backend(): Promise<Backend> {
    const { backend } = this.#options;
    this.#backend ??= backend === 'auto' ? await chooseDevice(navigator.gpu) : backend;
    return this.#backend;
  }
  get busy(): boolean {
    return ['starting', 'training', 'paused', 'stopping'].includes(this.state.phase);
  }
  /** Of what the run that begins loads. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  abort(): void {
    this.#abort.abort();
  }

  /** Returns the signal that ends what is begun now. */
  begin(): AbortSignal {
    this.#abort.abort();
    this.#options.onBegin();
    if (this.state.stays) this.hosts.close();
    this.#abort = new AbortController();
    // The last checkpoint stays: what forms now may come to nothing.
    this.change({
      phase: 'starting',
      problems: [],
      run: undefined,
      stays: false,
      watching: undefined,
      connections: [],
      transfers: [],
    });
    return this.#abort.signal;
  }

  fail(error: unknown): void {
    if (this.state.stays) this.hosts.close();
    this.change({
      phase: 'failed',
      stays: false,
      status: error instanceof RoomError && !this.#options.inRoom() ? 'not in the room' : 'the run failed',
    });
    this.problem(sentence(error));
  }

  problem(text: string): void {
    this.change({ problems: [...this.state.problems.filter((known) => known !== text), text].slice(-5) });
    this.#options.reporter.page('error', text);
  }

  forget(text: string): void {
    this.change({ problems: this.state.problems.filter((known) => known !== text) });
  }

  setRoom(change: Partial<RoomState>): void {
    if (this.state.room) this.change({ room: { ...this.state.room, ...change } });
  }

  /** A file has moved on. */
  moved(news: Moved): void {
    this.change({ transfers: withMoved(this.state.transfers, news, realWorld.now()) });
  }

  /** A file of the run comes from the page's server. */
  readonly loading = (name: string, loaded: number, total: number | undefined): void => {
    this.change({
      transfers: withMoved(this.state.transfers, loadingOf(name, loaded, total), realWorld.now()),
      status: loaded > 0 ? `loading ${name}: ${formatBytes(loaded)}` : `loading ${name}`,
    });
  };

  /** These transfers are shown no more. */
  closeTransfer(key: string): void {
    this.change({ transfers: this.state.transfers.filter((one) => one.key !== key) });
  }

  change(change: Partial<PageState>): void {
    this.state = changed(this.state, change);
    this.#options.onChange(this.state);
  }
}
