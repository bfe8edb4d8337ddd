// What a rank keeps when its view ends: the trainer with its plans and buffers, behind a mesh that is rebound to the
// links of the next view, and what samples are made with. A view in which the rank's part is the same goes on with all
// of it: nothing is compiled or allocated. Weights and moments stay where they are known to be those of the checkpoint
// that the view goes on from; otherwise they are loaded into the buffers that are there. Any other part is built anew.
// What may differ between two views of one part (batches, learning rate, wishes) is asked of the view as it is now.

import type { World } from '../../base/world.ts';
import { InternalError } from '../../base/errors.ts';
import { elements } from '../../base/shape.ts';
import { nextTask } from '../../base/world.ts';
import type { Ledger } from '../../collectives/group.ts';
import { rebindableMesh } from '../../collectives/groups/rebindable.ts';
import type { RebindableMesh } from '../../collectives/groups/rebindable.ts';
import type { Mesh } from '../../collectives/mesh.ts';
import type { Device } from '../../device/device.ts';
import type { WeightSource } from '../../model/param-spec.ts';
import { scheduleByName } from '../../parallel/pipeline/registry.ts';
import { Generator } from '../beside/generate.ts';
import { loadMoments } from '../gather.ts';
import { learningRateAt } from '../learning-rate.ts';
import type { PreparedRun } from '../prepare.ts';
import type { RunConfig } from '../run-config.ts';
import { NO_REQUESTS } from '../step/requests.ts';
import type { Requests } from '../step/requests.ts';
import { Trainer } from '../trainer.ts';

/** What a rank brings to a view. */
export interface RuntimeView {
  readonly device: Device;
  /** Of this view; the trainer sees it through one that can be rebound. */
  readonly mesh: Mesh;
  readonly ledger: Ledger;
  readonly world: World;
  readonly config: RunConfig;
  readonly prepared: PreparedRun;
  /** Of the checkpoint that `prepared` goes on from, where it is known. */
  readonly checkpointHash?: string | undefined;
  requests?(): Requests;
}

/** What a rank goes on with of an earlier view: nothing; its plans and buffers; these with what is in them. */
export type Kept = 'nothing' | 'plans' | 'state';

/** Fields that a view may set otherwise, because no plan, buffer or hyperparameter of the trainer is made of them. */
const PER_VIEW: ReadonlySet<string> = new Set<keyof RunConfig>([
  'steps',
  'lr',
  'evalEvery',
  'sampleEvery',
  'checkpointEvery',
  'deadline',
]);

interface Part {
  /** Two views with equal texts have the same part on this rank. */
  readonly key: string;
  readonly device: Device;
  readonly ledger: Ledger;
  readonly mesh: RebindableMesh;
  readonly trainer: Trainer;
  generator?: Promise<Generator> | undefined;
}

export class RankRuntime {
  #part: Part | undefined;
  #view: RuntimeView | undefined;
  /** A checkpoint of the trainer's state after `step` steps, and its hash once that is known. */
  #checkpoint: { readonly step: number; readonly hash: string | undefined } | undefined;

