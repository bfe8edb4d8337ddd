// This rank's rows of the tables of the vocabulary, where all ranks of a pipeline share them: V/p rows of the embedding
// and of the head, which are one table if they are tied. Embedding: tokens of other shards give zeros, the sum over the
// shards is the embedded microbatch. Head, of Yeung et al. 2025, "Balancing Pipeline Parallelism with Vocabulary
// Parallelism", section 4, with X [R, D], this shard's W, one-hot targets G, all of this shard's columns alone:
//   S: Y = X W^T; m' = rowmax(Y), sum' = rowsum(exp(Y - m')), y' = the target's logit (0 where another shard has it).
//      Alg. 2 also A = softmax'(Y) W and B = G W, from which dX needs no further product.
//   S2, of the naive form: sum' and y' in a pass of their own, after the maxima of all shards are known.
//   T: with m and sum joined over the shards dY = exp(Y - m) / sum - G; dW += dY^T X and, but for Alg. 2, dX' = dY W.
// What joins the shards is in parallel/vocab/. Memory: Y for each microbatch between S and T, [R, V/p].

import { InternalError } from '../../base/errors.ts';
import { elements } from '../../base/shape.ts';
import type { TypedArray } from '../../base/shape.ts';
import type { Device, DeviceBuffer } from '../../device/device.ts';
import type { Plan } from '../../device/plan.ts';
import { Program } from '../../device/program.ts';
import type { Recorder } from '../../device/recorder.ts';
import type { BufferPool } from '../../device/storage/pool.ts';
import type { Slot, SlotClasses } from '../../device/storage/slots.ts';
import type { Param, Tensor } from '../../device/tensor.ts';
import { lossStatistics } from '../../ops/cross-entropy.ts';
import type { LossStatistics } from '../../ops/cross-entropy.ts';
import { embedding } from '../../ops/embedding.ts';
import { product } from '../../ops/matmul.ts';
import { copyColumns } from '../../../shaders/layout/copy-columns.ts';
import { ceGrad } from '../../../shaders/loss/ce-grad.ts';
import { ceStats } from '../../../shaders/loss/ce-stats.ts';
import type { ModelConfig } from '../config.ts';
import { createFlatParams, layOut, loadParams, recordZero } from '../flat-params.ts';
import type { FlatParams } from '../flat-params.ts';
import type { ModelPart } from '../model-part.ts';
import type { WeightSource } from '../param-spec.ts';
import { headName, tableName, vocabularyParams } from '../stage-params.ts';
import type { TokenSlice } from './language-stage.ts';

type F32 = Float32Array<ArrayBuffer>;

/** How the head's work is cut into passes; see parallel/vocab/forms.ts. */
export interface HeadPasses {
  /** Maxima and sums are taken in two passes. */
  readonly twoForwards: boolean;
  /** S already makes what dX needs. */
  readonly earlyGradient: boolean;
}

export interface ShardOptions {
  readonly device: Device;
  readonly config: ModelConfig;
  /** Shard `rank` of `size`: the ranks of a pipeline and of its tensor groups. */
  readonly place: { readonly rank: number; readonly size: number };
  /** Of a microbatch on this rank, R. */
  readonly rows: number;
  readonly passes: HeadPasses;
  /** Of the head's plans S, S2 and T. */
  readonly slots: SlotClasses;
  readonly pool?: BufferPool;
}

/** Of each row, over this shard's columns; [R] each. */
export interface ShardStatistics {
  /** -1e30 without columns. */
  readonly max: F32;
  readonly sum: F32;
  /** 0 where another shard has the target, or none counts. */
  readonly target: F32;
  /** [R, D] each, of Alg. 2: softmax'(Y) W and G W. */
  readonly early?: { readonly weighted: F32; readonly wanted: F32 };
}

export class VocabularyShard implements ModelPart {
  readonly options: ShardOptions;
  readonly params: FlatParams;
  readonly plans: ReadonlyMap<string, Plan>;
  readonly #embedding: Program;
  readonly #head: Program;
  readonly #fixed: readonly DeviceBuffer[];
  readonly #io: Recorded;

  private constructor(
    options: ShardOptions,
    params: FlatParams,
    plans: ReadonlyMap<string, Plan>,
    programs: { readonly embedding: Program; readonly head: Program },
    fixed: readonly DeviceBuffer[],
    io: Recorded,
  ) {
    this.options = options;
    this.params = params;
    this.plans = plans;
    this.#embedding = programs.embedding;
    this.#head = programs.head;
    this.#fixed = fixed;
    this.#io = io;
  }

