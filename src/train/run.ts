// The life of one rank: build the trainer, train to the last step with evaluations, samples and checkpoints on the way,
// hand the results over. Every rank runs this function; what a rank shows goes through its own events. Ends early when
// any rank asks to stop, or with the first error.

import { AbortedError } from '../base/errors.ts';
import type { World } from '../base/world.ts';
import type { Ledger } from '../collectives/group.ts';
import type { Mesh } from '../collectives/mesh.ts';
import { barrier } from '../collectives/barrier.ts';
import type { Device } from '../device/device.ts';
import type { Certificate } from '../device/tune/certificate.ts';
import { countNumbers } from '../model/weights.ts';
import type { SampleAsk } from './beside/ask.ts';
import { Beside } from './beside/beside.ts';
import { mostCheckpointBytes, writeCheckpoint, writeModel } from './checkpoint.ts';
import { CheckpointCopies } from './resume/checkpoint-copies.ts';
import { gatherModel } from './gather.ts';
import { isLanguage } from './tasks/language/prepare.ts';
import type { PreparedRun } from './prepare.ts';
import type { RunConfig } from './run-config.ts';
import { RankRuntime } from './runtime/rank-runtime.ts';
import type { Kept } from './runtime/rank-runtime.ts';
import { Telling } from './beside/telling.ts';
import { waitTogether } from './beside/waiting.ts';
import type { Word } from './beside/waiting.ts';
import type { Trainer } from './trainer.ts';
import type { StepTraffic } from './step/traffic.ts';
import { NO_REQUESTS } from './step/requests.ts';
import type { Requests } from './step/requests.ts';
import type { StepMetrics } from './trainer.ts';

/** What a rank tells while it runs. Bytes come on rank 0 only. */
export type RunEvent =
  | { readonly kind: 'status'; readonly text: string }
  | { readonly kind: 'certificate'; readonly certificate: Certificate }
  | {
      readonly kind: 'ready';
      readonly parameters: number;
      /** Of a language model. */
      readonly vocab?: number;
      readonly launches: number;
      /** Compiled for this run; those that its GPU had are not among them. */
      readonly pipelines: number;
      /** What the rank goes on with of its last run. */
      readonly kept: Kept;
      readonly memoryBytes: number;
      /** Payload bytes that this rank will send in each step, by kind. */
      readonly traffic: StepTraffic;
    }
  | { readonly kind: 'step'; readonly metrics: StepMetrics; readonly memoryBytes: number }
  /**
   * `accuracy`: of a task, the share of its answers, 0 to 1, that the model predicts; one that ties for the largest
   * logit is predicted.
   */
  | { readonly kind: 'evaluation'; readonly step: number; readonly loss: number; readonly accuracy?: number }
  /** `prompt`: what somebody wrote, of which the text is the continuation. */
  | { readonly kind: 'sample'; readonly step: number; readonly text: string; readonly prompt?: string }
  | { readonly kind: 'gradients'; readonly bytes: Uint8Array<ArrayBuffer> }
  | {
      readonly kind: 'checkpoint';
      readonly step: number;
      readonly bytes: Uint8Array<ArrayBuffer>;
      readonly last: boolean;
    }
  /** On the last rank, when the training has `copies`: the checkpoint that rank 0 told of, a little later. */
  | { readonly kind: 'copy'; readonly step: number; readonly content: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'model'; readonly step: number; readonly bytes: Uint8Array<ArrayBuffer> }
  /**
   * What did not work beside the training, which goes on. The same on every rank, but for the reason. `step`: steps
   * done.
   */
  | { readonly kind: 'note'; readonly step: number; readonly text: string }
  /** `steps` done in all, of which `from` were done before this run. */
  | { readonly kind: 'done'; readonly steps: number; readonly from: number; readonly stopped: boolean };

export interface RunOptions {
  readonly device: Device;
  readonly mesh: Mesh;
  readonly ledger: Ledger;
  readonly world: World;
  readonly config: RunConfig;
  readonly prepared: PreparedRun;
  /** Keeps trainer, plans and buffers for the next view; by default they go with the run. */
  readonly runtime?: RankRuntime;
  /** Hash of the checkpoint that the run goes on from, where it is known; see RankRuntime. */
  readonly checkpointHash?: string | undefined;
  /** Hand over the summed gradients of the first step, and the final weights. */
  readonly wantGradients?: boolean;
  readonly wantModel?: boolean;
  readonly sampleTokens?: number;
  /** Checkpoints go to the last rank as well, for runs whose ranks are in several tabs. */
  readonly copies?: boolean;
  /** What it throws does not end the run (see beside/telling.ts). */
  readonly onEvent: (event: RunEvent) => void;
  requests?(): Requests;
  /** What somebody wants the model to write, first come first served; undefined: nothing. */
  takeAsk?(): SampleAsk | undefined;
  /** On rank 0, while all ranks wait in a pause or after the last step: resolves when its page wants something. */
  whileWaiting?(paused: boolean): Promise<Word>;
  /** All ranks begin or end to wait. */
  onWait?(waits: boolean): void;
  /** While `work` runs, this rank takes its time: no deadline of the others counts. */
  holdDuring?<T>(work: Promise<T>): Promise<T>;
  /** Stays after the last step, to serve samples and checkpoints, until the device is taken away. */
  readonly stays?: boolean;
  /** Ends the run before its next step, with an error. */
  readonly signal?: AbortSignal;
  /** Once aborted, this rank asks all to end after their step; with `save` also for a checkpoint of it. */
  readonly stop?: { readonly signal: AbortSignal; readonly save: boolean };
}

