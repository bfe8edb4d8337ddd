// One rank of a training run: its stages, data, schedule, gradient sums and optimiser. Every rank of the mesh makes the
// same calls in the same order. A step: zero gradients; the schedule's actions; tied gradients to the first stage;
// gradients reduce-scattered to their owners; one all-gather of what every rank reports (loss, tokens, squared norm,
// what was not finite); AdamW on owned ranges; bytes to the replicas; tied weights to the last stage. The loss is
// sum(local) / count(global). Nothing is overwritten before all reports are in: a step with a loss, gradient or weight
// that is no number ends the run on every rank with a PeerError `non-finite` that names the rank where it began, and
// leaves weights and moments as they were.

import { ConfigError, PeerError } from '../base/errors.ts';
import type { World } from '../base/world.ts';
import type { Group, Ledger } from '../collectives/group.ts';
import type { Mesh } from '../collectives/mesh.ts';
import { ValueWatch, watchValues } from '../collectives/record/value-watch.ts';
import type { Device } from '../device/device.ts';
import { BufferPool } from '../device/storage/pool.ts';
import type { ModelConfig } from '../model/config.ts';
import { stageRange } from '../model/param-spec.ts';
import { Stage } from '../model/stage.ts';
import type { StageInput } from '../model/stage.ts';
import { composeParallelism } from '../parallel/compose.ts';
import { FlatSync } from '../parallel/data/flat-sync.ts';
import { TiedWeights } from '../parallel/data/tied-weights.ts';
import { runActions } from '../parallel/pipeline/execute.ts';
import { columnsOf } from '../parallel/sequence/placement.ts';
import { tokenPlacement } from '../parallel/sequence/registry.ts';
import type { SpanKind } from '../parallel/pipeline/execute.ts';
import { partOf } from '../parallel/pipeline/part.ts';
import { PASSES } from '../parallel/pipeline/passes.ts';
import { placementOf } from '../parallel/pipeline/placement.ts';
import { PASS_KINDS } from '../parallel/pipeline/schedule.ts';
import type { Action, PipelineShape, Schedule } from '../parallel/pipeline/schedule.ts';
import { stageSlots } from '../parallel/pipeline/slots.ts';
import { documentStarts, IGNORED } from './data/batch.ts';
import type { Batch } from './data/batch.ts';
import { AdamW } from './optimizer.ts';
import type { AdamHyper } from './optimizer.ts';
import { sliceBatch } from './data/slice-batch.ts';
import type { BatchPlace } from './data/slice-batch.ts';
import { AFTER, blame, confess, culpritsWords } from './step/blame.ts';
import type { Blame } from './step/blame.ts';
import { shareReports } from './step/report.ts';
import type { StepReport } from './step/report.ts';
import { shareScores } from './step/score.ts';
import type { Score } from './step/score.ts';
import { stepTraffic } from './step/traffic.ts';
import type { StepTraffic } from './step/traffic.ts';
import { addSquares, squareGroup, valueOf } from './step/square-sum.ts';
import { updateProblem } from './step/update-range.ts';

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
  /** The rows of step `step`; the same on every rank. */
  batchAt(step: number): Batch;
  /** The batches have documents. */
  readonly packed?: boolean;
  readonly weights: WeightSource;
  readonly sequence?: string;
  /** Asked once a step; what it returns reaches every rank with the step's metrics. */
  requests?(): Requests;
}

/** A stretch of this rank's time, ms of the world's clock. */
export interface Span {
  readonly kind: SpanKind | 'optimizer';
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
}

export interface StepMetrics {
  readonly step: number;
  /** Mean over the targets that count; 0 if none does. */
  readonly loss: number;
  /** Of the mean loss, before clipping. Equal gradients give equal bits in every layout. */
  readonly gradNorm: number;
  readonly lr: number;
  /** Targets that count; 0: the step changed nothing. */
  readonly tokens: number;
  readonly ms: number;
  /** Payload bytes that this rank sent in the step, by kind. */
  readonly bytesSent: Readonly<Record<string, number>>;
  readonly spans: readonly Span[];
  /** What any rank asked for during the step; the same on every rank. */
  readonly requests: Requests;
}

/**
 * Wishes that a rank adds to the exchange that ends a step, so that all ranks act on them at the same step. `pause`:
 * all wait after it.
 */
export interface Requests {
  readonly stop: boolean;
  readonly save: boolean;
  readonly sample: boolean;
  readonly pause?: boolean;
}

export interface Evaluation {
  readonly loss: number;
  readonly tokens: number;
  readonly score?: Pick<Score, 'answers' | 'correct'>;
}

