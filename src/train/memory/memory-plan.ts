// What each rank of a run will hold on its device, found before anything is opened: its trainer is built on a device
// that only counts. So the figures are those of the allocations themselves, and a kernel or a schedule that comes to
// need more is counted at once. What is left out: samples and readbacks.

import { InternalError } from '../../base/errors.ts';
import type { PeerError } from '../../base/errors.ts';
import { worldSize } from '../../base/axis.ts';
import type { World } from '../../base/world.ts';
import { createLedger } from '../../collectives/ledger.ts';
import { createMesh } from '../../collectives/mesh.ts';
import { createCountingDevice } from './counting-device.ts';
import type { MemoryTag } from '../../device/device.ts';
import { countNumbers } from '../../model/weights.ts';
import { scheduleByName } from '../../parallel/pipeline/registry.ts';
import type { Link } from '../../transport/transport.ts';
import type { RunConfig } from '../run-config.ts';
import type { Task } from '../tasks/task.ts';
import { Trainer } from '../trainer.ts';

const MOST_COUNTED = 16;

/** Bytes by what they are for. */
export type RankMemory = Readonly<Record<MemoryTag, number>>;

export interface MemoryPlan {
  readonly parameters: number;
  /** By rank. Above MOST_COUNTED ranks those of a pipeline stage, which differ by some alignment, are counted once. */
  readonly ranks: readonly RankMemory[];
}

/** Rejects with the errors of a trainer that cannot be built. */
export async function planMemory(config: RunConfig, task: Task): Promise<MemoryPlan> {
  const { layout } = config;
  const size = worldSize(layout);
  const alike = size <= MOST_COUNTED ? 1 : size / layout.pp;
  const counted: RankMemory[] = [];
  for (let rank = 0; rank < size; rank += alike) counted.push(await memoryOf(rank, config, task));
  return {
    parameters: countNumbers(task.weights),
    ranks: Array.from({ length: size }, (_, rank) => counted[Math.floor(rank / alike)]!),
  };
}

async function memoryOf(rank: number, config: RunConfig, task: Task): Promise<RankMemory> {
  const { layout, schedule, vocab, chunks, microbatches, batch } = config;
  const device = createCountingDevice();
  const ledger = createLedger();
  const links = new Map(
    Array.from({ length: worldSize(layout) }, (_, peer) => peer)
      .filter((peer) => peer !== rank)
      .map((peer) => [peer, SILENT_LINK]),
  );
  const shapes = new Map(task.weights.map(({ name, shape }) => [name, shape]));
  const none = new Float32Array(0);
  const trainer = await Trainer.create({
    device,
    mesh: createMesh({ layout, rank, links, ledger }),
    ledger,
    world: NO_WORLD,
    task,
    schedule: scheduleByName(schedule, vocab),
    chunks,
    microbatches,
    batch,
    weights: (name) => ({ shape: shapes.get(name)!, data: none }),
    hyper: { betas: config.betas, eps: config.eps, weightDecay: config.weightDecay, gradClip: config.gradClip },
    lr: () => 0,
    batchAt() {
      throw new InternalError('a trainer that only counts memory has no batches');
    },
  });
  const memory = Object.fromEntries(Object.entries(device.memory).map(([tag, { now }]) => [tag, now])) as Record<
    MemoryTag,
    number
  >;
  trainer.dispose();
  return memory;
}

/** Nobody sends anything while a trainer is built. */
const SILENT_LINK = { failed: new Promise<PeerError>(() => undefined), abort: () => undefined } as unknown as Link;
const NO_WORLD: World = { now: () => 0, timer: () => () => undefined, randomBytes: (count) => new Uint8Array(count) };