  /** Allocates, records and compiles. Parameters are zero until `load`. */
  static async create(options: ShardOptions): Promise<VocabularyShard> {
    const { device, config, place, slots, pool } = options;
    const params = createFlatParams(device, layOut(vocabularyParams(config, place)));
    const programs = { embedding: new Program(device, 1, pool), head: new Program(device, slots, pool) };
    const fixed: DeviceBuffer[] = [];
    const constant = (label: string, data: TypedArray): Tensor => {
      const buffer = device.alloc(data.byteLength, 'input', label);
      device.write(buffer, 0, data);
      fixed.push(buffer);
      const dtype = data instanceof Float32Array ? 'f32' : 'i32';
      return { shape: [data.length], dtype, label, offset: 0, storage: { kind: 'fixed', buffer } };
    };
    const io = {
      ...recordEmbedding(options, programs.embedding, params),
      ...recordHead(options, programs.head, params, constant),
    };
    const plans = new Map([...(await programs.embedding.finish()), ...(await programs.head.finish())]);
    return new VocabularyShard(options, params, plans, programs, fixed, io);
  }

  /** Of a message with hidden states. */
  get floats(): number {
    return this.options.rows * this.options.config.hidden;
  }

  load(weights: WeightSource): void {
    loadParams(this.options.device, this.params, weights);
  }

  async zeroGradients(): Promise<void> {
    await this.#plan('zero').run(0);
  }

  /** IF: [R, D], zeros for tokens of other shards. */
  async embed({ tokens }: TokenSlice): Promise<F32> {
    this.#embedding.write(this.#io.tokens, 0, tokens);
    const [out] = await this.#plan('IF').run(0, [{ range: this.#embedding.range(this.#io.embedded), dtype: 'f32' }]);
    return out as F32;
  }

  /** IB: adds the gradient [R, D] of the embedded tokens to those of the rows of this shard. */
  async embedBackward({ tokens }: TokenSlice, gradient: F32): Promise<void> {
    this.#embedding.write(this.#io.tokensAgain, 0, tokens);
    this.#embedding.write(this.#io.dEmbedded, 0, gradient);
    await this.#plan('IB').run(0);
  }

  /** S, of hidden states x [R, D]. With two forwards only `max` is said, and the others are 0. */
  async logits(slot: Slot, x: F32, { targets }: TokenSlice): Promise<ShardStatistics> {
    const { x: input, targets: wanted, rows, first, early } = this.#io;
    this.#head.write(input, slot, x);
    this.#head.write(wanted, slot, targets);
    if (rows) this.#head.write(rows, slot, new Uint32Array(targets.buffer, targets.byteOffset, targets.length));
    const read = [...statisticsOf(first), ...(early ? [early.weighted, early.wanted] : [])];
    const [max, sum, target, weighted, ofTargets] = await this.#run('S', slot, read);
    if (this.options.passes.twoForwards) return { max, sum: sum.fill(0), target: target.fill(0) };
    return { max, sum, target, ...(early ? { early: { weighted, wanted: ofTargets } } : {}) };
  }

  /** S2: sums with respect to this shard's own maxima, and the targets' logits. */
  async sums(slot: Slot): Promise<ShardStatistics> {
    const { second } = this.#io;
    if (!second) throw new InternalError('this shard makes its sums with its logits');
    const [max, sum, target] = await this.#run('S2', slot, statisticsOf(second));
    return { max, sum, target };
  }

  /**
   * T, with the maxima and sums [R] over all shards: adds to the gradient of the head's rows. Resolves to this shard's
   * part of dX [R, D]; undefined where S already made what it needs.
   */
  async gradient(slot: Slot, max: F32, sum: F32): Promise<F32 | undefined> {
    const { joinedMax, joinedSum, dX } = this.#io;
    this.#head.write(joinedMax, slot, max);
    this.#head.write(joinedSum, slot, sum);
    const [out] = await this.#run('T', slot, dX ? [dX] : []);
    return out;
  }

