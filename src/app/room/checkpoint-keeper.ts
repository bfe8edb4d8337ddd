// What becomes of a checkpoint that rank 0 hands over: it stays in memory and in this browser, and is offered as a file when somebody asked for one.

import { formatBytes } from '../../base/format-bytes.ts';
import { download, storeLatest } from '../checkpoints.ts';
import { sentence } from '../plan.ts';
import type { PageState } from './page-state.ts';

export interface KeeperContext {
  readonly state: () => PageState;
  readonly change: (change: Partial<PageState>) => void;
}

export class CheckpointKeeper {
  readonly #context: KeeperContext;
  #wantsFile = false;
  #storeProblem: string | undefined;
  /** Status of a moment; the next step replaces it. */
  #passing = '';

  constructor(context: KeeperContext) { this.#context = context; }

  /** The next checkpoint is wanted as a file. */
  wantFile(wants = true): void { this.#wantsFile = wants; }

  isPassing(status: string): boolean { return status === this.#passing; }

  keep(step: number, bytes: Uint8Array<ArrayBuffer>): void {
    this.#passing = `checkpoint of step ${step}: ${formatBytes(bytes.byteLength)}`;
    this.#context.change({ checkpoint: { step, bytes }, status: this.#passing });
    if (this.#wantsFile) {
      this.#wantsFile = false;
      download(bytes, `tabmesh-step-${step}.safetensors`);
    }
    // A full store ends no training; it stays told until a later checkpoint fits.
    storeLatest(bytes).then(() => this.#tellStore(undefined), (error: unknown) => {
      this.#tellStore(`the checkpoint of step ${step} is not kept in this browser (${sentence(error)}); what it kept before stays; save this one as a file`);
    });
  }

  #tellStore(problem: string | undefined): void {
    if (this.#storeProblem === problem) return;
    const others = this.#context.state().problems.filter((known) => known !== this.#storeProblem);
    this.#storeProblem = problem;
    this.#context.change({ problems: problem === undefined ? others : [...others, problem].slice(-5) });
  }
}