const SAMPLE_TOKENS = 120;
/** A page draws what it is told. */
const TOLD_EVERY_MS = 100;

/** Resolves when the run is over and everything was told. */
export async function runRank(options: RunOptions): Promise<void> {
  const { device, mesh, world, config, prepared } = options;
  const telling = new Telling(options.onEvent);
  let step = 0;
  const tell = (event: RunEvent): void => telling.tell(event, step);
  for (const text of prepared.notes) tell({ kind: 'note', step: 0, text });
  if (config.precision === 'f16' && !device.features.reducedPrecision)
    tell({ kind: 'note', step: 0, text: 'precision f16 is not used: this adapter has no f16, so products stay f32' });
  const doing = device.qualify && !device.later ? 'checking, measuring and compiling kernels' : 'compiling kernels';
  tell({ kind: 'status', text: doing });
  const compiledBefore = device.counters.pipelines;
  const stopCounting = countCompiled(device, world, (counted) => tell({ kind: 'status', text: `${doing} ${counted}` }));
  const runtime = options.runtime ?? new RankRuntime();
  try {
    const kept = await runtime.enter({ ...options, requests: requestsOf(options) });
    const { trainer } = runtime;
    const from = (step = trainer.step);
    const wantsSamples = config.sampleEvery > 0 || options.requests !== undefined;
    const beside = new Beside({
      trainer,
      generator: () => runtime.generator(),
      prepared,
      seed: config.seed,
      wantsSamples,
      sampleTokens: options.sampleTokens ?? SAMPLE_TOKENS,
      takeAsk: () => options.takeAsk?.(),
      tell,
      holdDuring: (work) => options.holdDuring?.(work) ?? work,
    });
    // What is measured before the training may share the GPU with nothing. A device that began at once measures later.
    if (!device.later) {
      await beside.begin();
      await tellCertificate(device, tell);
    }
    stopCounting();
    if (options.signal?.aborted || options.stop?.signal.aborted) throw new AbortedError();
    tell({ kind: 'status', text: 'waiting for the other ranks' });
    await barrier(mesh.world);
    tell({
      kind: 'ready',
      parameters: countNumbers(prepared.task.weights),
      ...(isLanguage(prepared) ? { vocab: prepared.model.vocab } : {}),
      launches: launchCount(trainer),
      pipelines: device.counters.pipelines - compiledBefore,
      kept,
      memoryBytes: memoryBytes(device),
      traffic: trainer.traffic(),
    });
    const copies =
      options.copies && mesh.size > 1
        ? new CheckpointCopies(mesh, mostCheckpointBytes(prepared), (at, content) =>
            tell({ kind: 'copy', step: at, content }),
          )
        : undefined;
    const keep = async (): Promise<void> => {
      const checkpoint = await handOver(options, trainer, 'checkpoint', tell);
      runtime.saved();
      await copies?.begin(trainer.step, checkpoint);
    };
    const stopped = await trainSteps(options, trainer, beside, keep, (event) => {
      step = trainer.step;
      tell(event);
    });
    if (options.wantModel) await handOver(options, trainer, 'model', tell);
    await copies?.settle();
    tell({ kind: 'done', steps: trainer.step, from, stopped });
    if (options.stays) await stay(options, trainer, beside, keep);
    await copies?.settle();
  } finally {
    // Other ranks of its GPU may go on to compile.
    stopCounting();
    if (!options.runtime) await runtime.dispose();
  }
  telling.settle();
}

/** The rank's own wishes, and those that a stop adds. */
function requestsOf({ requests, stop }: RunOptions): (() => Requests) | undefined {
  if (!stop) return requests;
  return () => {
    const own = requests?.() ?? NO_REQUESTS;
    return stop.signal.aborted ? { ...own, stop: true, save: own.save || stop.save } : own;
  };
}

