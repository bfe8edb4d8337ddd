// A whole training step (forward, backward, AdamW without clipping) of tabmesh on one rank, and of peers with the same
// weights and batches on the same adapter, or all in WebAssembly. The first steps warm up, and their losses must agree;
// then all take turns, A B C, C B A, so that a busy machine slows all alike. A step ends when its work on the device
// has ended. Runs in Node and in a page.

import { realWorld } from '../../base/world.ts';
import { createLedger } from '../../collectives/ledger.ts';
import { createMesh } from '../../collectives/mesh.ts';
import type { Device } from '../../device/device.ts';
import { scheduleByName } from '../../parallel/pipeline/registry.ts';
import { learningRateAt } from '../../train/learning-rate.ts';
import { prepareLanguage } from '../../train/tasks/language/prepare.ts';
import type { PreparedLanguage } from '../../train/tasks/language/prepare.ts';
import type { RunFiles } from '../../train/prepare.ts';
import { parseRunConfig } from '../../train/run-config.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { Trainer } from '../../train/trainer.ts';
import { isFatal, reasonOf } from '../failures.ts';
import { keepToOneThread, ThreadMeter } from '../threads.ts';
import { describeAdapter, median } from '../bench-report.ts';
import type { BenchResult, Measured } from '../bench-report.ts';

/** Steps whose losses are compared; they also warm up. */
export const CHECKED_STEPS = 3;
/** A turn takes as many steps as fit in, but at least one. */
const TURN_MS = 1000;
const MAX_TURN_STEPS = 20;
const LOSS_TOLERANCE = 1e-3;

/** One library at work on the run. */
export interface StepRunner {
  readonly library: string;
  /** Takes the next step; resolves to its loss when all its GPU work has ended. */
  step(): Promise<number>;
  /** Milliseconds spent so far in waiting for the device; on WebGPU the rest of a step is JavaScript. */
  readonly waitedMs: number;
  /** One more step, counted; undefined where nobody can tell. */
  countStep(): Promise<StepCounts | undefined>;
  dispose(): void;
}

export interface StepCounts {
  readonly launches: number;
  readonly readbacks: number;
}

export interface StepResult extends BenchResult, Partial<StepCounts> {
  readonly tokensPerSecond: number;
  /**
   * Share of the time in which JavaScript ran, 0 to 1; the rest is spent waiting. Absent on WebAssembly, which computes
   * on JavaScript's own thread.
   */
  readonly jsShare?: number;
  readonly losses: readonly number[];
}

export interface StepMeasured extends Measured<StepResult> {
  /** By peer, of each round how many times as long as tabmesh it took. */
  readonly ratios: Readonly<Record<string, readonly number[]>>;
  /** Peers that could not take part, and why. */
  readonly missing: readonly { readonly library: string; readonly reason: string }[];
}

export type StepPeer = (config: RunConfig, prepared: PreparedLanguage) => Promise<StepRunner>;
export interface NamedStepPeer {
  readonly library: string;
  readonly make: StepPeer;
}

export interface StepBench {
  readonly device: Device;
  readonly config: RunConfig;
  readonly files: RunFiles;
  readonly rounds: number;
  /** Makers of the other libraries' runners. */
  readonly peers?: readonly NamedStepPeer[];
  /** Called between steps; may throw to stop. */
  readonly checkpoint?: () => void;
}

/** The run that is measured: the given settings, no clipping, nothing on the side. */
export function stepConfig(settings: Iterable<readonly [string, unknown]>): RunConfig {
  return parseRunConfig([['gradClip', null], ['evalEvery', 0], ['sampleEvery', 0], ...settings]);
}

export async function benchStep({
  device,
  config,
  files,
  rounds,
  peers = [],
  checkpoint,
}: StepBench): Promise<StepMeasured> {
  const prepared = prepareLanguage(config, files);
  const own = await tabmeshStepRunner(device, config, prepared);
  const runners: StepRunner[] = [own];
  const onWasm = device.kind === 'wasm';
  if (onWasm && peers.length) keepToOneThread();
  const threads = onWasm ? new ThreadMeter() : undefined;
  const noted = <T>(library: string, work: () => Promise<T>): Promise<T> => threads?.during(library, work) ?? work();
  const missing: { library: string; reason: string }[] = [];
  try {
    for (const { library, make } of peers) {
      checkpoint?.();
      try {
        runners.push(await noted(library, () => make(config, prepared)));
      } catch (error) {
        if (isFatal(error)) throw error;
        missing.push({ library, reason: reasonOf(error) });
      }
    }
    const losses = runners.map((): number[] => []);
    for (let s = 0; s < CHECKED_STEPS; s++) {
      for (const [i, runner] of runners.entries()) {
        checkpoint?.();
        losses[i].push(await noted(runner.library, () => runner.step()));
      }
    }
    const counts: (StepCounts | undefined)[] = [];
    for (const runner of runners) counts.push(await runner.countStep());
    const times = await takeTurns(runners, rounds, checkpoint);
    const agree = lossesAgree(losses);
    const tokens = config.batch * prepared.context;
    const shape = `${config.model} V=${prepared.model.vocab} B=${config.batch} T=${prepared.context}`;
    const results = runners.map(({ library }, i): StepResult => {
      const medianMs = median(times[i].ms);
      const totalMs = times[i].ms.reduce((sum, ms) => sum + ms, 0);
      return {
        workload: 'gpt-step',
        shape,
        library,
        medianMs,
        gflops: own.flops / medianMs / 1e6,
        correct: agree[i],
        tokensPerSecond: (1000 * tokens) / medianMs,
        ...counts[i],
        ...(threads
          ? { threads: i === 0 ? device.adapter.threads : threads.threadsOf(library) }
          : { jsShare: 1 - times[i].waitedMs / totalMs }),
        losses: losses[i],
      };
    });
    const ratios = Object.fromEntries(
      runners
        .slice(1)
        .map(({ library }, i) => [library, times[0].turns.map((ms, round) => times[i + 1].turns[round] / ms)]),
    );
    return { adapter: describeAdapter(device.adapter), results, ratios, missing };
  } finally {
    for (const runner of runners) runner.dispose();
    threads?.stop();
  }
}

