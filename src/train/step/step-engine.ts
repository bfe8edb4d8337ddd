// Gradients of this rank's stages, summed over a list of microbatches: the schedule's actions on the recorded plans. It
// knows the ranks of its pipeline and of its stages' groups, and not who computes the other microbatches of a batch.

import { LayoutError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import type { Group } from '../../collectives/group.ts';
import type { Mesh } from '../../collectives/mesh.ts';
import type { ValueWatch } from '../../collectives/record/value-watch.ts';
import type { Device } from '../../device/device.ts';
import { BufferPool } from '../../device/storage/pool.ts';
import { stageRange } from '../../model/param-spec.ts';
import type { WeightSource } from '../../model/param-spec.ts';
import { Stage } from '../../model/stage.ts';
import { runActions } from '../../parallel/pipeline/execute.ts';
import type { SpanKind } from '../../parallel/pipeline/execute.ts';
import { partOf } from '../../parallel/pipeline/part.ts';
import { PASSES } from '../../parallel/pipeline/passes.ts';
import { PipelineStreams } from '../../parallel/pipeline/streams.ts';
import { placementOf } from '../../parallel/pipeline/placement.ts';
import { PASS_KINDS } from '../../parallel/pipeline/schedule.ts';
import type { Action, PipelineShape, Schedule } from '../../parallel/pipeline/schedule.ts';
import { assignSlots, stageSlots } from '../../parallel/pipeline/slots.ts';
import type { RankTask, Task } from '../tasks/task.ts';
import { NO_SCORE } from './score.ts';
import type { Score } from './score.ts';

/** A stretch of this rank's time, ms of the world's clock. */
export interface Span {
  readonly kind: SpanKind | 'optimizer';
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
}

export interface StepEngineOptions<B = unknown> {
  readonly device: Device;
  readonly mesh: Mesh;
  readonly world: World;
  readonly task: Task<B>;
  readonly schedule: Schedule;
  readonly chunks: number;
  /** Microbatches of a usual call; memory is for as many, and for other numbers that need no more. */
  readonly microbatches: number;
  /** Of a microbatch. */
  readonly rows: number;
  readonly weights: WeightSource;
  /** Hears of the rows' losses, and of the order of what is computed. */
  readonly values: ValueWatch;
}

export class StepEngine<B = unknown> {
  readonly options: StepEngineOptions<B>;
  /** On this rank. */
  readonly task: RankTask<B>;
  /** For the usual number of microbatches. */
  readonly shape: PipelineShape;
  readonly stages: ReadonlyMap<number, Stage>;
  readonly #pool: BufferPool;
  readonly #streams: PipelineStreams;
  /** By number of microbatches, those that the recorded slots are enough for. */
  readonly #shapes = new Map<number, PipelineShape>();
  #spans: Span[] = [];

  private constructor(
    options: StepEngineOptions<B>,
    task: RankTask<B>,
    shape: PipelineShape,
    stages: ReadonlyMap<number, Stage>,
    pool: BufferPool,
    streams: PipelineStreams,
  ) {
    this.options = options;
    this.task = task;
    this.shape = shape;
    this.#shapes.set(shape.microbatches, shape);
    this.stages = stages;
    this.#pool = pool;
    this.#streams = streams;
  }

  /**
   * Builds the stages of this rank, compiles their plans and loads the weights. Sends nothing. Rejects with
   * InternalError, before anything is made, while another engine has the streams of this mesh.
   */
  static async create<B>(options: StepEngineOptions<B>): Promise<StepEngine<B>> {
    const streams = new PipelineStreams(options.mesh);
    try {
      return await StepEngine.#build(options, streams);
    } catch (error) {
      streams.close();
      throw error;
    }
  }

  static async #build<B>(options: StepEngineOptions<B>, streams: PipelineStreams): Promise<StepEngine<B>> {
    const { device, mesh, schedule, chunks, microbatches, rows } = options;
    const { pp } = mesh.layout;
    const task = options.task.onRank(mesh, rows);
    const shape: PipelineShape = { ranks: pp, chunks, microbatches };
    schedule.check?.(shape);
    const placement = placementOf(schedule, shape);
    const slots = stageSlots(schedule.actions(mesh.coordinate('pp'), shape), placement);
    const pool = new BufferPool(device);
    const stages = new Map<number, Stage>();
    for (let chunk = 0; chunk < chunks; chunk++) {
      const index = schedule.stageOf(mesh.coordinate('pp'), chunk, shape);
      const stage = await Stage.create({
        device,
        task,
        range: stageRange(index, pp * chunks, options.task.layers),
        slots: slots(index),
        splitsWeights: placement.passes.has('W'),
        pool,
      });
      stage.load(options.weights);
      stages.set(index, stage);
    }
    return new StepEngine(options, task, shape, stages, pool, streams);
  }

  /**
   * Sets the gradients of the stages to the sum over the microbatches `share` of the batch (microbatch i is its rows
   * [i * rows, (i + 1) * rows)), none of which may stand twice; every rank of the pipeline names the same. Resolves to
   * the losses of this rank's part of them. LayoutError, before anything is computed, where the list needs more memory
   * than was recorded.
   */
  async accumulate(batch: B, share: readonly number[]): Promise<Score> {
    const shape = this.#shapeOf(share.length);
    this.#spans = [];
    for (const stage of this.stages.values()) await stage.zeroGradients();
    return this.#run({ batch, share, shape, forwardGroup: this.#streams.forward, only: () => true });
  }

  /**
   * The forward alone, of microbatches of `batch`. With `asked`, the same batch in which only answers count, also how
   * many answers there are, and how many of them the network gets right.
   */
  async score(batch: B, share: readonly number[], asked?: B): Promise<Score> {
    const shape = this.#shapeOf(share.length);
    const only = (kind: Action['kind']): boolean => kind === 'F';
    return this.#run({ batch, share, shape, forwardGroup: this.#streams.evaluation, only, asked });
  }

  /** Begins a span; the returned function ends it. */
  trace(kind: Span['kind'], name: string): () => void {
    const { world } = this.options;
    const spans = this.#spans;
    const startMs = world.now();
    return () => void spans.push({ kind, name, startMs, endMs: world.now() });
  }

  /** Since the last accumulation began. */
  get spans(): readonly Span[] {
    return this.#spans;
  }

  dispose(): void {
    for (const stage of this.stages.values()) stage.dispose();
    this.#pool.dispose();
    this.#streams.close();
  }

  /** LayoutError, the same on every rank of the pipeline, where one of them would need slots that were not recorded. */
  #shapeOf(microbatches: number): PipelineShape {
    const known = this.#shapes.get(microbatches);
    if (known) return known;
    const { schedule } = this.options;
    const shape = { ...this.shape, microbatches };
    if (microbatches > 0) {
      schedule.check?.(shape);
      for (let rank = 0; rank < shape.ranks; rank++) refuseUnrecorded(schedule, rank, this.shape, shape);
    }
    this.#shapes.set(microbatches, shape);
    return shape;
  }

  async #run({ batch, share, shape, forwardGroup, only, asked }: Pass<B>): Promise<Score> {
    const { schedule, mesh, values } = this.options;
    const last = shape.ranks * shape.chunks - 1;
    const score = { lossSum: 0, tokens: 0, answers: 0, correct: 0 };
    if (share.length === 0) return score;
    const cut = (whole: B) => share.map(this.task.cut(whole));
    const cuts = cut(batch);
    const answers = asked === undefined ? undefined : cut(asked);
    const given = { of: (microbatch: number) => cuts[microbatch].data, scored: answers !== undefined };
    await runActions({
      schedule,
      shape,
      parts: new Map([...this.stages].map(([index, stage]) => [index, partOf(stage, given)])),
      forwardGroup,
      backwardGroup: this.#streams.backward,
      before: forwardGroup.numbers(share.length),
      only,
      onLoss: (microbatch, rowLosses, correct) => {
        values.check(rowLosses, `the loss of microbatch ${share[microbatch]} was not finite`);
        for (let r = 0; r < rowLosses.length; r++) {
          score.lossSum += rowLosses[r];
          if (!cuts[microbatch].counts(r)) continue;
          score.tokens++;
          if (!answers?.[microbatch].counts(r)) continue;
          score.answers++;
          if (correct?.[r]) score.correct++;
        }
      },
      onAction: (action) => {
        values.order = orderOf(action, last);
      },
      trace: (kind, name) => this.trace(kind, name),
    });
    // Every tp rank of the last stage has the same row losses; one of them counts.
    return mesh.coordinate('tp') === 0 ? score : NO_SCORE;
  }
}

