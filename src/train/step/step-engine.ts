// Gradients of this rank's stages, summed over a list of microbatches: the schedule's actions on the recorded plans. It
// knows the ranks of its pipeline and of its stages' groups, and not who computes the other microbatches of a batch.

import { LayoutError, UnsupportedError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import type { Group } from '../../collectives/group.ts';
import type { Mesh } from '../../collectives/mesh.ts';
import type { ValueWatch } from '../../collectives/record/value-watch.ts';
import type { Device } from '../../device/device.ts';
import { BufferPool } from '../../device/storage/pool.ts';
import type { SlotClasses } from '../../device/storage/slots.ts';
import type { ModelPart } from '../../model/model-part.ts';
import { stageRange } from '../../model/param-spec.ts';
import type { WeightSource } from '../../model/param-spec.ts';
import { Stage } from '../../model/stage.ts';
import { runActions } from '../../parallel/pipeline/execute.ts';
import type { SpanKind } from '../../parallel/pipeline/execute.ts';
import { partOf } from '../../parallel/pipeline/part.ts';
import { PASSES } from '../../parallel/pipeline/passes.ts';
import { PipelineStreams } from '../../parallel/pipeline/streams.ts';
import { placementOf } from '../../parallel/pipeline/placement.ts';
import type { StagePlacement } from '../../parallel/pipeline/placement.ts';
import { PASS_KINDS } from '../../parallel/pipeline/schedule.ts';
import type { Action, PipelineShape, Schedule } from '../../parallel/pipeline/schedule.ts';
import { assignSlots, stageSlots } from '../../parallel/pipeline/slots.ts';
import { headPasses, sharedParts, VocabularyGroups } from '../../parallel/vocab/shared.ts';
import type { SharedVocabulary } from '../../parallel/vocab/shared.ts';
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
  /** Of blocks, by index. */
  readonly stages: ReadonlyMap<number, Stage>;
  /** Where all ranks of the pipeline share the vocabulary. */
  readonly vocabulary: SharedVocabulary | undefined;
  readonly #pool: BufferPool;
  readonly #streams: PipelineStreams;
  /** By number of microbatches, those that the recorded slots are enough for. */
  readonly #shapes = new Map<number, PipelineShape>();
  #spans: Span[] = [];

  private constructor(
    options: StepEngineOptions<B>,
    task: RankTask<B>,
    shape: PipelineShape,
    { stages, vocabulary, pool }: Built,
    streams: PipelineStreams,
  ) {
    this.options = options;
    this.task = task;
    this.shape = shape;
    this.#shapes.set(shape.microbatches, shape);
    this.stages = stages;
    this.vocabulary = vocabulary;
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
    const shared = placement.head !== undefined;
    for (let chunk = 0; chunk < chunks; chunk++) {
      const index = schedule.stageOf(mesh.coordinate('pp'), chunk, shape);
      const stage = await Stage.create({
        device,
        task,
        range: stageRange(index, pp * chunks, options.task.layers, shared),
        slots: slots(index),
        splitsWeights: placement.passes.has('W'),
        rematerialises: placement.passes.has('R'),
        pool,
      });
      stage.load(options.weights);
      stages.set(index, stage);
    }
    const vocabulary = shared ? await shareVocabulary(options, task, placement, slots, pool) : undefined;
    return new StepEngine(options, task, shape, { stages, vocabulary, pool }, streams);
  }

  /** All that this rank holds of the model: stages of blocks, and a shard of the vocabulary by the head's index. */
  get parts(): ReadonlyMap<number, ModelPart> {
    const { vocabulary } = this;
    return vocabulary
      ? new Map<number, ModelPart>([...this.stages, [vocabulary.placement.head!, vocabulary.shard]])
      : this.stages;
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
    for (const part of this.parts.values()) await part.zeroGradients();
    return this.#run({ batch, share, shape, forwardGroup: this.#streams.forward, only: () => true });
  }

  /**
   * The forward alone, of microbatches of `batch`. With `asked`, the same batch in which only answers count, also how
   * many answers there are, and how many of them the network gets right.
   */
  async score(batch: B, share: readonly number[], asked?: B): Promise<Score> {
    const shape = this.#shapeOf(share.length);
    const only = (kind: Action['kind']): boolean => PASSES[kind].direction === 'forward';
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
    for (const part of this.parts.values()) part.dispose();
    this.vocabulary?.groups.close();
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
    const { vocabulary } = this;
    const placement = placementOf(schedule, shape);
    const score = { lossSum: 0, tokens: 0, answers: 0, correct: 0 };
    if (share.length === 0) return score;
    const cut = (whole: B) => share.map(this.task.cut(whole));
    const cuts = cut(batch);
    const answers = asked === undefined ? undefined : cut(asked);
    const given = { of: (microbatch: number) => cuts[microbatch].data, scored: answers !== undefined };
    const losses = new Map<number, readonly [Float32Array, (readonly boolean[])?]>();
    await runActions({
      schedule,
      shape,
      parts: new Map([
        ...[...this.stages].map(([index, stage]) => [index, partOf(stage, given)] as const),
        ...(vocabulary ? sharedParts(vocabulary, given, share.length) : []),
      ]),
      forwardGroup,
      backwardGroup: this.#streams.backward,
      before: forwardGroup.numbers(share.length),
      only,
      onLoss: (microbatch, rowLosses, correct) => {
        values.check(rowLosses, `the loss of microbatch ${share[microbatch]} was not finite`);
        losses.set(microbatch, [rowLosses, correct]);
      },
      onAction: (action) => {
        values.order = orderOf(action, placement);
      },
      trace: (kind, name) => this.trace(kind, name),
    });
    // In the order of the microbatches, however they came: the sum has the same bits every time.
    for (const [microbatch, cut] of cuts.entries()) {
      const [rowLosses, correct] = losses.get(microbatch) ?? [new Float32Array(0)];
      for (let r = 0; r < rowLosses.length; r++) {
        score.lossSum += rowLosses[r];
        if (!cut.counts(r)) continue;
        score.tokens++;
        if (!answers?.[microbatch].counts(r)) continue;
        score.answers++;
        if (correct?.[r]) score.correct++;
      }
    }
    // Every tp rank of the last blocks has the same row losses; one of them counts.
    return mesh.coordinate('tp') === 0 ? score : NO_SCORE;
  }
}

