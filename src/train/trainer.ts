// One rank of a training run: its stages, data, schedule, gradient sums and optimiser. Every rank of the mesh makes the same calls in the same order.
// A step: zero gradients; the schedule's actions; tied gradients to the first stage; gradients reduce-scattered to their owners; one all-reduce of
// (loss, tokens, squared norm); AdamW on owned ranges; bytes to the replicas; tied weights to the last stage. The loss is sum(local) / count(global).

import { InternalError } from '../base/errors.ts';
import type { World } from '../base/world.ts';
import { allReduce } from '../collectives/all-reduce.ts';
import type { Group, Ledger } from '../collectives/group.ts';
import type { Mesh } from '../collectives/mesh.ts';
import type { Device } from '../device/device.ts';
import type { ModelConfig } from '../model/config.ts';
import { stageRange } from '../model/param-spec.ts';
import { Stage } from '../model/stage.ts';
import type { StageInput } from '../model/stage.ts';
import { composeParallelism } from '../parallel/compose.ts';
import { FlatSync } from '../parallel/data/flat-sync.ts';
import { TiedWeights } from '../parallel/data/tied-weights.ts';
import { slotsOf } from '../parallel/pipeline/dependencies.ts';
import { runActions } from '../parallel/pipeline/execute.ts';
import type { SpanKind } from '../parallel/pipeline/execute.ts';
import type { PipelineShape, Schedule } from '../parallel/pipeline/schedule.ts';
import { AdamW } from './optimizer.ts';
import type { AdamHyper } from './optimizer.ts';
import { sliceBatch } from './slice-batch.ts';
import type { BatchPlace } from './slice-batch.ts';

export type WeightSource = (name: string) => { shape: readonly number[]; data: Float32Array };

export interface TrainerOptions {
  readonly device: Device;
  readonly mesh: Mesh;
  readonly ledger: Ledger;
  readonly world: World;
  readonly model: ModelConfig;
  readonly schedule: Schedule;
  readonly chunks: number;
  readonly microbatches: number;
  /** Rows of a whole step over all ranks, and tokens per row. */
  readonly batch: number;
  readonly context: number;
  readonly hyper: AdamHyper & { readonly gradClip: number | null };
  lr(step: number): number;
  /** I32 [batch, context + 1] of step `step`; the same on every rank. */
  batchAt(step: number): Int32Array<ArrayBuffer>;
  readonly weights: WeightSource;
  readonly sequence?: string;
  /** Asked once a step; what it returns reaches every rank with the step's metrics. */
  requests?(): Requests;
}

/** A stretch of this rank's time, ms of the world's clock. */
export interface Span { readonly kind: SpanKind | 'optimizer'; readonly name: string; readonly startMs: number; readonly endMs: number }

export interface StepMetrics {
  readonly step: number;
  readonly loss: number;
  readonly gradNorm: number;
  readonly lr: number;
  readonly tokens: number;
  readonly ms: number;
  /** Payload bytes that this rank sent in the step, by kind. */
  readonly bytesSent: Readonly<Record<string, number>>;
  readonly spans: readonly Span[];
  /** What any rank asked for during the step; the same on every rank. */
  readonly requests: Requests;
}

/** Wishes that a rank adds to the step's all-reduce, so that all ranks act on them at the same step. */
export interface Requests { readonly stop: boolean; readonly save: boolean; readonly sample: boolean }

const NO_REQUESTS: Requests = { stop: false, save: false, sample: false };

export class Trainer {
  readonly options: TrainerOptions;
  readonly shape: PipelineShape;
  readonly stages: ReadonlyMap<number, Stage>;
  readonly syncs: ReadonlyMap<number, FlatSync>;
  readonly optimizers: ReadonlyMap<number, AdamW>;
  /** Steps done so far; the index of the next batch. */
  step = 0;
  readonly #tied: TiedWeights;
  readonly #place: BatchPlace;
  readonly #forwardGroup: Group;
  readonly #backwardGroup: Group;
  /** Evaluations number their messages apart from training steps. */
  readonly #evaluationGroup: Group;
  #evaluations = 0;
  #spans: Span[] = [];

