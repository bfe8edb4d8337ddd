// One rank of a training run. Every rank of the mesh makes the same calls in the same order. A step: gradients of this
// rank's microbatches (step/step-engine.ts); summed to their owners (sync/); one all-gather of what every rank reports
// (loss, tokens, squared norm, what was not finite); then the new weights of what the rank owns, published to all that
// hold them. The loss is sum(local) / count(global). Nothing is overwritten before all reports are in: a step with a
// loss, gradient or weight that is no number ends the run on every rank with a PeerError `non-finite` that names the
// rank where it began, and leaves weights and moments as they were. A restorable trainer can also take back a step that
// was lost on the way to the other ranks (commit/commit-point.ts).

import { ConfigError, InternalError, PeerError } from '../base/errors.ts';
import type { World } from '../base/world.ts';
import type { Ledger } from '../collectives/group.ts';
import type { Mesh } from '../collectives/mesh.ts';
import { ValueWatch, watchValues } from '../collectives/record/value-watch.ts';
import type { Device } from '../device/device.ts';
import type { ModelPart } from '../model/model-part.ts';
import type { WeightSource } from '../model/param-spec.ts';
import type { Stage } from '../model/stage.ts';
import type { PipelineShape, Schedule } from '../parallel/pipeline/schedule.ts';
import { CommitPoint } from './commit/commit-point.ts';
import type { AdamHyper } from './optimizer.ts';
import { AFTER, blame, confess, culpritsWords } from './step/blame.ts';
import type { Blame } from './step/blame.ts';
import { shareReports } from './step/step-report.ts';
import type { StepReport } from './step/step-report.ts';
import { anyOf, NO_REQUESTS } from './step/requests.ts';
import type { Requests } from './step/requests.ts';
import { shareScores } from './step/score.ts';
import type { Score } from './step/score.ts';
import { StepEngine } from './step/step-engine.ts';
import type { Span } from './step/step-engine.ts';
import { stepTraffic } from './step/traffic.ts';
import type { StepTraffic } from './step/traffic.ts';
import { addSquares, valueOf } from './step/square-sum.ts';
import { updateProblem } from './step/update-range.ts';
import { Zero1 } from './sync/zero1.ts';
import type { Task } from './tasks/task.ts';

/** B: a whole batch of the task. */
export interface TrainerOptions<B = unknown> {
  readonly device: Device;
  /** Of this trainer alone: of several on one mesh each has a scope of it. A rebindable one may be rebound. */
  readonly mesh: Mesh;
  readonly ledger: Ledger;
  readonly world: World;
  readonly task: Task<B>;
  readonly schedule: Schedule;
  readonly chunks: number;
  /** Of a replica and step, where all replicas compute as many. */
  readonly microbatches: number;
  /** Rows of a whole step over all ranks. */
  readonly batch: number;
  readonly hyper: AdamHyper & { readonly gradClip: number | null };
  lr(step: number): number;
  /** The rows of step `step`; the same on every rank. */
  batchAt(step: number): B;
  /** Absent: every replica computes `microbatches`. */
  readonly deal?: Deal;
  readonly weights: WeightSource;
  /** Keeps the last committed weights and moments beside those that a step makes; see `restore`. */
  readonly restorable?: boolean;
  /** Asked once a step; what it returns reaches every rank with the step's metrics. */
  requests?(): Requests;
}

/** Who computes which microbatches of a step, where not every replica computes as many. */
export interface Deal {
  /** Of a whole step, over all replicas; microbatch i is its rows [i, i + 1) * batch / microbatches. */
  readonly microbatches: number;
  /** That memory is made for on this rank. */
  readonly most: number;
  /** Those of this rank's replica: none or several. Each is on exactly one replica. */
  of(step: number): readonly number[];
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

export interface Evaluation {
  readonly loss: number;
  readonly tokens: number;
  readonly score?: Pick<Score, 'answers' | 'correct'>;
}

/** What goes with the weights after a step. */
interface Progress {
  readonly updates: number;
  readonly momentBound: number;
}

export class Trainer<B = unknown> {
  readonly options: TrainerOptions<B>;
  readonly engine: StepEngine<B>;
  readonly sync: Zero1;
  /** Steps done so far; the index of the next batch. */
  step = 0;
  /** Of these, those that updated the weights. */
  updates = 0;
  /** A bound of |m| of all moments on this rank. */
  momentBound = 0;
  #intact = true;
  readonly #values: ValueWatch;
  readonly #commit: CommitPoint | undefined;
  /** By steps done, of the states that can be gone back to. */
  #progress = new Map<number, Progress>();

