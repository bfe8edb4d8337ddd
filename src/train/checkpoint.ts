// A checkpoint is one safetensors file: weights under their Hugging Face names, AdamW moments as `optimizer.m.NAME` and
// `optimizer.v.NAME`, and in the metadata step, run config, model config, tokenizer and the identity of the data. Data
// and samples are functions of (seed, step), so nothing else is needed to go on bit-equal.

import { FormatError, ShapeError } from '../base/errors.ts';
import { firstNonFinite } from '../base/finite.ts';
import { readSafetensors, toFloat32, writeSafetensors } from '../base/safetensors.ts';
import type { WeightSpec } from '../model/weight.ts';
import { countNumbers } from '../model/weights.ts';
import { formatShape, sameShape } from '../base/shape.ts';
import type { WholeWeights } from './gather.ts';
import type { PreparedRun } from './prepare.ts';
import { formatRunConfig } from './run-config.ts';
import type { RunConfig } from './run-config.ts';
import { formatTokenizer } from './text/tokenizer-file.ts';
import type { Tokenizer } from './text/tokenizer.ts';
import type { WeightSource } from '../model/param-spec.ts';

export const CHECKPOINT_FORMAT = 'tabmesh-checkpoint/1';

/** Bytes of a model.safetensors. ShapeError, and no file, if a value is not finite. */
export function writeModel(weights: WholeWeights): Uint8Array<ArrayBuffer> {
  checkFinite('model', '', weights);
  return writeSafetensors(
    [...weights].map(([name, { shape, data }]) => [name, { dtype: 'F32', shape, data }] as const),
  );
}

function checkFinite(file: string, prefix: string, whole: WholeWeights): void {
  for (const [name, { data }] of whole) {
    const at = firstNonFinite(data);
    if (at >= 0)
      throw new ShapeError(`${file}: ${prefix}${name}[${at}] is ${data[at]}, so no file is made; the last one stays`);
  }
}

export interface CheckpointContent {
  readonly step: number;
  /** Steps that updated the weights, where some did not (no target counted); AdamW counts these. */
  readonly updates?: number;
  readonly weights: WholeWeights;
  readonly m: WholeWeights;
  readonly v: WholeWeights;
  readonly config: RunConfig;
  /** The network as JSON: config.json of a language model. */
  readonly modelConfig: string;
  readonly tokenizer: Tokenizer | undefined;
  /** See data-identity.ts. */
  readonly dataIdentity: string;
}

/** ShapeError, and no file, if a value is not finite. */
export function writeCheckpoint({
  step,
  updates = step,
  weights,
  m,
  v,
  config,
  modelConfig,
  tokenizer,
  dataIdentity,
}: CheckpointContent): Uint8Array<ArrayBuffer> {
  const named = (prefix: string, whole: WholeWeights) =>
    [...whole].map(([name, { shape, data }]) => [prefix + name, { dtype: 'F32' as const, shape, data }] as const);
  const metadata = new Map([
    ['format', 'pt'],
    ['tabmesh', CHECKPOINT_FORMAT],
    ['step', String(step)],
    ['run', JSON.stringify(formatRunConfig(config))],
    ['config', modelConfig],
    ['data', dataIdentity],
  ]);
  for (const [prefix, whole] of [
    ['', weights],
    ['optimizer.m.', m],
    ['optimizer.v.', v],
  ] as const)
    checkFinite('checkpoint', prefix, whole);
  if (updates !== step) metadata.set('updates', String(updates));
  if (tokenizer) metadata.set('tokenizer', formatTokenizer(tokenizer));
  return writeSafetensors([...named('', weights), ...named('optimizer.m.', m), ...named('optimizer.v.', v)], metadata);
}

/**
 * More than a checkpoint of this run can have: three numbers of 4 bytes for each weight, the tokenizer as JSON within
 * JSON, a header.
 */
export function mostCheckpointBytes({ task, tokenizer }: Pick<PreparedRun, 'task' | 'tokenizer'>): number {
  const text = tokenizer ? formatTokenizer(tokenizer).length : 0;
  return 12 * countNumbers(task.weights) + 6 * text + 1024 * task.weights.length + 2 ** 20;
}

export interface Checkpoint {
  readonly step: number;
  readonly updates: number;
  readonly weights: WeightSource;
  readonly m: WeightSource;
  readonly v: WeightSource;
  readonly metadata: ReadonlyMap<string, string>;
}

/** Reads a checkpoint of the network with these weights. FormatError if it is none, of another model, or not finite. */
export function readCheckpoint(bytes: Uint8Array<ArrayBuffer>, weights: readonly WeightSpec[]): Checkpoint {
  const { tensors, metadata } = readSafetensors(bytes, { label: 'checkpoint' });
  if (metadata.get('tabmesh') !== CHECKPOINT_FORMAT)
    throw new FormatError(
      'checkpoint',
      `expected ${CHECKPOINT_FORMAT}, got ${metadata.get('tabmesh') ?? 'a file without that mark'}; to start from plain weights use them as a model folder`,
    );
  const step = Number(metadata.get('step'));
  if (!Number.isSafeInteger(step) || step < 0)
    throw new FormatError('checkpoint', `expected a step, got ${metadata.get('step')}`);
  const updates = Number(metadata.get('updates') ?? step);
  if (!Number.isSafeInteger(updates) || updates < 0 || updates > step)
    throw new FormatError('checkpoint', `expected at most ${step} updates, got ${metadata.get('updates')}`);
  const source = (prefix: string): WeightSource => {
    const read = new Map<string, { shape: readonly number[]; data: Float32Array }>();
    for (const { name, shape } of weights) {
      const entry = tensors.get(prefix + name);
      if (!entry || entry.dtype !== 'F32' || !sameShape(entry.shape, shape))
        throw new FormatError(
          'checkpoint',
          `${prefix}${name}: expected F32 ${formatShape(shape)}, got ${entry ? `${entry.dtype} ${formatShape(entry.shape)}` : 'nothing'}; it belongs to another model`,
        );
      const data = toFloat32(entry);
      const bad = firstNonFinite(data);
      if (bad >= 0) throw new FormatError('checkpoint', `${prefix}${name}: element ${bad} is not finite`);
      read.set(name, { shape, data });
    }
    return (name) => read.get(name)!;
  };
  return { step, updates, weights: source(''), m: source('optimizer.m.'), v: source('optimizer.v.'), metadata };
}
