// The trainer of one rank of a layout, without the others: what it allocates can be counted, and its passes can be
// timed. Whatever would talk to another rank never ends.

import type { PeerError } from '../../base/errors.ts';
import { InternalError } from '../../base/errors.ts';
import { worldSize } from '../../base/axis.ts';
import type { World } from '../../base/world.ts';
import { createLedger } from '../../collectives/ledger.ts';
import { createMesh } from '../../collectives/mesh.ts';
import type { Device } from '../../device/device.ts';
import type { WeightSource } from '../../model/param-spec.ts';
import { scheduleByName } from '../../parallel/pipeline/registry.ts';
import type { Link } from '../../transport/transport.ts';
import type { RunConfig } from '../run-config.ts';
import type { Task } from '../tasks/task.ts';
import { Trainer } from '../trainer.ts';

export interface SilentTrainerOptions {
  readonly rank: number;
  readonly config: RunConfig;
  readonly task: Task;
  readonly device: Device;
  readonly weights: WeightSource;
}

/** Rejects with the errors of a trainer that cannot be built. */
export function silentTrainer({ rank, config, task, device, weights }: SilentTrainerOptions): Promise<Trainer> {
  const { layout, schedule, vocab, chunks, microbatches, batch } = config;
  const ledger = createLedger();
  const links = new Map(
    Array.from({ length: worldSize(layout) }, (_, peer) => peer)
      .filter((peer) => peer !== rank)
      .map((peer) => [peer, SILENT_LINK]),
  );
  return Trainer.create({
    device,
    mesh: createMesh({ layout, rank, links, ledger }),
    ledger,
    world: NO_WORLD,
    task,
    schedule: scheduleByName(schedule, vocab),
    chunks,
    microbatches,
    batch,
    weights,
    hyper: { betas: config.betas, eps: config.eps, weightDecay: config.weightDecay, gradClip: config.gradClip },
    lr: () => 0,
    batchAt() {
      throw new InternalError('a trainer of one rank alone makes no steps');
    },
  });
}

/** Nobody sends anything while a trainer is built. */
const SILENT_LINK = { failed: new Promise<PeerError>(() => undefined), abort: () => undefined } as unknown as Link;
const NO_WORLD: World = { now: () => 0, timer: () => () => undefined, randomBytes: (count) => new Uint8Array(count) };
