// The life of one rank: build the trainer, train to the last step with evaluations, samples and checkpoints on the way, hand the results over.
// Every rank runs this function; what a rank shows goes through its own events. Ends early when any rank asks to stop, or with the first error.

import { AbortedError, FormatError } from '../base/errors.ts';
import { RandomStream } from '../base/random.ts';
import type { World } from '../base/world.ts';
import type { Ledger } from '../collectives/group.ts';
import type { Mesh } from '../collectives/mesh.ts';
import { barrier } from '../collectives/barrier.ts';
import type { Device } from '../device/device.ts';
import type { Certificate } from '../device/tune/certificate.ts';
import { countWeights } from '../model/weights.ts';
import { scheduleByName } from '../parallel/pipeline/registry.ts';
import { readCheckpoint, writeCheckpoint, writeModel } from './checkpoint.ts';
import { Generator } from './generate.ts';
import { gatherModel, loadMoments } from './gather.ts';
import { learningRateAt } from './learning-rate.ts';
import type { PreparedRun } from './prepare.ts';
import type { RunConfig } from './run-config.ts';
import { sampleToken } from './sampling.ts';
import { Trainer } from './trainer.ts';
import type { Requests, StepMetrics } from './trainer.ts';

/** What a rank tells while it runs. Bytes come on rank 0 only. */
export type RunEvent =
  | { readonly kind: 'status'; readonly text: string }
  | { readonly kind: 'certificate'; readonly certificate: Certificate }
  | { readonly kind: 'ready'; readonly parameters: number; readonly vocab: number; readonly launches: number; readonly memoryBytes: number }
  | { readonly kind: 'step'; readonly metrics: StepMetrics; readonly memoryBytes: number }
  | { readonly kind: 'evaluation'; readonly step: number; readonly loss: number }
  | { readonly kind: 'sample'; readonly step: number; readonly text: string }
  | { readonly kind: 'gradients'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'checkpoint'; readonly step: number; readonly bytes: Uint8Array<ArrayBuffer>; readonly last: boolean }
  | { readonly kind: 'model'; readonly step: number; readonly bytes: Uint8Array<ArrayBuffer> }
  /** What did not work beside the training, which goes on. The same on every rank, but for the reason. `step`: steps done. */
  | { readonly kind: 'note'; readonly step: number; readonly text: string }
  | { readonly kind: 'done'; readonly steps: number; readonly stopped: boolean };

export interface RunOptions {
  readonly device: Device;
  readonly mesh: Mesh;
  readonly ledger: Ledger;
  readonly world: World;
  readonly config: RunConfig;
  readonly prepared: PreparedRun;
  /** A checkpoint to go on from. */
  readonly checkpoint?: Uint8Array<ArrayBuffer>;
  /** Hand over the summed gradients of the first step, and the final weights. */
  readonly wantGradients?: boolean;
  readonly wantModel?: boolean;
  readonly sampleTokens?: number;
  readonly onEvent: (event: RunEvent) => void;
  requests?(): Requests;
  /** Resolves while the rank may go on; a pause keeps it pending between two steps. */
  mayContinue?(): Promise<void>;
  readonly signal?: AbortSignal;
}

const EVAL_BATCHES = 4;

export async function runRank(options: RunOptions): Promise<void> {
  const { device, mesh, ledger, world, config, prepared, onEvent } = options;
  for (const text of prepared.notes) onEvent({ kind: 'note', step: 0, text });
  onEvent({ kind: 'status', text: device.qualify ? 'checking, measuring and compiling kernels' : 'compiling kernels' });
  const trainer = await Trainer.create({
    device, mesh, ledger, world, model: prepared.model, schedule: scheduleByName(config.schedule), chunks: config.chunks, microbatches: config.microbatches,
    batch: config.batch, context: prepared.context, sequence: config.sequence, weights: prepared.weights, requests: options.requests,
    hyper: { betas: config.betas, eps: config.eps, weightDecay: config.weightDecay, gradClip: config.gradClip },
    lr: (step) => learningRateAt(config.lr, step, config.steps), batchAt: (step) => prepared.dataset.batchAt(step),
  });
  try {
    if (options.checkpoint) resume(trainer, options.checkpoint);
    const generator = prepared.tokenizer && (config.sampleEvery > 0 || options.requests) ? await Generator.create(trainer) : undefined;
    const certificate = await device.qualify?.([]);
    if (certificate) onEvent({ kind: 'certificate', certificate });
    onEvent({ kind: 'status', text: 'waiting for the other ranks' });
    await barrier(mesh.world);
    onEvent({ kind: 'ready', parameters: countWeights(prepared.model), vocab: prepared.model.vocab, launches: launchCount(trainer), memoryBytes: memoryBytes(device) });
    const stopped = await trainSteps(options, trainer, generator);
    if (options.wantModel) await handOver(options, trainer, 'model');
    onEvent({ kind: 'done', steps: trainer.step, stopped });
  } finally {
    trainer.dispose();
  }
}