  /** Of the current view. */
  get trainer(): Trainer {
    if (!this.#part) throw new InternalError('this rank has no part: enter a view first');
    return this.#part.trainer;
  }

  /**
   * Takes the rank's part in a view, of which the last one must be over. Sends nothing. Rejects as Trainer.create does;
   * then there is no part.
   */
  async enter(view: RuntimeView): Promise<Kept> {
    const part = this.#part;
    if (part?.key !== keyOf(view) || part.device !== view.device || part.ledger !== view.ledger) {
      await this.dispose();
      this.#view = view;
      this.#part = await this.#build(view);
      this.#load(this.#part.trainer, view, true);
      return 'nothing';
    }
    // What the last view had under way when it broke off reads and writes the same buffers; its links are closed, so it
    // ends with what the device has to do for it.
    await view.device.idle();
    await nextTask();
    part.mesh.rebind(view.mesh);
    this.#view = view;
    if (this.#holds(view)) return 'state';
    this.#load(part.trainer, view, false);
    return 'plans';
  }

  /** Compiles what samples need, once; after a failure the next call tries again. */
  generator(): Promise<Generator> {
    const part = this.#part;
    if (!part) throw new InternalError('this rank has no part: enter a view first');
    return (part.generator ??= Generator.create(part.trainer).catch((error: unknown) => {
      part.generator = undefined;
      throw error;
    }));
  }

  /** The ranks have made a checkpoint of the state as it is now. */
  saved(): void {
    this.#checkpoint = { step: this.trainer.step, hash: undefined };
  }

  /** Whoever has the checkpoint after `step` steps, which was made last, says its hash. */
  identify(step: number, hash: string): void {
    if (this.#checkpoint?.step === step) this.#checkpoint = { step, hash };
  }

  /** Frees all buffers. Resolves when nothing compiles any more; another view may be entered afterwards. */
  async dispose(): Promise<void> {
    const part = this.#part;
    this.#part = this.#view = this.#checkpoint = undefined;
    if (!part) return;
    // Whoever asked for it has heard why there is none.
    (await part.generator?.catch(() => undefined))?.dispose();
    part.trainer.dispose();
  }

  async #build(view: RuntimeView): Promise<Part> {
    const { device, ledger, world, config, prepared } = view;
    const mesh = rebindableMesh(view.mesh);
    const now = (): RuntimeView => this.#view!;
    const trainer = await Trainer.create({
      device,
      mesh,
      ledger,
      world,
      task: prepared.task,
      schedule: scheduleByName(config.schedule, config.vocab),
      chunks: config.chunks,
      microbatches: config.microbatches,
      batch: config.batch,
      // The arrays of a view go when the next one comes.
      weights: (name) => now().prepared.weights(name),
      requests: () => now().requests?.() ?? NO_REQUESTS,
      hyper: { betas: config.betas, eps: config.eps, weightDecay: config.weightDecay, gradClip: config.gradClip },
      lr: (at) => learningRateAt(now().config.lr, at, now().config.steps),
      batchAt: (at) => now().prepared.dataset.batchAt(at),
    });
    return { key: keyOf(view), device, ledger, mesh, trainer };
  }

  /** Whether the buffers hold the checkpoint that the view goes on from. */
  #holds({ prepared: { resumed }, checkpointHash }: RuntimeView): boolean {
    const { trainer } = this;
    return (
      resumed !== undefined &&
      checkpointHash !== undefined &&
      trainer.intact &&
      trainer.step === resumed.step &&
      this.#checkpoint?.step === resumed.step &&
      this.#checkpoint.hash === checkpointHash
    );
  }

  /** `fresh`: the trainer has just been made, with the weights of this view and moments of 0. */
  #load(trainer: Trainer, { prepared, checkpointHash }: RuntimeView, fresh: boolean): void {
    const { weights, resumed, task } = prepared;
    if (!fresh) for (const part of trainer.parts.values()) part.load(weights);
    if (resumed) loadMoments(trainer, resumed);
    else if (!fresh) {
      const zero: WeightSource = (name) => {
        const { shape } = task.weights.find((weight) => weight.name === name)!;
        return { shape, data: new Float32Array(elements(shape)) };
      };
      loadMoments(trainer, { m: zero, v: zero });
    }
    trainer.loaded(resumed?.step ?? 0, resumed?.updates ?? 0);
    this.#checkpoint = resumed && { step: resumed.step, hash: checkpointHash };
  }
}

function keyOf({ config, prepared, mesh }: RuntimeView): string {
  const recorded = Object.entries(config).filter(([field]) => !PER_VIEW.has(field));
  return JSON.stringify([mesh.rank, recorded, prepared.modelConfig, prepared.dataIdentity]);
}
