// The files that a run reads: a model folder, a text, tokens. What cannot be read is a ConfigError that names the option.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../../base/errors.ts';
import { isPresetName } from '../../model/presets.ts';
import { neededFiles } from '../../train/prepare.ts';
import type { RunFiles } from '../../train/prepare.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { readMobyDick } from '../../server/pages/moby-dick.ts';
import { readModelWeights } from './read-weights.ts';

/** The tokenizer beside a saved model. */
export const TOKENIZER_FILE = 'tokenizer.tabmesh.json';

/** Reads what the run needs: the model folder, the text or the tokens. ConfigError names the option whose file cannot be read. */
export function readFiles(config: RunConfig, tokens: string | undefined): RunFiles {
  const needed = neededFiles(config);
  const inFolder = (name: string): string => join(config.model, name);
  if (needed.model && !existsSync(inFolder('config.json'))) throw new ConfigError('--model', `'${config.model}' is no preset and no folder with a config.json`);
  return {
    ...(needed.model && !isPresetName(config.model) ? { modelConfig: readText(inFolder('config.json'), '--model'), weights: readModelWeights(config.model, '--model') } : {}),
    ...(needed.model && existsSync(inFolder(TOKENIZER_FILE)) ? { tokenizer: readText(inFolder(TOKENIZER_FILE), '--model') } : {}),
    ...(needed.text ? { text: config.data === 'moby-dick' ? readMobyDick() : readText(config.data, '--data') } : {}),
    ...(needed.tokens ? { tokens: readBytes(tokens ?? inFolder('tokens.safetensors'), '--tokens') } : {}),
  };
}

/** The bytes of a file. ConfigError names `where`, the option that asked for it. */
export function readBytes(path: string, where: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw new ConfigError(where, `'${path}' cannot be read (${error instanceof Error ? error.message : String(error)})`);
  }
}

export function readText(path: string, where: string): string { return new TextDecoder().decode(readBytes(path, where)); }