async function trainSteps(options: RunOptions, trainer: Trainer, generator: Generator | undefined): Promise<boolean> {
  const { config, device, mesh, prepared, onEvent } = options;
  const every = (n: number): boolean => n > 0 && (trainer.step % n === 0 || trainer.step === config.steps);
  while (trainer.step < config.steps) {
    await options.mayContinue?.();
    if (options.signal?.aborted) throw new AbortedError();
    const first = trainer.step === 0 && options.wantGradients;
    const metrics = await trainer.trainStep(first ? async (tokens) => {
      const whole = await gatherModel(trainer, 'gradients', 1 / tokens);
      if (mesh.rank === 0) onEvent({ kind: 'gradients', bytes: writeModel(whole) });
    } : undefined);
    onEvent({ kind: 'step', metrics, memoryBytes: memoryBytes(device) });
    const { stop, save, sample } = metrics.requests;
    if (every(config.evalEvery) && prepared.dataset.evalBatches > 0) {
      const batches = Math.min(EVAL_BATCHES, prepared.dataset.evalBatches);
      let loss = 0;
      for (let i = 0; i < batches; i++) loss += await trainer.evaluate(prepared.dataset.evalAt(i)) / batches;
      onEvent({ kind: 'evaluation', step: trainer.step, loss });
    }
    if (generator && (sample || every(config.sampleEvery))) onEvent({ kind: 'sample', step: trainer.step, text: await sampleText(options, prepared, trainer, generator) });
    if (save || every(config.checkpointEvery)) await handOver(options, trainer, 'checkpoint');
    if (stop) return true;
  }
  return false;
}

/** A text; the draws depend on the seed and the step alone. */
async function sampleText(options: RunOptions, prepared: PreparedRun, trainer: Trainer, generator: Generator): Promise<string> {
  const random = new RandomStream(options.config.seed, `sample ${trainer.step}`);
  let drawn = 0;
  const tokens = await generator.generate(promptOf(prepared), options.sampleTokens ?? 120, (logits) => sampleToken(logits, { temperature: 0.8, topK: 40 }, random.uniform(drawn++)));
  return prepared.tokenizer!.decode(tokens);
}

/** A new line; where the text has none and the tokenizer knows only the text's characters, a token of the data. */
function promptOf({ tokenizer, dataset }: PreparedRun): readonly number[] {
  try {
    return [...tokenizer!.encode('\n')];
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return [dataset.batchAt(0)[0]];
  }
}

async function handOver({ config, mesh, prepared, onEvent }: RunOptions, trainer: Trainer, what: 'checkpoint' | 'model'): Promise<void> {
  const weights = await gatherModel(trainer, 'weights');
  if (what === 'model') {
    if (mesh.rank === 0) onEvent({ kind: 'model', step: trainer.step, bytes: writeModel(weights) });
    return;
  }
  const [m, v] = [await gatherModel(trainer, 'm'), await gatherModel(trainer, 'v')];
  if (mesh.rank === 0) onEvent({ kind: 'checkpoint', step: trainer.step, last: trainer.step === config.steps, bytes: writeCheckpoint({ step: trainer.step, weights, m, v, config, model: prepared.model, tokenizer: prepared.tokenizer }) });
}

function resume(trainer: Trainer, bytes: Uint8Array<ArrayBuffer>): void {
  const { step, weights, m, v } = readCheckpoint(bytes, trainer.options.model);
  for (const stage of trainer.stages.values()) stage.load(weights);
  loadMoments(trainer, { m, v });
  trainer.step = step;
}

function launchCount(trainer: Trainer): number {
  let launches = 0;
  for (const stage of trainer.stages.values()) for (const plan of stage.plans.values()) launches += plan.launches;
  return launches;
}

function memoryBytes(device: Device): number {
  return Object.values(device.memory).reduce((sum, { now }) => sum + now, 0);
}