interface Built {
  readonly stages: ReadonlyMap<number, Stage>;
  readonly vocabulary: SharedVocabulary | undefined;
  readonly pool: BufferPool;
}

/** This rank's shard of the vocabulary, with the weights loaded. UnsupportedError for a task that has none to share. */
async function shareVocabulary<B>(
  { device, mesh, schedule, weights }: StepEngineOptions<B>,
  task: RankTask<B>,
  placement: StagePlacement,
  slots: (stage: number) => SlotClasses,
  pool: BufferPool,
): Promise<SharedVocabulary> {
  if (!task.vocabularyShard)
    throw new UnsupportedError(
      'vocab',
      'expected a task with a vocabulary to share between the ranks of a pipeline; use vocab=none',
    );
  const { pp, tp } = mesh.layout;
  const place = { rank: mesh.coordinate('pp') * tp + mesh.coordinate('tp'), size: pp * tp };
  const shard = await task.vocabularyShard({
    device,
    place,
    passes: headPasses(schedule),
    slots: slots(placement.head!),
    pool,
  });
  shard.load(weights);
  return { shard, groups: new VocabularyGroups(mesh), placement, schedule };
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
function orderOf({ kind, microbatch, stage }: Action, { chain }: StagePlacement): number {
  // Stages that all ranks share have passes of their own.
  const place = Math.min(stage, chain - 1);
  const along = PASSES[kind].direction === 'forward' ? place : chain - 1 - place;
  return 1 + (microbatch * PASS_KINDS.length + PASS_KINDS.indexOf(kind)) * chain + along;
}
