// What each rank of a run will hold on its device, found before anything is opened: its trainer is built on a device
// that only counts. So the figures are those of the allocations themselves, and a kernel or a schedule that comes to
// need more is counted at once. What is left out: samples and readbacks.

import { worldSize } from '../../base/axis.ts';
import { createCountingDevice } from './counting-device.ts';
import type { MemoryTag } from '../../device/device.ts';
import type { WeightSource } from '../../model/param-spec.ts';
import { countNumbers } from '../../model/weights.ts';
import type { RunConfig } from '../run-config.ts';
import type { Task } from '../tasks/task.ts';
import { silentTrainer } from './silent-trainer.ts';

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
  const device = createCountingDevice();
  const shapes = new Map(task.weights.map(({ name, shape }) => [name, shape]));
  const none = new Float32Array(0);
  const weights: WeightSource = (name) => ({ shape: shapes.get(name)!, data: none });
  const trainer = await silentTrainer({ rank, config, task, device, weights });
  const memory = Object.fromEntries(Object.entries(device.memory).map(([tag, { now }]) => [tag, now])) as Record<
    MemoryTag,
    number
  >;
  trainer.dispose();
  return memory;
}
