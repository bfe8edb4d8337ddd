// Sampling in the mesh, on the weights as they are trained: the pipeline runs forward on one row, the rank that holds
// the last token's logits draws the next token and broadcasts it. Replicas compute the same thing, so that every
// collective finds all its members.

import { broadcast } from '../../collectives/broadcast.ts';
import type { Scope } from '../../collectives/mesh.ts';
import { InternalError, SampleError } from '../../base/errors.ts';
import { InferenceStage } from '../../model/language/inference.ts';
import { LanguageStage } from '../../model/language/language-stage.ts';
import { hostsOf } from '../../parallel/pipeline/placement.ts';
import { columnsOf, holderOf } from '../../parallel/sequence/placement.ts';
import { tokenPlacement } from '../../parallel/sequence/registry.ts';
import { LanguageModel } from '../tasks/language/language-model.ts';
import type { LanguageModelOptions } from '../tasks/language/language-model.ts';
import type { Trainer } from '../trainer.ts';

/** Broadcast in place of a token by the rank that could not draw one, so that no rank waits for it. */
const NO_TOKEN = 0xffffffff;

export interface GenerateOptions {
  /** Only tokens below it are drawn; the model's vocabulary if that is smaller. */
  readonly vocab: number;
  /**
   * Draws token `index` (0 for the first new one) from logits [vocab]. Called on one rank per token, not always the
   * same: what it draws must depend on its arguments alone.
   */
  choose(logits: Float32Array, index: number): number;
}

export class Generator {
  readonly #trainer: Trainer;
  readonly #language: LanguageModelOptions;
  readonly #stages: ReadonlyMap<number, InferenceStage>;
  readonly #scope: Scope;

  private constructor(trainer: Trainer, { options }: LanguageModel, stages: ReadonlyMap<number, InferenceStage>) {
    this.#trainer = trainer;
    this.#language = options;
    this.#stages = stages;
    this.#scope = trainer.options.mesh.scope('generate');
  }

  /** Compiles the forward of this rank's stages, which are those of a language model. One per trainer. */
  static async create(trainer: Trainer): Promise<Generator> {
    const stages = new Map<number, InferenceStage>();
    const { task: language } = trainer.options;
    const { task } = trainer.engine;
    if (!(language instanceof LanguageModel && task instanceof LanguageStage))
      throw new InternalError('samples are of language models');
    for (const [index, stage] of trainer.stages) stages.set(index, await InferenceStage.create(stage, task));
    return new Generator(trainer, language, stages);
  }

  /**
   * Continues `prompt` (at least one token) by `count` tokens; the same list on every rank. Rejects with SampleError on
   * every rank when one could not draw: no collective is left half done, and the training may go on. Any other error
   * ends the run.
   */
  async generate(prompt: readonly number[], count: number, { vocab, choose }: GenerateOptions): Promise<number[]> {
    const { mesh } = this.#trainer.options;
    const { context, model, sequence } = this.#language;
    if (!prompt.length) throw new InternalError('a prompt needs one token');
    const { sp } = mesh.layout;
    const placement = tokenPlacement(sp, sequence);
    const columns = columnsOf(placement, mesh.coordinate('sp'), sp, context);
    const known = Math.min(vocab, model.vocab);
    const tokens = [...prompt];
    for (let i = 0; i < count; i++) {
      const window = tokens.slice(-context);
      const position = window.length - 1;
      const own = Uint32Array.from(columns, (column) => window[column] ?? 0);
      const { rank, place } = holderOf(placement, position, sp, context);
      const holder = mesh.rankAt({ pp: this.#lastHost(), dp: 0, sp: rank, ep: 0, tp: 0 });
      const logits = await this.#forward(own, place);
      const next = new Uint32Array([NO_TOKEN]);
      let failure = `rank ${holder} could not draw token ${i}`;
      if (mesh.rank === holder) {
        try {
          next[0] = choose(logits!.subarray(0, known), i);
        } catch (error) {
          failure = error instanceof Error ? error.message : String(error);
        }
      }
      await broadcast(mesh.world, next, holder);
      if (next[0] === NO_TOKEN) throw new SampleError(failure);
      if (next[0] >= known) {
        if (mesh.rank === holder) throw new InternalError(`drew token ${next[0]} of ${known}`);
        throw mesh.world.accuse(holder, `it drew token ${next[0]} for a sample, of ${known} that there are`);
      }
      tokens.push(next[0]);
    }
    return tokens.slice(prompt.length);
  }

  dispose(): void {
    this.#scope.close();
    for (const stage of this.#stages.values()) stage.dispose();
  }

  #lastHost(): number {
    const { schedule } = this.#trainer.options;
    const { shape } = this.#trainer;
    return hostsOf(schedule, shape)[shape.ranks * shape.chunks - 1];
  }

  /** Runs this rank's stages in order; resolves to the logits on the last stage's rank. */
  async #forward(tokens: Uint32Array<ArrayBuffer>, row: number): Promise<Float32Array | undefined> {
    const { schedule } = this.#trainer.options;
    const { model } = this.#language;
    const { shape } = this.#trainer;
    const hosts = hostsOf(schedule, shape);
    const count = hosts.length;
    const group = this.#scope.axis('pp');
    let logits: Float32Array | undefined;
    let local: Float32Array<ArrayBuffer> | undefined;
    for (const index of [...this.#stages.keys()].sort((a, b) => a - b)) {
      const stage = this.#stages.get(index)!;
      let input: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer> = tokens;
      if (index > 0) {
        if (hosts[index - 1] === group.rank) input = local!;
        else {
          input = new Float32Array(tokens.length * model.hidden);
          await group.beginPoint('activation', hosts[index - 1], 'from').recv(hosts[index - 1], 0, input);
        }
      }
      if (index === count - 1) {
        logits = await stage.logits(input, row);
        continue;
      }
      local = await stage.forward(input);
      if (hosts[index + 1] !== group.rank)
        await group.beginPoint('activation', hosts[index + 1], 'to').send(hosts[index + 1], 0, local);
    }
    return logits;
  }
}
