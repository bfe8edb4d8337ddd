// Sampling in the mesh, on the weights as they are trained: the pipeline runs forward on one row, the rank that holds
// the last token's logits draws the next token and broadcasts it. Replicas compute the same thing, so that every
// collective finds all its members. Where the pipeline shares the vocabulary, all its ranks embed the tokens and make
// logits of their rows of the table.

import { allGather } from '../../collectives/all-gather.ts';
import { allReduce } from '../../collectives/all-reduce.ts';
import { broadcast } from '../../collectives/broadcast.ts';
import { reduce } from '../../collectives/point/reduce.ts';
import type { Scope } from '../../collectives/mesh.ts';
import { InternalError, SampleError } from '../../base/errors.ts';
import { InferenceStage } from '../../model/language/inference.ts';
import { LanguageStage } from '../../model/language/language-stage.ts';
import { ShardInference } from '../../model/language/shard-inference.ts';
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
  readonly #shard: ShardInference | undefined;
  readonly #scope: Scope;

  private constructor(
    trainer: Trainer,
    { options }: LanguageModel,
    stages: ReadonlyMap<number, InferenceStage>,
    shard: ShardInference | undefined,
  ) {
    this.#trainer = trainer;
    this.#language = options;
    this.#stages = stages;
    this.#shard = shard;
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
    const { columns, parallelism } = task.options;
    const { vocabulary } = trainer.engine;
    const shard = vocabulary && (await ShardInference.create(vocabulary.shard, columns[parallelism.sp.rank]!.length));
    return new Generator(trainer, language, stages, shard);
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
    this.#shard?.dispose();
  }

  #lastHost(): number {
    const { schedule } = this.#trainer.options;
    const { shape } = this.#trainer;
    return hostsOf(schedule, shape)[shape.ranks * shape.chunks - 1];
  }

  /** Runs this rank's stages in order; resolves to the logits on the last stage's rank, if not on all ranks. */
  async #forward(tokens: Uint32Array<ArrayBuffer>, row: number): Promise<Float32Array | undefined> {
    const { schedule } = this.#trainer.options;
    const { model } = this.#language;
    const { shape } = this.#trainer;
    const hosts = hostsOf(schedule, shape);
    const count = hosts.length;
    const group = this.#scope.axis('pp');
    const shard = this.#shard;
    let logits: Float32Array | undefined;
    let local = shard && (await this.#embed(shard, tokens, hosts[0]!));
    for (const index of [...this.#stages.keys()].sort((a, b) => a - b)) {
      const stage = this.#stages.get(index)!;
      let input: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer> = local ?? tokens;
      if (index > 0) {
        if (hosts[index - 1] === group.rank) input = local!;
        else {
          input = new Float32Array(tokens.length * model.hidden);
          await group.beginPoint('activation', hosts[index - 1], 'from').recv(hosts[index - 1], 0, input);
        }
      }
      if (index === count - 1 && !shard) {
        logits = await stage.logits(input, row);
        continue;
      }
      local = await stage.forward(input);
      if (index === count - 1) continue;
      if (hosts[index + 1] !== group.rank)
        await group.beginPoint('activation', hosts[index + 1], 'to').send(hosts[index + 1], 0, local);
    }
    if (!shard) return logits;
    const { hidden } = model;
    const last = hosts[count - 1]!;
    const wanted = group.rank === last ? local!.slice(row * hidden, (row + 1) * hidden) : new Float32Array(hidden);
    await broadcast(group, wanted, last);
    const shards = this.#scope.group(['pp', 'tp']);
    const offsets = Array.from({ length: shards.size + 1 }, (_, i) => i * shard.width);
    const all = new Float32Array(offsets.at(-1)!);
    await allGather(shards, await shard.logits(wanted), offsets, all);
    return all;
  }

  /** The embedded tokens [T, hidden] on the ranks of `host`, undefined elsewhere. */
  async #embed(
    shard: ShardInference,
    tokens: Uint32Array<ArrayBuffer>,
    host: number,
  ): Promise<Float32Array<ArrayBuffer> | undefined> {
    const group = this.#scope.axis('pp');
    const embedded = await shard.embed(tokens);
    await reduce(group, embedded, host);
    if (group.rank !== host) return undefined;
    await allReduce(this.#scope.axis('tp'), embedded);
    return embedded;
  }
}