/**
 * Which runners are right by their losses, step by step: those that agree with another one within the tolerance, or
 * that are alone with finite losses. Of two that differ, nobody knows which one is right, so neither is.
 */
export function lossesAgree(losses: readonly (readonly number[])[]): readonly boolean[] {
  const same = (a: readonly number[], b: readonly number[]): boolean =>
    a.length > 0 && a.length === b.length && a.every((loss, s) => Math.abs(loss - b[s]) <= LOSS_TOLERANCE);
  return losses.map((own, i) => losses.some((other, j) => (i !== j || losses.length === 1) && same(own, other)));
}

interface Times {
  readonly ms: number[];
  /** Mean milliseconds per step of each turn. */
  readonly turns: number[];
  waitedMs: number;
}

async function takeTurns(
  runners: readonly StepRunner[],
  rounds: number,
  checkpoint?: () => void,
): Promise<readonly Times[]> {
  const times = runners.map((): Times => ({ ms: [], turns: [], waitedMs: 0 }));
  for (let round = 0; round < rounds; round++) {
    const order = [...runners.keys()];
    for (const i of round % 2 ? order.toReversed() : order) {
      const waitedBefore = runners[i].waitedMs;
      const start = realWorld.now();
      let [steps, end] = [0, start];
      while (steps === 0 || (steps < MAX_TURN_STEPS && end - start < TURN_MS)) {
        checkpoint?.();
        const before = realWorld.now();
        await runners[i].step();
        end = realWorld.now();
        times[i].ms.push(end - before);
        steps++;
      }
      times[i].turns.push((end - start) / steps);
      times[i].waitedMs += runners[i].waitedMs - waitedBefore;
    }
  }
  return times;
}

/** tabmesh as its trainer runs it; `flops` are those of the recorded plans of a step. */
export async function tabmeshStepRunner(
  device: Device,
  config: RunConfig,
  prepared: PreparedLanguage,
): Promise<StepRunner & { readonly flops: number }> {
  let waitedMs = 0;
  const wait = async <T>(pending: Promise<T>): Promise<T> => {
    const start = realWorld.now();
    try {
      return await pending;
    } finally {
      waitedMs += realWorld.now() - start;
    }
  };
  // Encoding happens before submit's first await, so only the wait for the GPU is counted.
  const timed: Device = {
    ...device,
    submit: (launches, readback) =>
      readback?.length ? wait(device.submit(launches, readback)) : device.submit(launches),
  };
  const ledger = createLedger();
  const trainer = await Trainer.create({
    device: timed,
    mesh: createMesh({ layout: config.layout, rank: 0, links: new Map(), ledger }),
    ledger,
    world: realWorld,
    task: prepared.task,
    schedule: scheduleByName(config.schedule, config.vocab),
    chunks: config.chunks,
    microbatches: config.microbatches,
    batch: config.batch,
    hyper: { betas: config.betas, eps: config.eps, weightDecay: config.weightDecay, gradClip: config.gradClip },
    lr: (step) => learningRateAt(config.lr, step, config.steps),
    batchAt: (step) => prepared.dataset.batchAt(step),
    weights: prepared.weights,
  });
  const plans = [...trainer.parts.values()].flatMap((part) => [...part.plans.values()]);
  const step = async (): Promise<number> => {
    const { loss } = await trainer.trainStep();
    await wait(device.idle());
    return loss;
  };
  return {
    library: 'tabmesh',
    step,
    flops: plans.reduce((sum, plan) => sum + plan.flops, 0),
    get waitedMs() {
      return waitedMs;
    },
    async countStep() {
      const before = { ...device.counters };
      await step();
      return {
        launches: device.counters.launches - before.launches,
        readbacks: device.counters.readbacks - before.readbacks,
      };
    },
    dispose: () => trainer.dispose(),
  };
}