const NO_REQUESTS: Requests = { stop: false, save: false, sample: false };
const NO_SCORE: Score = { lossSum: 0, tokens: 0, answers: 0, correct: 0 };

export class Trainer {
  readonly options: TrainerOptions;
  readonly shape: PipelineShape;
  readonly stages: ReadonlyMap<number, Stage>;
  readonly syncs: ReadonlyMap<number, FlatSync>;
  readonly optimizers: ReadonlyMap<number, AdamW>;
  /** Steps done so far; the index of the next batch. */
  step = 0;
  /** Of these, those that updated the weights. */
  updates = 0;
  /** A bound of |m| of all moments on this rank. */
  momentBound = 0;
  readonly #values: ValueWatch;
  readonly #pool: BufferPool;
  readonly #tied: TiedWeights;
  readonly #place: BatchPlace;
  readonly #forwardGroup: Group;
  readonly #backwardGroup: Group;
  /** Evaluations number their messages apart from training steps. */
  readonly #evaluationGroup: Group;
  #evaluations = 0;
  #spans: Span[] = [];

  private constructor(
    options: TrainerOptions,
    values: ValueWatch,
    shape: PipelineShape,
    place: BatchPlace,
    stages: ReadonlyMap<number, Stage>,
    syncs: ReadonlyMap<number, FlatSync>,
    optimizers: ReadonlyMap<number, AdamW>,
    pool: BufferPool,
    tied: TiedWeights,
  ) {
    this.options = options;
    this.#values = values;
    this.shape = shape;
    this.stages = stages;
    this.syncs = syncs;
    this.optimizers = optimizers;
    this.#place = place;
    this.#pool = pool;
    this.#tied = tied;
    this.#forwardGroup = options.mesh.dedicated('pipeline forward', ['pp']);
    this.#backwardGroup = options.mesh.dedicated('pipeline backward', ['pp']);
    this.#evaluationGroup = options.mesh.dedicated('evaluation', ['pp']);
  }

  /** Builds the stages of this rank, compiles their plans and loads the weights. Sends nothing. */
  static async create(given: TrainerOptions): Promise<Trainer> {
    const values = new ValueWatch();
    const options = { ...given, mesh: watchValues(given.mesh, values) };
    const { device, mesh, model, schedule, chunks, microbatches, batch, context } = options;
    const { layout } = mesh;
    const shape: PipelineShape = { ranks: layout.pp, chunks, microbatches };
    schedule.check?.(shape);
    const tokens = tokenPlacement(layout.sp, options.sequence);
    const place: BatchPlace = {
      replica: mesh.coordinate('dp') * layout.ep + mesh.coordinate('ep'),
      replicas: layout.dp * layout.ep,
      sequence: mesh.coordinate('sp'),
      columns: Array.from({ length: layout.sp }, (_, rank) => columnsOf(tokens, rank, layout.sp, context)),
      microbatches,
    };
    const parallelism = composeParallelism(mesh, { sequence: options.sequence });
    const placement = placementOf(schedule, shape);
    const slots = stageSlots(schedule.actions(mesh.coordinate('pp'), shape), placement);
    const pool = new BufferPool(device);
    const stages = new Map<number, Stage>();
    for (let chunk = 0; chunk < chunks; chunk++) {
      const index = schedule.stageOf(mesh.coordinate('pp'), chunk, shape);
      const stage = await Stage.create({
        device,
        config: model,
        range: stageRange(index, layout.pp * chunks, model.layers),
        parallelism,
        B: batch / place.replicas / microbatches,
        columns: place.columns,
        packed: options.packed ?? false,
        slots: slots(index),
        splitsWeights: placement.passes.has('W'),
        pool,
      });
      stage.load(options.weights);
      stages.set(index, stage);
    }
    const syncs = new Map([...stages].map(([index, stage]) => [index, new FlatSync(device, mesh, stage.params)]));
    const optimizers = new Map<number, AdamW>();
    for (const [index, stage] of stages) {
      // Values replicated over tp are counted by tp rank 0 alone.
      const counts = ({ segment }: { segment: string }): boolean =>
        segment !== 'replicated' || mesh.coordinate('tp') === 0;
      optimizers.set(
        index,
        await AdamW.create(device, stage.params, syncs.get(index)!.owned, counts, squareGroup(model)),
      );
    }
    return new Trainer(
      options,
      values,
      shape,
      place,
      stages,
      syncs,
      optimizers,
      pool,
      await TiedWeights.create(device, mesh, model, schedule, shape, stages),
    );
  }

