// ZeRO-1 (Rajbhandari et al. 2020, stage 1): each rank owns a range of every segment of its stages, holds the moments
// of that range alone, and updates it. Gradients are reduce-scattered to their owners, new weights all-gathered; a tied
// table travels between the first and the last stage.

import type { Mesh } from '../../collectives/mesh.ts';
import type { Device, Range } from '../../device/device.ts';
import type { Traffic } from '../../device/recorder.ts';
import type { ModelPart } from '../../model/model-part.ts';
import type { Stage } from '../../model/stage.ts';
import { FlatSync } from '../../parallel/data/flat-sync.ts';
import { TiedWeights } from '../../parallel/data/tied-weights.ts';
import { placementOf } from '../../parallel/pipeline/placement.ts';
import type { PipelineShape, Schedule } from '../../parallel/pipeline/schedule.ts';
import { AdamW, joinMeasured } from '../optimizer.ts';
import type { Measured } from '../optimizer.ts';
import type { Task } from '../tasks/task.ts';
import type { ParameterSync, UpdateHyper } from './parameter-sync.ts';

export interface Zero1Options {
  readonly device: Device;
  readonly mesh: Mesh;
  readonly task: Pick<Task, 'tied' | 'squareGroup'>;
  readonly schedule: Schedule;
  readonly shape: PipelineShape;
  /** Of blocks, by index, those of this rank. */
  readonly stages: ReadonlyMap<number, Stage>;
  /** All that this rank holds, whose weights are kept alike. */
  readonly parts: ReadonlyMap<number, ModelPart>;
}

export class Zero1 implements ParameterSync {
  /** By part. */
  readonly flats: ReadonlyMap<number, FlatSync>;
  readonly optimizers: ReadonlyMap<number, AdamW>;
  readonly state: readonly Range[];
  readonly #tied: TiedWeights;

  private constructor(
    parts: ReadonlyMap<number, ModelPart>,
    flats: ReadonlyMap<number, FlatSync>,
    optimizers: ReadonlyMap<number, AdamW>,
    tied: TiedWeights,
  ) {
    this.flats = flats;
    this.optimizers = optimizers;
    this.#tied = tied;
    this.state = [
      ...[...parts.values()].map(({ params: { values } }) => ({ buffer: values, offset: 0, bytes: values.bytes })),
      ...[...optimizers.values()].flatMap(({ moments }) => moments.flatMap(({ m, v }) => [m, v])),
    ].filter(({ bytes }) => bytes > 0);
  }

  static async create({ device, mesh, task, schedule, shape, stages, parts }: Zero1Options): Promise<Zero1> {
    const flats = new Map([...parts].map(([index, { params }]) => [index, new FlatSync(device, mesh, params)]));
    // Values replicated over tp are counted by tp rank 0 alone.
    const counts = ({ segment }: { segment: string }): boolean =>
      segment !== 'replicated' || mesh.coordinate('tp') === 0;
    const optimizers = new Map<number, AdamW>();
    for (const [index, { params }] of parts)
      optimizers.set(index, await AdamW.create(device, params, flats.get(index)!.owned, counts, task.squareGroup));
    // A shard holds one table for both ends.
    const shared = placementOf(schedule, shape).head !== undefined;
    const tied = await TiedWeights.create(device, mesh, shared ? undefined : task.tied, schedule, shape, stages);
    return new Zero1(parts, flats, optimizers, tied);
  }

  async reduce(): Promise<Measured> {
    await this.#tied.collectGradients();
    for (const flat of this.flats.values()) await flat.reduceGradients();
    return joinMeasured(await Promise.all([...this.optimizers.values()].map((optimizer) => optimizer.measure())));
  }

  async update({ t, lr, gradScale, ...hyper }: UpdateHyper): Promise<void> {
    for (const optimizer of this.optimizers.values()) await optimizer.step(t, lr, gradScale, hyper);
  }

  async publish(): Promise<void> {
    for (const flat of this.flats.values()) await flat.publish();
    await this.#tied.publish();
  }

  traffic(): readonly Traffic[] {
    return [...this.flats.values(), this.#tied].flatMap((part) => part.traffic());
  }

  dispose(): void {
    for (const optimizer of this.optimizers.values()) optimizer.dispose();
    this.#tied.dispose();
  }
}