  private constructor(options: TrainerOptions, shape: PipelineShape, place: BatchPlace, stages: ReadonlyMap<number, Stage>, syncs: ReadonlyMap<number, FlatSync>, optimizers: ReadonlyMap<number, AdamW>, tied: TiedWeights) {
    this.options = options;
    this.shape = shape;
    this.stages = stages;
    this.syncs = syncs;
    this.optimizers = optimizers;
    this.#place = place;
    this.#tied = tied;
    this.#forwardGroup = options.mesh.dedicated('pipeline forward', ['pp']);
    this.#backwardGroup = options.mesh.dedicated('pipeline backward', ['pp']);
    this.#evaluationGroup = options.mesh.dedicated('evaluation', ['pp']);
  }

  /** Builds the stages of this rank, compiles their plans and loads the weights. Sends nothing. */
  static async create(options: TrainerOptions): Promise<Trainer> {
    const { device, mesh, model, schedule, chunks, microbatches, batch, context } = options;
    const { layout } = mesh;
    const shape: PipelineShape = { ranks: layout.pp, chunks, microbatches };
    schedule.check?.(shape);
    const place: BatchPlace = {
      replica: mesh.coordinate('dp') * layout.ep + mesh.coordinate('ep'), replicas: layout.dp * layout.ep,
      sequence: mesh.coordinate('sp'), sequences: layout.sp, microbatches, batch, context,
    };
    const parallelism = composeParallelism(mesh, { sequence: options.sequence });
    const slots = slotsOf(schedule, mesh.coordinate('pp'), shape);
    const stages = new Map<number, Stage>();
    for (let chunk = 0; chunk < chunks; chunk++) {
      const index = schedule.stageOf(mesh.coordinate('pp'), chunk, shape);
      const stage = await Stage.create({
        device, config: model, range: stageRange(index, layout.pp * chunks, model.layers), parallelism,
        B: batch / place.replicas / microbatches, T: context / layout.sp, posStart: (mesh.coordinate('sp') * context) / layout.sp,
        slots: slots[chunk], splitsWeights: schedule.splitsWeights,
      });
      stage.load(options.weights);
      stages.set(index, stage);
    }
    const syncs = new Map([...stages].map(([index, stage]) => [index, new FlatSync(device, mesh, stage.params)]));
    const optimizers = new Map<number, AdamW>();
    for (const [index, stage] of stages) {
      // Values replicated over tp are counted by tp rank 0 alone.
      const counts = ({ segment }: { segment: string }): boolean => segment !== 'replicated' || mesh.coordinate('tp') === 0;
      optimizers.set(index, await AdamW.create(device, stage.params, syncs.get(index)!.owned, counts));
    }
    return new Trainer(options, shape, place, stages, syncs, optimizers, await TiedWeights.create(device, mesh, model, schedule, shape, stages));
  }