  /**
   * One training step on batch `this.step`. Resolves on every rank with the same loss and norm. `beforeUpdate` sees the
   * summed gradients. Rejects with PeerError `non-finite`, or ConfigError for settings with which the update would
   * leave f32; then no weight and no moment has changed.
   */
  async trainStep(beforeUpdate?: (tokens: number) => Promise<void>): Promise<StepMetrics> {
    const { mesh, world, ledger } = this.options;
    const startMs = world.now();
    const before = ledger.sentByKind();
    this.#spans = [];
    this.#values.reset();
    const { lossSum, tokens: count } = await this.#backpropagate();
    const end = this.#trace('optimizer', 'reduce gradients');
    this.#values.order = AFTER;
    await this.#tied.collectGradients();
    for (const sync of this.syncs.values()) await sync.reduceGradients();
    end();
    const measured = await Promise.all([...this.optimizers.values()].map((optimizer) => optimizer.measure()));
    const reports = await shareReports(mesh.world, {
      lossSum,
      tokens: count,
      squares: addSquares(measured.map(({ squares }) => squares)),
      most: Math.max(0, ...measured.map(({ most }) => most)),
      moment: this.momentBound,
      beyond: measured.some(({ beyond }) => beyond),
      first: this.#values.first,
      settled: this.options.device.later?.settled ?? true,
      ...(this.options.requests?.() ?? NO_REQUESTS),
    });
    const fault = blame(reports);
    if (fault) throw await this.#nonFinite(fault);
    const { loss, tokens } = mean(reports);
    const gradNorm = tokens === 0 ? 0 : Math.sqrt(valueOf(addSquares(reports.map(({ squares }) => squares)))) / tokens;
    await beforeUpdate?.(tokens);
    const lr = this.options.lr(this.step);
    if (tokens > 0) await this.#update(reports, tokens, gradNorm, lr);
    // Between the same two steps on every rank: replicas go on to run equal texts.
    if (reports.every(({ settled }) => settled)) this.options.device.later?.swap();
    const step = this.step++;
    const asked = (wish: keyof Requests): boolean => reports.some((report) => report[wish] === true);
    const requests = { stop: asked('stop'), save: asked('save'), sample: asked('sample'), pause: asked('pause') };
    return {
      requests,
      step,
      loss,
      gradNorm,
      lr,
      tokens,
      ms: world.now() - startMs,
      bytesSent: difference(ledger.sentByKind(), before),
      spans: this.#spans,
    };
  }