  dispose(): void {
    this.#embedding.dispose();
    this.#head.dispose();
    for (const buffer of [...this.#fixed, this.params.values, this.params.grads]) this.options.device.free(buffer);
  }

  async #run(plan: string, slot: Slot, read: readonly Tensor[]): Promise<readonly F32[]> {
    const ranges = read.map((tensor) => ({ range: this.#head.range(tensor, slot), dtype: 'f32' as const }));
    return (await this.#plan(plan).run(slot, ranges)) as readonly F32[];
  }

  #plan(name: string): Plan {
    const plan = this.plans.get(name);
    if (!plan) throw new InternalError(`the shard of the vocabulary has no plan ${name}`);
    return plan;
  }
}

interface EmbeddingTensors {
  readonly tokens: Tensor;
  readonly embedded: Tensor;
  readonly tokensAgain: Tensor;
  readonly dEmbedded: Tensor;
}

interface HeadTensors {
  readonly x: Tensor;
  readonly targets: Tensor;
  /** The targets as rows of the table, of Alg. 2. */
  readonly rows: Tensor | undefined;
  readonly first: LossStatistics;
  readonly second: LossStatistics | undefined;
  readonly early: { readonly weighted: Tensor; readonly wanted: Tensor } | undefined;
  readonly joinedMax: Tensor;
  readonly joinedSum: Tensor;
  readonly dX: Tensor | undefined;
}

type Recorded = EmbeddingTensors & HeadTensors;

/** First token of the shard, whose tables have equally many rows everywhere. */
function firstToken({ place }: ShardOptions, table: Param): number {
  return place.rank * table.shape[0];
}

function recordEmbedding(options: ShardOptions, program: Program, params: FlatParams): EmbeddingTensors {
  const { config, rows: R } = options;
  const table = params.get(tableName(config));
  const attrs = { vStart: firstToken(options, table) };
  const [tokens, tokensAgain] = ['tokens', 'tokens'].map((label) => program.tensor([R], 'u32', label));
  const { out: embedded } = embedding.forward(program.recorder('IF'), { ids: tokens }, { table }, attrs);
  const dEmbedded = program.tensor([R, config.hidden], 'f32', 'dembedded');
  embedding.backwardWeight!(program.recorder('IB'), dEmbedded, { ids: tokensAgain }, { table }, attrs);
  recordZero(program.recorder('zero'), params);
  program.keep(tokens, embedded, tokensAgain, dEmbedded);
  return { tokens, embedded, tokensAgain, dEmbedded };
}

function recordHead(
  options: ShardOptions,
  program: Program,
  params: FlatParams,
  constant: (label: string, data: TypedArray) => Tensor,
): HeadTensors {
  const { config, rows: R, passes } = options;
  const { hidden, vocab } = config;
  // Also of a tied one: the shard has the first stage's tables.
  const head = params.get(headName(config, { first: true }));
  const COL_START = firstToken(options, head);
  const COLS = head.shape[0];
  const [S, T] = [program.recorder('S'), program.recorder('T')];
  const x = program.tensor([R, hidden], 'f32', 'hidden');
  const targets = program.tensor([R], 'i32', 'targets');
  const logits = product(S, x, head, { transB: true, label: 'logits' });
  const statistics = (r: Recorder): LossStatistics => {
    const made = lossStatistics(r, R);
    const logitSum = r.tensor([R], 'f32', 'logitSum');
    r.launch(ceStats, { logits, targets, ...made, logitSum }, { R, COLS, COL_START, VOCAB: vocab, MERGE: 0 });
    return made;
  };
  const one = constant('one', new Float32Array([1]));
  const gradient = (r: Recorder, of: Tensor, wanted: Tensor, max: Tensor, sum: Tensor): void =>
    r.launch(
      ceGrad,
      { logits: of, rowMax: max, rowSum: sum, targets: wanted, rowScale: one },
      { R, COLS, COL_START, VOCAB: vocab, SMOOTHING: 0, SCALE: 1, HAS_ROW_SCALE: 0 },
    );
  const first = statistics(S);
  const second = passes.twoForwards ? statistics(program.recorder('S2')) : undefined;
  let [rows, early]: [Tensor | undefined, HeadTensors['early']] = [undefined, undefined];
  if (passes.earlyGradient) {
    rows = program.tensor([R], 'u32', 'target rows');
    const softmax = S.tensor([R, COLS], 'f32', 'softmax');
    const N = elements(softmax.shape);
    S.launch(
      copyColumns,
      { x: logits, out: softmax },
      { R: 1, COLS: N, X_WIDTH: N, X_COL: 0, OUT_WIDTH: N, OUT_COL: 0 },
    );
    // No column is the target of any row, and none is ignored.
    const nowhere = constant('nowhere', new Int32Array(R).fill(vocab));
    gradient(S, softmax, nowhere, first.rowMax, first.rowSum);
    const weighted = product(S, softmax, head, { label: 'weighted' });
    const wanted = embedding.forward(S, { ids: rows }, { table: head }, { vStart: COL_START }).out;
    early = { weighted, wanted };
  }
  const [joinedMax, joinedSum] = ['joinedMax', 'joinedSum'].map((label) => program.tensor([R], 'f32', label));
  gradient(T, logits, targets, joinedMax, joinedSum);
  product(T, logits, x, { transA: true, into: head.grad });
  const dX = passes.earlyGradient ? undefined : product(T, logits, head, { label: 'dx' });
  const kept = [x, targets, rows, ...statisticsOf(first), ...(second ? statisticsOf(second) : [])];
  kept.push(early?.weighted, early?.wanted, joinedMax, joinedSum, dX);
  program.keep(...kept.filter((tensor) => tensor !== undefined));
  return { x, targets, rows, first, second, early, joinedMax, joinedSum, dX };
}

function statisticsOf({ rowMax, rowSum, targetLogit }: LossStatistics): readonly Tensor[] {
  return [rowMax, rowSum, targetLogit];
}