  /** One training step on batch `this.step`. Resolves on every rank with the same loss and norm. `beforeUpdate` sees the summed gradients. */
  async trainStep(beforeUpdate?: (tokens: number) => Promise<void>): Promise<StepMetrics> {
    const { mesh, world, ledger, hyper } = this.options;
    const startMs = world.now();
    const before = ledger.sentByKind();
    this.#spans = [];
    const { lossSum, count } = await this.#backpropagate();
    const end = this.#trace('optimizer', 'reduce gradients');
    await this.#tied.collectGradients();
    for (const sync of this.syncs.values()) await sync.reduceGradients();
    end();
    let squares = 0;
    for (const optimizer of this.optimizers.values()) squares += await optimizer.squaredNorm();
    const { stop, save, sample } = this.options.requests?.() ?? NO_REQUESTS;
    const totals = await sumScalars(mesh.world, [lossSum, count, squares, Number(stop), Number(save), Number(sample)]);
    const [loss, tokens] = [totals[0] / totals[1], totals[1]];
    const gradNorm = Math.sqrt(totals[2]) / tokens;
    await beforeUpdate?.(tokens);
    const clip = hyper.gradClip === null ? 1 : Math.min(1, hyper.gradClip / (gradNorm + 1e-6));
    const lr = this.options.lr(this.step);
    const endUpdate = this.#trace('optimizer', 'update');
    for (const optimizer of this.optimizers.values()) await optimizer.step(this.step + 1, lr, clip / tokens, hyper);
    for (const sync of this.syncs.values()) await sync.spread();
    await this.#tied.spread();
    endUpdate();
    const step = this.step++;
    const requests = { stop: totals[3] > 0, save: totals[4] > 0, sample: totals[5] > 0 };
    return { requests, step, loss, gradNorm, lr, tokens, ms: world.now() - startMs, bytesSent: difference(ledger.sentByKind(), before), spans: this.#spans };
  }

  /** Mean loss of a held-out batch [batch, context + 1] over its counted targets, and their number; 0 and 0 if none counts. Weights and gradients stay. */
  async evaluate(batch: Int32Array<ArrayBuffer>): Promise<{ readonly loss: number; readonly tokens: number }> {
    const { lossSum, count } = await this.#run(batch, (kind) => kind === 'F', this.#evaluations++, this.#evaluationGroup);
    const [sum, tokens] = await sumScalars(this.options.mesh.world, [lossSum, count]);
    return { loss: tokens > 0 ? sum / tokens : 0, tokens };
  }

  dispose(): void {
    for (const optimizer of this.optimizers.values()) optimizer.dispose();
    for (const stage of this.stages.values()) stage.dispose();
    this.#tied.dispose();
  }

  async #backpropagate(): Promise<{ lossSum: number; count: number }> {
    for (const stage of this.stages.values()) await stage.zeroGradients();
    return this.#run(this.options.batchAt(this.step), () => true, this.step, this.#forwardGroup);
  }

  async #run(batch: Int32Array<ArrayBuffer>, keep: (kind: string) => boolean, step: number, forwardGroup: Group): Promise<{ lossSum: number; count: number }> {
    const { schedule, mesh } = this.options;
    const last = this.shape.ranks * this.shape.chunks - 1;
    let lossSum = 0;
    let count = 0;
    const slices = Array.from({ length: this.shape.microbatches }, (_, microbatch) => sliceBatch(batch, this.#place, microbatch));
    const input = (stage: number, microbatch: number): StageInput => ({
      tokens: stage === 0 ? slices[microbatch].tokens : undefined,
      targets: stage === last ? slices[microbatch].targets : undefined,
    });
    const all = schedule.actions(mesh.coordinate('pp'), this.shape);
    const actions = all.filter(({ kind }) => keep(kind));
    const run = {
      schedule, shape: this.shape, stages: this.stages, forwardGroup, backwardGroup: this.#backwardGroup, step, input,
      onLoss: (microbatch: number, rowLosses: Float32Array) => {
        const { targets } = slices[microbatch];
        for (let r = 0; r < rowLosses.length; r++) { lossSum += rowLosses[r]; if (targets[r] !== -100) count++; }
      },
      trace: (kind: SpanKind, name: string) => this.#trace(kind, name),
    };
    await runActions(actions, { ...run, releaseAfterForward: actions.length < all.length });
    // Every tp rank of the last stage has the same row losses; one of them counts.
    return mesh.coordinate('tp') === 0 ? { lossSum, count } : { lossSum: 0, count: 0 };
  }

  #trace(kind: Span['kind'], name: string): () => void {
    const startMs = this.options.world.now();
    return () => { this.#spans.push({ kind, name, startMs, endMs: this.options.world.now() }); };
  }
}

/** Sums a few numbers over the world, in rank order, the same bits everywhere. */
async function sumScalars(world: Group, values: readonly number[]): Promise<number[]> {
  const data = new Float32Array(values);
  if (data.some((value, i) => Number.isFinite(values[i]) && !Number.isFinite(value))) throw new InternalError('a step total exceeds f32');
  await allReduce(world, data);
  return [...data];
}

function difference(after: Readonly<Record<string, number>>, before: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(after).map(([kind, bytes]) => [kind, bytes - (before[kind] ?? 0)] as const).filter(([, bytes]) => bytes > 0));
}