  async #update(reports: readonly StepReport[], tokens: number, gradNorm: number, lr: number): Promise<void> {
    const { hyper } = this.options;
    const most = Math.max(...reports.map((report) => report.most));
    const scale = (hyper.gradClip === null ? 1 : Math.min(1, hyper.gradClip / (gradNorm + 1e-6))) / tokens;
    const moment = Math.max(...reports.map((report) => report.moment));
    const [t, largest] = [this.updates + 1, new Float32Array(Uint32Array.of(most).buffer)[0]!];
    const problem = updateProblem({ largest, scale, moment, t, lr, hyper });
    if (problem?.kind === 'setting') throw new ConfigError(`step ${this.step}`, problem.text);
    if (problem)
      throw new PeerError(
        reports.findIndex((report) => report.most === most),
        'non-finite',
        `in step ${this.step} ${problem.text}; nothing was changed by it`,
      );
    const end = this.#trace('optimizer', 'update');
    for (const optimizer of this.optimizers.values()) await optimizer.step(t, lr, scale, hyper);
    this.updates = t;
    this.momentBound = Math.max(moment, largest * scale);
    for (const sync of this.syncs.values()) await sync.spread();
    await this.#tied.spread();
    end();
  }

  async #nonFinite({ culprit, onTheWay }: Blame): Promise<PeerError> {
    const { device, mesh } = this.options;
    const words = await culpritsWords(mesh.world, culprit, () =>
      confess(device, [...this.stages.values()], this.#values, onTheWay),
    );
    return new PeerError(culprit, 'non-finite', `in step ${this.step} ${words}; nothing was changed by it`);
  }

  /**
   * Mean loss of a held-out batch over its counted targets, and their number; 0 and 0 if none counts. With `answers`,
   * targets [rows, context] that are IGNORED where nothing is asked for, also how many answers there are, and how many
   * of them are predicted (see StageOutput). Equal on every rank. Weights and gradients stay.
   */
  async evaluate(batch: Batch, answers?: Int32Array<ArrayBuffer>): Promise<Evaluation> {
    const own = await this.#run(batch, (kind) => kind === 'F', this.#evaluations++, this.#evaluationGroup, answers);
    const scores = await shareScores(this.options.mesh.world, own);
    const sum = (field: 'answers' | 'correct'): number => scores.reduce((total, score) => total + score[field], 0);
    return { ...mean(scores), ...(answers ? { score: { answers: sum('answers'), correct: sum('correct') } } : {}) };
  }

  /** Payload bytes that this rank will send in each step, by kind. */
  traffic(): StepTraffic {
    const { schedule, mesh } = this.options;
    const others = [...this.syncs.values(), this.#tied];
    const { shape, stages } = this;
    return stepTraffic({ schedule, shape, pipeline: mesh.axis('pp'), world: mesh.world, stages, others });
  }

  dispose(): void {
    for (const optimizer of this.optimizers.values()) optimizer.dispose();
    for (const stage of this.stages.values()) stage.dispose();
    this.#pool.dispose();
    this.#tied.dispose();
  }

  async #backpropagate(): Promise<Score> {
    for (const stage of this.stages.values()) await stage.zeroGradients();
    return this.#run(this.options.batchAt(this.step), () => true, this.step, this.#forwardGroup);
  }

  async #run(
    batch: Batch,
    keep: (kind: Action['kind']) => boolean,
    step: number,
    forwardGroup: Group,
    answers?: Int32Array<ArrayBuffer>,
  ): Promise<Score> {
    const { schedule, mesh } = this.options;
    const last = this.shape.ranks * this.shape.chunks - 1;
    const score = { lossSum: 0, tokens: 0, answers: 0, correct: 0 };
    const indices = Array.from({ length: this.shape.microbatches }, (_, microbatch) => microbatch);
    const starts = this.options.packed ? documentStarts(batch) : undefined;
    const cut = (whole: Batch) => indices.map((microbatch) => sliceBatch(whole, this.#place, microbatch, starts));
    const slices = cut(batch);
    const asked = answers && cut({ ...batch, targets: answers });
    const input = (stage: number, microbatch: number): StageInput => ({
      tokens: stage === 0 ? slices[microbatch].tokens : undefined,
      targets: stage === last ? slices[microbatch].targets : undefined,
      rows: slices[microbatch].rows,
      scored: asked !== undefined,
    });
    await runActions({
      schedule,
      shape: this.shape,
      parts: new Map([...this.stages].map(([index, stage]) => [index, partOf(stage)])),
      forwardGroup,
      backwardGroup: this.#backwardGroup,
      step,
      input,
      only: keep,
      onLoss: (microbatch, rowLosses, predicted) => {
        const { targets } = slices[microbatch];
        this.#values.check(rowLosses, `the loss of microbatch ${microbatch} was not finite`);
        for (let r = 0; r < rowLosses.length; r++) {
          score.lossSum += rowLosses[r];
          if (targets[r] === IGNORED) continue;
          score.tokens++;
          if (!asked || asked[microbatch].targets[r] === IGNORED) continue;
          score.answers++;
          if (predicted?.[r]) score.correct++;
        }
      },
      onAction: (action) => {
        this.#values.order = orderOf(action, last);
      },
      trace: (kind, name) => this.#trace(kind, name),
    });
    // Every tp rank of the last stage has the same row losses; one of them counts.
    return mesh.coordinate('tp') === 0 ? score : NO_SCORE;
  }

  #trace(kind: Span['kind'], name: string): () => void {
    const startMs = this.options.world.now();
    return () => {
      this.#spans.push({ kind, name, startMs, endMs: this.options.world.now() });
    };
  }
}

/** Mean loss over all targets that count, in rank order. */
function mean(reports: readonly Pick<Score, 'lossSum' | 'tokens'>[]): Pick<Evaluation, 'loss' | 'tokens'> {
  const tokens = reports.reduce((sum, report) => sum + report.tokens, 0);
  return { loss: tokens === 0 ? 0 : reports.reduce((sum, report) => sum + report.lossSum, 0) / tokens, tokens };
}

/** Rises along the way of a microbatch: forward through the stages, backward, weight gradients. */
function orderOf({ kind, microbatch, stage }: Action, last: number): number {
  const along = PASSES[kind].direction === 'forward' ? stage : last - stage;
  return 1 + (microbatch * PASS_KINDS.length + PASS_KINDS.indexOf(kind)) * (last + 1) + along;
}

function difference(
  after: Readonly<Record<string, number>>,
  before: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after)
      .map(([kind, bytes]) => [kind, bytes - (before[kind] ?? 0)] as const)
      .filter(([, bytes]) => bytes > 0),
  );
}