interface Pass<B> {
  readonly batch: B;
  readonly share: readonly number[];
  readonly shape: PipelineShape;
  readonly forwardGroup: Group;
  only(kind: Action['kind']): boolean;
  readonly asked?: B | undefined;
}

/** A rank's slots of `shape` must be among those of `recorded`, also in the combinations that plans are bound to. */
function refuseUnrecorded(schedule: Schedule, rank: number, recorded: PipelineShape, shape: PipelineShape): void {
  const use = (of: PipelineShape) => {
    const actions = schedule.actions(rank, of);
    const { sets, peaks } = assignSlots(actions, placementOf(schedule, of));
    return { peaks, combinations: actions.map(({ kind, stage }, i) => `${kind} ${stage} ${JSON.stringify(sets[i])}`) };
  };
  const [had, needs] = [use(recorded), use(shape)];
  const advice = `record for ${shape.microbatches} or give this rank fewer`;
  for (const [stage, peaks] of needs.peaks)
    for (const [name, slots] of Object.entries(peaks)) {
      const most = had.peaks.get(stage)?.[name as keyof typeof peaks] ?? 0;
      if (slots > most)
        throw new LayoutError(
          `microbatches: ${schedule.name} holds ${slots} of ${shape.microbatches} in flight on stage ${stage}, but memory ` +
            `was made for ${most}; ${advice}`,
        );
    }
  const bound = new Set(had.combinations);
  if (needs.combinations.some((combination) => !bound.has(combination)))
    throw new LayoutError(
      `microbatches: ${schedule.name} with ${shape.microbatches} uses slots together for which no plan was bound with ` +
        `${recorded.microbatches}; ${advice}`,
    );
}

/** Rises along the way of a microbatch: forward through the stages, backward, weight gradients. */
function orderOf({ kind, microbatch, stage }: Action, last: number): number {
  const along = PASSES[kind].direction === 'forward' ? stage : last - stage;
  return 1 + (microbatch * PASS_KINDS.length + PASS_KINDS.indexOf(kind)) * (last + 1) + along;
}