async function trainSteps(
  options: RunOptions,
  trainer: Trainer,
  beside: Beside,
  keep: () => Promise<void>,
  tell: (event: RunEvent) => void,
): Promise<boolean> {
  const { config, device, mesh, prepared } = options;
  const every = (n: number): boolean => n > 0 && (trainer.step % n === 0 || trainer.step === config.steps);
  // What is known when the run ends is told, if it was not before.
  let told = !device.later;
  const tellLate = async (): Promise<void> => {
    if (told) return;
    told = true;
    await tellCertificate(device, tell);
  };
  for (let done = 0; trainer.step < config.steps; done++) {
    if (options.signal?.aborted) throw new AbortedError();
    // Never before the first loss.
    if (done > 0 && device.later) {
      await device.later.work();
      if (device.later.settled) await tellLate();
    }
    const first = trainer.step === 0 && options.wantGradients;
    const metrics = await trainer.trainStep(
      first
        ? async (tokens) => {
            const whole = await gatherModel(trainer, 'gradients', tokens > 0 ? 1 / tokens : 1);
            if (mesh.rank === 0) tell({ kind: 'gradients', bytes: writeModel(whole) });
          }
        : undefined,
    );
    tell({ kind: 'step', metrics, memoryBytes: memoryBytes(device) });
    if (done === 0) void beside.begin();
    if (metrics.tokens === 0)
      tell({ kind: 'note', step: trainer.step, text: 'no target of this batch counts, so the step changed nothing' });
    const { stop, save, sample, pause } = metrics.requests;
    if (every(config.evalEvery) && prepared.dataset.evalBatches > 0) await beside.evaluate();
    if (sample) await beside.asked();
    else if (prepared.tokenizer && every(config.sampleEvery)) await beside.sample();
    if (save || every(config.checkpointEvery)) await keep();
    const last = trainer.step === config.steps;
    const stopped = stop || (pause === true && !last && (await waitBetween(options, trainer, beside, true, keep)));
    if (stopped || last) {
      await tellLate();
      return stopped;
    }
  }
  return false;
}

/** All ranks wait between two steps, or after the last; resolves to whether somebody stopped the run meanwhile. */
async function waitBetween(
  options: RunOptions,
  trainer: Trainer,
  beside: Beside,
  paused: boolean,
  keep: () => Promise<void>,
): Promise<boolean> {
  const { mesh, whileWaiting } = options;
  options.onWait?.(true);
  const stopped = await waitTogether({
    world: mesh.world,
    failed: mesh.failed,
    next: async () => whileWaiting?.(paused) ?? 'go',
    requests: () => options.requests?.() ?? NO_REQUESTS,
    serve: async ({ save, sample }) => {
      if (sample) await beside.asked();
      if (save) await keep();
    },
  });
  options.onWait?.(false);
  return stopped;
}

/** Serves on after the end of the run. */
async function stay(options: RunOptions, trainer: Trainer, beside: Beside, keep: () => Promise<void>): Promise<void> {
  while (!(await waitBetween(options, trainer, beside, false, keep)));
}

/** '40 of 84' now and then; the returned function ends it. */
function countCompiled(device: Device, world: World, tell: (counted: string) => void): () => void {
  let toldMs = -Infinity;
  return (
    device.onCompile?.(({ asked, done }) => {
      if (world.now() - toldMs < TOLD_EVERY_MS) return;
      toldMs = world.now();
      tell(`${done} of ${asked}`);
    }) ?? (() => {})
  );
}

async function tellCertificate(device: Device, tell: (event: RunEvent) => void): Promise<void> {
  const certificate = await device.qualify?.([]);
  if (certificate) tell({ kind: 'certificate', certificate });
}

/** Resolves on rank 0 to the checkpoint that it has told. */
async function handOver(
  { config, mesh, prepared }: RunOptions,
  trainer: Trainer,
  what: 'checkpoint' | 'model',
  tell: (event: RunEvent) => void,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const weights = await gatherModel(trainer, 'weights');
  if (what === 'model') {
    if (mesh.rank === 0) tell({ kind: 'model', step: trainer.step, bytes: writeModel(weights) });
    return undefined;
  }
  const [m, v] = [await gatherModel(trainer, 'm'), await gatherModel(trainer, 'v')];
  if (mesh.rank !== 0) return undefined;
  const bytes = writeCheckpoint({
    step: trainer.step,
    updates: trainer.updates,
    weights,
    m,
    v,
    config,
    modelConfig: prepared.modelConfig,
    tokenizer: prepared.tokenizer,
    dataIdentity: prepared.dataIdentity,
  });
  tell({ kind: 'checkpoint', step: trainer.step, last: trainer.step === config.steps, bytes });
  return bytes;
}

function launchCount(trainer: Trainer): number {
  let launches = 0;
  for (const part of trainer.parts.values()) for (const plan of part.plans.values()) launches += plan.launches;
  return launches;
}

function memoryBytes(device: Device): number {
  return Object.values(device.memory).reduce((sum, { now }) => sum + now, 0);
}
