// Trainers of all ranks of a layout in this process, on the references over loopback, with nothing around them: for
// tests that look inside a step, poison something, or hand batches and settings to the trainer that no run would.

import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import type { Mesh } from '../../src/collectives/mesh.ts';
import { PeerError } from '../../src/base/errors.ts';
import { worldSize } from '../../src/base/axis.ts';
import { realWorld } from '../../src/base/world.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { Device, Range } from '../../src/device/device.ts';
import { scheduleByName } from '../../src/parallel/pipeline/registry.ts';
import { learningRateAt } from '../../src/train/learning-rate.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import type { PreparedRun, RunFiles } from '../../src/train/prepare.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import { Trainer } from '../../src/train/trainer.ts';
import type { TrainerOptions } from '../../src/train/trainer.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';
import type { Link } from '../../src/transport/transport.ts';

export interface LabRank {
  readonly rank: number;
  readonly trainer: Trainer;
  readonly device: Device;
  readonly mesh: Mesh;
}

export interface LabOptions {
  readonly files?: RunFiles;
  readonly change?: (options: TrainerOptions, rank: number) => TrainerOptions;
  readonly device?: (device: Device, rank: number) => Device;
  readonly link?: (link: Link, rank: number) => Link;
}

/** What a run would give its trainer. */
export function trainerOptions(
  config: RunConfig,
  prepared: PreparedRun,
  place: Pick<TrainerOptions, 'device' | 'mesh' | 'ledger'>,
): TrainerOptions {
  const { betas, eps, weightDecay, gradClip } = config;
  return {
    ...place,
    world: realWorld,
    task: prepared.task,
    schedule: scheduleByName(config.schedule, config.vocab),
    chunks: config.chunks,
    microbatches: config.microbatches,
    batch: config.batch,
    weights: prepared.weights,
    hyper: { betas, eps, weightDecay, gradClip },
    lr: (step) => learningRateAt(config.lr, step, config.steps),
    batchAt: (step) => prepared.dataset.batchAt(step),
  };
}

/**
 * Runs `work` on every rank; an error of one is told to the others, as a run does. Resolves to what each rank made, or
 * the error that it ended with.
 */
export async function onTrainers<T>(
  config: RunConfig,
  work: (rank: LabRank) => Promise<T>,
  { files = {}, change = (options) => options, device: wrap = (device) => device, link: spoil }: LabOptions = {},
): Promise<readonly (T | Error)[]> {
  const prepared = prepareRun(config, files);
  const nodes = loopbackMesh(worldSize(config.layout), realWorld, { link: { silentMs: 1e9, heartbeatMs: 1e8 } });
  const results = await Promise.all(
    nodes.map(async ({ rank, links: made }) => {
      const links = spoil ? new Map([...made].map(([peer, link]) => [peer, spoil(link, rank)])) : made;
      const ledger = createLedger();
      const mesh = createMesh({ layout: config.layout, rank, links, ledger });
      const device = wrap(createCpuDevice(), rank);
      let trainer: Trainer | undefined;
      try {
        trainer = await Trainer.create(change(trainerOptions(config, prepared, { device, mesh, ledger }), rank));
        return await work({ rank, trainer, device, mesh });
      } catch (error) {
        mesh.abort(error instanceof PeerError ? error : new PeerError(rank, 'crashed', String(error)));
        return error as Error;
      } finally {
        trainer?.dispose();
        device.destroy();
      }
    }),
  );
  for (const node of nodes) node.leave();
  return results;
}

/** The results, if no rank failed; else throws its error. */
export function allOf<T>(results: readonly (T | Error)[]): readonly T[] {
  return results.map((result) => {
    if (result instanceof Error) throw result;
    return result;
  });
}

/** All weights and moments of a rank, as 32-bit words. */
export async function stateOf({ trainer, device }: LabRank): Promise<readonly number[]> {
  const ranges: Range[] = [...trainer.parts.values()].map(({ params }) => ({
    buffer: params.values,
    offset: 0,
    bytes: params.layout.size * 4,
  }));
  for (const optimizer of trainer.sync.optimizers.values()) for (const { m, v } of optimizer.moments) ranges.push(m, v);
  return (await device.submit([], ranges)).flatMap((bytes) => [...new Uint32Array(bytes)]);
}
