// What a checkpoint says about its run, read from the metadata alone: the tensors are checked when they are loaded
// (checkpoint.ts).

import { ConfigError, FormatError } from '../../base/errors.ts';
import { parseJson } from '../../base/json.ts';
import { readSafetensors } from '../../base/safetensors.ts';
import { parseModelConfig } from '../../model/config.ts';
import type { ModelConfig } from '../../model/config.ts';
import { CHECKPOINT_FORMAT } from '../checkpoint.ts';
import { parseRunConfig } from '../run-config.ts';
import type { RunConfig } from '../run-config.ts';
import { isLanguageRun } from '../tasks/registry.ts';

export interface CheckpointAbout {
  /** Steps done. */
  readonly step: number;
  readonly config: RunConfig;
  /** Of a language model. */
  readonly model: ModelConfig | undefined;
  /** What the network is, by name. */
  readonly network: Readonly<Record<string, unknown>>;
  /** The same as text: config.json of a language model. */
  readonly modelConfig: string;
  /** Its tokenizer's file; undefined where the data are no text. */
  readonly tokenizer: string | undefined;
  /** See data-identity.ts; undefined in checkpoints that were made before it was kept. */
  readonly data: string | undefined;
}

/** FormatError when the bytes are no whole checkpoint of ours. */
export function openCheckpoint(bytes: Uint8Array<ArrayBuffer>): CheckpointAbout {
  const { metadata } = readSafetensors(bytes, { label: 'checkpoint' });
  const mark = metadata.get('tabmesh');
  if (mark !== CHECKPOINT_FORMAT) {
    throw new FormatError(
      'checkpoint',
      `expected ${CHECKPOINT_FORMAT}, got ${mark ?? 'a file without that mark'}; plain weights have no optimizer state and cannot be resumed, ` +
        'but a model folder can be trained on',
    );
  }
  const step = metadata.get('step') ?? '';
  if (!/^\d+$/.test(step)) throw new FormatError('checkpoint', `expected a step, got ${metadata.get('step')}`);
  const [run, modelConfig] = [metadata.get('run'), metadata.get('config')];
  const fields = run === undefined ? undefined : parseJson(run, { format: 'checkpoint', maxDepth: 6 });
  if (!(fields instanceof Map) || modelConfig === undefined)
    throw new FormatError('checkpoint', 'expected the settings of its run and its model in the metadata');
  try {
    const config = parseRunConfig(fields);
    const model = isLanguageRun(config) ? parseModelConfig(modelConfig) : undefined;
    return {
      step: Number(step),
      config,
      model,
      network: { ...(model ?? networkOf(modelConfig)) },
      modelConfig,
      tokenizer: metadata.get('tokenizer'),
      data: metadata.get('data'),
    };
  } catch (error) {
    // A setting that only another version of the program knows.
    if (error instanceof ConfigError)
      throw new FormatError('checkpoint', `its metadata cannot be used: ${error.message}`);
    throw error;
  }
}

function networkOf(text: string): Readonly<Record<string, unknown>> {
  const fields = parseJson(text, { format: 'checkpoint', maxDepth: 2 });
  if (!(fields instanceof Map)) throw new FormatError('checkpoint', 'expected the description of a network');
  const { model_type: _type, ...network } = Object.fromEntries(fields) as Record<string, unknown>;
  return network;
}
