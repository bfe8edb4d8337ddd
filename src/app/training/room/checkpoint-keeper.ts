// What becomes of a checkpoint that reaches this page, from rank 0 or as the copy of the last rank: it stays in memory
// and in this browser, the room hears that it is here, and it is offered as a file when somebody asked for one. It
// stays when another group is formed, until a later one replaces it.

import { formatBytes } from '../../../base/format-bytes.ts';
import type { Holds } from '../../../cluster/presence.ts';
import { download, loadLatest, storeLatest } from '../checkpoints.ts';
import { savingOf } from '../files/transfers.ts';
import type { Moved } from '../files/transfers.ts';
import type { RankEvent } from '../../../../workers/protocol.ts';
import { sentence } from '../../shared/sentence.ts';
import type { RoomFiles } from './files/room-files.ts';
import type { PageState } from './page-state.ts';

export interface KeeperContext {
  readonly state: () => PageState;
  readonly change: (change: Partial<PageState>) => void;
  /** A file of this page has moved on. */
  readonly moved: (news: Moved) => void;
  readonly closeTransfer: (key: string) => void;
  readonly files: Pick<RoomFiles, 'keep' | 'drop'>;
  /** Tells our rank the hash of the checkpoint that it told of. */
  readonly identify: (step: number, hash: string) => void;
  /** Tells the room what this page keeps; undefined: nothing. */
  readonly announce: (holds: Holds | undefined) => void;
}

/** What this tab told its room, for when it is loaded anew. */
const REMEMBERED = 'tabmesh.holds';

function remember(told: { readonly room: string | undefined; readonly holds: Holds } | undefined): void {
  try {
    if (told) sessionStorage.setItem(REMEMBERED, JSON.stringify(told));
    else sessionStorage.removeItem(REMEMBERED);
  } catch (error) {
    // A browser that keeps nothing: after a reload this tab has no checkpoint, the other keeper has.
    console.warn('what this tab keeps is not remembered', error);
  }
}

function remembered(room: string | undefined): Holds | undefined {
  try {
    const told = JSON.parse(sessionStorage.getItem(REMEMBERED) ?? 'null') as { room?: string; holds: Holds } | null;
    return told && told.room === room ? told.holds : undefined;
  } catch (error) {
    console.warn('what this tab kept cannot be read', error);
    return undefined;
  }
}

export class CheckpointKeeper {
  readonly #context: KeeperContext;
  #wantsFile = false;
  #storeProblem: string | undefined;
  #holds: Holds | undefined;
  /** Counts the rooms that were left: what is prepared for one of them is not kept for the next. */
  #visit = 0;
  #sharing: Promise<void> = Promise.resolve();
  /** Status of a moment; the next step replaces it. */
  #passing = '';

  constructor(context: KeeperContext) {
    this.#context = context;
  }

  /** The next checkpoint is wanted as a file. */
  wantFile(wants = true): void {
    const asked = savingOf('the checkpoint');
    if (wants) this.#context.moved(asked);
    else if (this.#wantsFile) this.#context.closeTransfer(asked.key);
    this.#wantsFile = wants;
  }

  isPassing(status: string): boolean {
    return status === this.#passing;
  }

  /**
   * Takes an event of our rank that brings a checkpoint of the run of this number; undefined outside of rooms. True if
   * it was one.
   */
  took(event: RankEvent, run: number | undefined): boolean {
    if (event.kind === 'checkpoint') this.#keep(event.step, event.bytes, run);
    else if (event.kind === 'copy') this.#keep(event.step, event.content, run);
    else return false;
    return true;
  }

  #keep(step: number, bytes: Uint8Array<ArrayBuffer>, run: number | undefined): void {
    this.#passing = `checkpoint of step ${step}: ${formatBytes(bytes.byteLength)}`;
    const { phase } = this.#context.state();
    // A status of what goes on would stay where no step follows.
    const passes = phase === 'training' || phase === 'stopping';
    this.#context.change({ checkpoint: { step, bytes }, ...(passes ? { status: this.#passing } : {}) });
    if (run !== undefined) {
      // One after the other, so that what the earlier lets go is not what the later has just put there.
      const visit = this.#visit;
      const shared = this.#sharing.then(() => this.#share(step, bytes, run, visit));
      this.#sharing = shared.catch(() => {});
      shared.catch((error: unknown) => {
        this.#context.change({
          status: `the room cannot go on from the checkpoint of step ${step} (${sentence(error)}); save it as a file`,
        });
      });
    }
    if (this.#wantsFile) {
      this.#wantsFile = false;
      const name = `tabmesh-step-${step}.safetensors`;
      download(bytes, name);
      this.#context.moved(savingOf(name, bytes.byteLength));
    }
    // A full store ends no training; it stays told until a later checkpoint fits.
    storeLatest(bytes).then(
      () => this.#tellStore(undefined),
      (error: unknown) => {
        this.#tellStore(
          `the checkpoint of step ${step} is not kept in this browser (${sentence(error)}); what it kept before stays; save this one as a file`,
        );
      },
    );
  }

  /**
   * Says again what is kept, in a room that was joined anew: also by a page that was loaded anew, if this browser still
   * has the checkpoint.
   */
  async announce(): Promise<void> {
    const { state, change, files, announce } = this.#context;
    const visit = this.#visit;
    const told = this.#holds ? undefined : remembered(state().room?.address.room);
    const latest = told && (await loadLatest());
    if (told && latest?.step === told.step) {
      const { hash } = await files.keep(`checkpoint of step ${told.step}`, latest.bytes);
      if (hash !== told.hash || this.#holds || visit !== this.#visit) this.#letGo(hash);
      else {
        this.#holds = told;
        change({ checkpoint: { step: told.step, bytes: latest.bytes } });
      }
    }
    if (this.#holds) announce(this.#holds);
  }

  /** This page has left the room for good. */
  left(): void {
    this.#visit++;
    const before = this.#holds;
    this.#holds = undefined;
    if (before) this.#letGo(before.hash);
    remember(undefined);
  }

  async #share(step: number, bytes: Uint8Array<ArrayBuffer>, run: number, visit: number): Promise<void> {
    const { hash } = await this.#context.files.keep(`checkpoint of step ${step}`, bytes);
    this.#context.identify(step, hash);
    // A later one may have come meanwhile, or the room was left.
    if (visit !== this.#visit || this.#context.state().checkpoint?.bytes !== bytes) return this.#letGo(hash);
    const before = this.#holds;
    this.#holds = { run, step, hash, bytes: bytes.byteLength };
    this.#context.announce(this.#holds);
    remember({ room: this.#context.state().room?.address.room, holds: this.#holds });
    if (before) this.#letGo(before.hash);
  }

  /** The shelf holds what is kept until it is told otherwise: a whole checkpoint in memory. */
  #letGo(hash: string): void {
    if (hash !== this.#holds?.hash) this.#context.files.drop(hash);
  }

  #tellStore(problem: string | undefined): void {
    if (this.#storeProblem === problem) return;
    const others = this.#context.state().problems.filter((known) => known !== this.#storeProblem);
    this.#storeProblem = problem;
    this.#context.change({ problems: problem === undefined ? others : [...others, problem].slice(-5) });
  }
}