  private constructor(options: TrainerOptions<B>, values: ValueWatch, engine: StepEngine<B>, sync: Zero1) {
    this.options = options;
    this.engine = engine;
    this.sync = sync;
    this.#values = values;
    this.#commit = options.restorable ? new CommitPoint(options.device, sync.state, 0) : undefined;
    this.#remember();
  }

  /** Builds the stages of this rank, compiles their plans and loads the weights. Sends nothing. */
  static async create<B>(given: TrainerOptions<B>): Promise<Trainer<B>> {
    const values = new ValueWatch();
    const options = { ...given, mesh: watchValues(given.mesh, values) };
    const { device, mesh, task, schedule, batch, deal } = options;
    const engine = await StepEngine.create({
      ...options,
      microbatches: deal?.most ?? options.microbatches,
      rows: batch / microbatchesOf(options),
      values,
    });
    const { shape, stages, parts } = engine;
    const sync = await Zero1.create({ device, mesh, task, schedule, shape, stages, parts });
    return new Trainer(options, values, engine, sync);
  }

  get shape(): PipelineShape {
    return this.engine.shape;
  }

  /** Of blocks, by index, those of this rank. */
  get stages(): ReadonlyMap<number, Stage> {
    return this.engine.stages;
  }

  /** All that this rank holds of the model. */
  get parts(): ReadonlyMap<number, ModelPart> {
    return this.engine.parts;
  }

  /**
   * One training step on batch `this.step`. Resolves on every rank with the same loss and norm. `beforeUpdate` sees the
   * summed gradients. Rejects with PeerError `non-finite`, or ConfigError for settings with which the update would
   * leave f32; then no weight and no moment has changed.
   */
  async trainStep(beforeUpdate?: (tokens: number) => Promise<void>): Promise<StepMetrics> {
    const { mesh, world, ledger, device, batchAt, deal } = this.options;
    const startMs = world.now();
    const before = ledger.sentByKind();
    this.#values.reset();
    const share = deal?.of(this.step) ?? this.#evenShare();
    const { lossSum, tokens: count } = await this.engine.accumulate(batchAt(this.step), share);
    const end = this.engine.trace('optimizer', 'reduce gradients');
    this.#values.order = AFTER;
    const measured = await this.sync.reduce();
    end();
    const reports = await shareReports(mesh.world, {
      lossSum,
      tokens: count,
      ...measured,
      moment: this.momentBound,
      first: this.#values.first,
      settled: device.later?.settled ?? true,
      requests: this.options.requests?.() ?? NO_REQUESTS,
    });
    const fault = blame(reports, mesh.world.ranks);
    if (fault) throw await this.#nonFinite(fault);
    const { loss, tokens } = mean(reports);
    const gradNorm = tokens === 0 ? 0 : Math.sqrt(valueOf(addSquares(reports.map(({ squares }) => squares)))) / tokens;
    await beforeUpdate?.(tokens);
    const lr = this.options.lr(this.step);
    await this.#update(reports, tokens, gradNorm, lr);
    // Between the same two steps on every rank: replicas go on to run equal texts.
    if (reports.every(({ settled }) => settled)) device.later?.swap();
    return {
      requests: anyOf(reports.map(({ requests }) => requests)),
      step: this.step - 1,
      loss,
      gradNorm,
      lr,
      tokens,
      ms: world.now() - startMs,
      bytesSent: difference(ledger.sentByKind(), before),
      spans: this.engine.spans,
    };
  }

  /** Makes, publishes and commits the weights after this step; those before it where no target counts. */
  async #update(reports: readonly StepReport[], tokens: number, gradNorm: number, lr: number): Promise<void> {
    const { hyper, mesh } = this.options;
    const most = Math.max(...reports.map((report) => report.most));
    const gradScale = (hyper.gradClip === null ? 1 : Math.min(1, hyper.gradClip / (gradNorm + 1e-6))) / tokens;
    const moment = Math.max(...reports.map((report) => report.moment));
    const [t, largest] = [this.updates + 1, new Float32Array(Uint32Array.of(most).buffer)[0]!];
    if (tokens > 0) {
      const problem = updateProblem({ largest, scale: gradScale, moment, t, lr, hyper });
      if (problem?.kind === 'setting') throw new ConfigError(`step ${this.step}`, problem.text);
      if (problem)
        throw new PeerError(
          mesh.world.ranks[reports.findIndex((report) => report.most === most)]!,
          'non-finite',
          `in step ${this.step} ${problem.text}; nothing was changed by it`,
        );
    }
    this.#commit?.begin();
    this.#intact = false;
    if (tokens > 0) {
      const end = this.engine.trace('optimizer', 'update');
      await this.sync.update({ ...hyper, t, lr, gradScale });
      await this.sync.publish();
      this.updates = t;
      this.momentBound = Math.max(moment, largest * gradScale);
      end();
    }
    this.step++;
    this.#intact = true;
    this.#commit?.end(this.step);
    this.#remember();
  }

