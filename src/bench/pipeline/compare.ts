// Schedules and forms of the vocabulary side by side: passes measured on this device, one rank after the other; the
// step from them by the real executor over wires of the given delay and bandwidth (injected.ts), beside what the
// simulator says; and what each rank holds.

import type { World } from '../../base/world.ts';
import type { Device } from '../../device/device.ts';
import { presetConfig } from '../../model/presets.ts';
import { initialWeight } from '../../model/weights.ts';
import { scheduleByName } from '../../parallel/pipeline/registry.ts';
import { PASS_KINDS } from '../../parallel/pipeline/schedule.ts';
import type { Action, PassKind, PipelineShape, Schedule, VocabularyForm } from '../../parallel/pipeline/schedule.ts';
import { simulate } from '../../parallel/pipeline/simulate.ts';
import type { Timing } from '../../parallel/pipeline/simulate.ts';
import { batchOf } from '../../train/data/batch.ts';
import { checkLayout } from '../../train/layout.ts';
import { planMemory } from '../../train/memory/memory-plan.ts';
import { parseRunConfig } from '../../train/run-config.ts';
import { LanguageModel } from '../../train/tasks/language/language-model.ts';
import { runInjected } from './injected.ts';
import { measurePasses } from './pass-costs.ts';
import type { PassTimes } from './pass-costs.ts';

export interface PipelineSettings {
  readonly model: string;
  /** Tokens of the vocabulary. */
  readonly tokens: number;
  readonly ranks: number;
  readonly microbatches: number;
  /** Of a microbatch. */
  readonly rows: number;
  /** Tokens of a row. */
  readonly context: number;
  readonly schedules: readonly string[];
  readonly forms: readonly VocabularyForm[];
  /** Of every link, each way. */
  readonly delayMs: number;
  readonly megabytesPerSecond: number;
  /** Times that each pass is measured; the median counts. */
  readonly rounds: number;
}

export interface PipelineResult {
  readonly schedule: string;
  readonly vocab: VocabularyForm;
  /** A step with injected times, and what the simulator says of it. */
  readonly stepMs: number;
  readonly simulatedMs: number;
  readonly tokensPerSecond: number;
  /** Share of the step in which a rank computes nothing, on average. */
  readonly idle: number;
  /** Of the rank that has most, and of the one that has least. */
  readonly paramBytes: readonly [most: number, least: number];
  readonly activationBytes: readonly [most: number, least: number];
  /** Measured, by rank and stage. */
  readonly passes: readonly Readonly<Record<string, Readonly<Partial<Record<PassKind, number>>>>>[];
}

/**
 * A result for each schedule and form, in their order, as they come. LayoutError for what does not fit. `checkpoint` is
 * called between passes, and may throw to stop.
 */
export async function* comparePipelines(
  settings: PipelineSettings,
  device: Device,
  world: World,
  checkpoint?: () => void,
): AsyncGenerator<PipelineResult> {
  for (const name of settings.schedules)
    for (const vocab of settings.forms)
      yield await measureOne(settings, name, vocab, { device, world, ...(checkpoint ? { checkpoint } : {}) });
}

async function measureOne(
  settings: PipelineSettings,
  name: string,
  vocab: VocabularyForm,
  place: { readonly device: Device; readonly world: World; readonly checkpoint?: () => void },
): Promise<PipelineResult> {
  const { model, tokens, ranks, microbatches, rows, context } = settings;
  const schedule = scheduleByName(name, vocab);
  const batch = rows * microbatches;
  const config = parseRunConfig([
    ['model', model],
    ['data', 'copy'],
    ['context', context],
    ['layout', `pp=${ranks}`],
    ['schedule', name],
    ['vocab', vocab],
    ['microbatches', microbatches],
    ['batch', batch],
  ]);
  const shape: PipelineShape = { ranks, chunks: config.chunks, microbatches };
  schedule.check?.(shape);
  const network = presetConfig(model, tokens, { context });
  checkLayout(network, config.layout, { batch, microbatches, context, chunks: config.chunks, vocab });
  const task = new LanguageModel({ model: network, context });
  const specs = new Map(task.weights.map((spec) => [spec.name, spec]));
  const made = new Map<string, Float32Array>();
  const weights = (weight: string) => {
    const spec = specs.get(weight)!;
    const data = made.get(weight) ?? initialWeight(spec, 1);
    made.set(weight, data);
    return { shape: spec.shape, data };
  };
  // Any tokens: passes take as long for all.
  const ids = Int32Array.from({ length: batch * (context + 1) }, (_, i) => (i * 7919) % tokens);
  const given = { ...place, config, task, weights, rounds: settings.rounds };
  const costs = await measurePasses({ ...given, batch: batchOf(ids, batch, context) });
  const wire = { delayMs: settings.delayMs, bytesPerMs: settings.megabytesPerSecond * 1000 };
  const hidden = network.hidden;
  const { makespan, busy } = await runInjected({
    schedule,
    shape,
    ms: (kind, stage, rank) => costs[rank]!.get(stage)!.get(kind)!,
    wire,
    rows: rows * context,
    hidden,
  });
  const timing = timingOf(schedule, shape, costs, { ...wire, rows: rows * context, hidden });
  const memory = await planMemory(config, task);
  const spread = (bytes: readonly number[]): readonly [number, number] => [Math.max(...bytes), Math.min(...bytes)];
  return {
    schedule: name,
    vocab,
    stepMs: makespan,
    simulatedMs: simulate(schedule, shape, timing).makespan,
    tokensPerSecond: (1000 * batch * context) / makespan,
    idle: 1 - busy.reduce((sum, ms) => sum + ms, 0) / (ranks * makespan),
    paramBytes: spread(memory.ranks.map(({ param }) => param)),
    activationBytes: spread(memory.ranks.map(({ activation }) => activation)),
    passes: costs.map((byStage) =>
      Object.fromEntries([...byStage].map(([stage, times]) => [stage, Object.fromEntries(times)])),
    ),
  };
}

/** What the simulator needs to know of measured passes and of the wires that runInjected has. */
export function timingOf(
  schedule: Schedule,
  { ranks }: Pick<PipelineShape, 'ranks'>,
  costs: readonly ReadonlyMap<number, PassTimes>[],
  wire: { readonly delayMs: number; readonly bytesPerMs: number; readonly rows: number; readonly hidden: number },
): Timing {
  const { delayMs, bytesPerMs, rows, hidden } = wire;
  const transfer = (4 * rows * hidden) / bytesPerMs;
  const exchange = delayMs + (4 * rows) / bytesPerMs;
  const chain = (ranks - 1) * (delayMs + transfer);
  const of = (kind: PassKind) => (stage: number, rank: number) => costs[rank]!.get(stage)?.get(kind) ?? 0;
  const durations = Object.fromEntries(PASS_KINDS.map((kind) => [kind, of(kind)])) as unknown as Timing;
  const collective = ({ kind }: Action): number => {
    if (kind === 'IF' || kind === 'T') return chain;
    if (kind === 'S2') return exchange;
    if (schedule.passes.includes('S2')) return exchange;
    return 2 * exchange + (schedule.headGradient === 'S' ? chain : 0);
  };
  return { ...durations, comm: delayMs, transfer, collective, posted: 2 };
}