  /** Whether weights and moments are those after `step` steps; not while, and after, an update breaks off. */
  get intact(): boolean {
    return this.#intact;
  }

  /** This rank's weights and moments were loaded, as they are after `steps` steps and `updates` updates. */
  loaded(steps: number, updates: number): void {
    this.step = steps;
    this.updates = updates;
    this.#intact = true;
    this.#commit?.reset(steps);
    this.#remember();
  }

  /**
   * Of a restorable trainer: steps done in each state that this rank can go back to, the later one first. Whenever
   * ranks are lost, all that are left have one of them in common.
   */
  get restorable(): readonly number[] {
    return this.#commit?.states ?? [];
  }

  /** Goes back to the weights, moments and counts after `steps` steps, one of `restorable`. */
  restore(steps: number): void {
    if (!this.#commit) throw new InternalError('this trainer keeps no committed state; make it restorable');
    this.#commit.restore(steps);
    ({ updates: this.updates, momentBound: this.momentBound } = this.#progress.get(steps)!);
    this.step = steps;
    this.#intact = true;
  }

  #remember(): void {
    const { updates, momentBound } = this;
    this.#progress.set(this.step, { updates, momentBound });
    const kept = this.restorable;
    for (const steps of this.#progress.keys()) if (!kept.includes(steps)) this.#progress.delete(steps);
  }

  async #nonFinite({ culprit, onTheWay }: Blame): Promise<PeerError> {
    const { device, mesh } = this.options;
    const words = await culpritsWords(mesh.world, culprit, () =>
      confess(device, [...this.parts.values()], this.#values, onTheWay),
    );
    return new PeerError(culprit, 'non-finite', `in step ${this.step} ${words}; nothing was changed by it`);
  }

  /**
   * Mean loss of a held-out batch over its rows that count, and their number; 0 and 0 if none does. With `asked`, the
   * same batch in which only answers count, also how many answers there are, and how many of them the network gets
   * right (see the task). Equal on every rank. Weights and gradients stay.
   */
  async evaluate(batch: B, asked?: B): Promise<Evaluation> {
    const scores = await shareScores(this.options.mesh.world, await this.engine.score(batch, this.#evenShare(), asked));
    const sum = (field: 'answers' | 'correct'): number => scores.reduce((total, score) => total + score[field], 0);
    return {
      ...mean(scores),
      ...(asked === undefined ? {} : { score: { answers: sum('answers'), correct: sum('correct') } }),
    };
  }

  /** Payload bytes that this rank will send in each step, by kind. */
  traffic(): StepTraffic {
    const { schedule, mesh } = this.options;
    const { shape, stages } = this;
    const { vocabulary } = this.engine;
    const pipeline = mesh.axis('pp');
    return stepTraffic({ schedule, shape, pipeline, world: mesh.world, stages, vocabulary, others: [this.sync] });
  }

  dispose(): void {
    this.#commit?.dispose();
    this.sync.dispose();
    this.engine.dispose();
  }

  /** As many as the other replicas have, or one less. */
  #evenShare(): readonly number[] {
    const { mesh } = this.options;
    const count = microbatchesOf(this.options);
    const replica = mesh.coordinate('dp') * mesh.layout.ep + mesh.coordinate('ep');
    const replicas = replicasOf(mesh);
    return Array.from({ length: count }, (_, i) => i).filter((i) => Math.floor((i * replicas) / count) === replica);
  }
}

/** Groups of ranks that compute different rows. */
function replicasOf({ layout }: Mesh): number {
  return layout.dp * layout.ep;
}

/** Of a whole step. */
function microbatchesOf({ deal, mesh, microbatches }: TrainerOptions): number {
  return deal?.microbatches ?? replicasOf(mesh) * microbatches;
}

/** Mean loss over all targets that count, in rank order. */
function mean(reports: readonly Pick<Score, 'lossSum' | 'tokens'>[]): Pick<Evaluation, 'loss' | 'tokens'> {
  const tokens = reports.reduce((sum, report) => sum + report.tokens, 0);
  return { loss: tokens === 0 ? 0 : reports.reduce((sum, report) => sum + report.lossSum, 0) / tokens, tokens };
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
