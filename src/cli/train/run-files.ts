// The files that a run reads: a model folder, a text, tokens. What cannot be read is a ConfigError that names the
// option.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../../base/errors.ts';
import { readSafetensors } from '../../base/safetensors.ts';
import { isPresetName } from '../../model/presets.ts';
import { TOKENS_FILE } from '../../train/data/tokens-dataset.ts';
import { neededFiles } from '../../train/tasks/registry.ts';
import type { RunFiles } from '../../train/prepare.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { firstBrokenByte } from '../../train/text/encoding.ts';
import { TOKENIZER_JSON } from '../../train/text/huggingface-json.ts';
import { TOKENIZER_CONFIG, TOKENIZER_FILE } from '../../train/text/tokenizer-file.ts';
import { readMobyDick } from '../../server/pages/moby-dick.ts';
import { readModelWeights } from './read-weights.ts';
import { readWholeFile } from '../../server/whole-file.ts';

/** Tokenizers in older forms, which are not read. */
const OLDER = ['tokenizer.model', 'vocab.json', 'vocab.txt', 'spiece.model'] as const;

/** A run that goes on from a checkpoint: what of its files is named anew. */
export interface Resuming {
  readonly modelGiven: boolean;
  readonly dataGiven: boolean;
}

/**
 * Reads what the run needs: the model folder, the text or the tokens. A run that goes on has model and tokenizer in its
 * checkpoint; those of a folder that is named anew are read to be compared. ConfigError names the option whose file
 * cannot be read.
 */
export function readFiles(config: RunConfig, tokens: string | undefined, resuming?: Resuming): RunFiles {
  const all = neededFiles(config);
  const needed = { ...all, model: all.model && (!resuming || resuming.modelGiven) };
  if (resuming && all.text && !resuming.dataGiven && config.data !== 'moby-dick' && !existsSync(config.data)) {
    throw new ConfigError(
      '--data',
      `the text that the checkpoint was trained on ('${config.data}') is not there; say where it is now with --data`,
    );
  }
  if (resuming && all.tokens && tokens === undefined && !existsSync(tokensPath(config))) {
    throw new ConfigError('--tokens', 'the checkpoint was trained on a file of tokens; say where it is with --tokens');
  }
  const inFolder = (name: string): string => join(config.model, name);
  if (needed.model && !existsSync(inFolder('config.json')))
    throw new ConfigError('--model', `'${config.model}' is no preset and no folder with a config.json`);
  return {
    ...(needed.model && !isPresetName(config.model)
      ? { modelConfig: readText(inFolder('config.json'), '--model') }
      : {}),
    ...(needed.model && !isPresetName(config.model) && !resuming
      ? { weights: readModelWeights(config.model, '--model') }
      : {}),
    ...(needed.model ? readTokenizer(config, needed.text) : {}),
    ...(needed.text ? { text: config.data === 'moby-dick' ? readMobyDick() : readBytes(config.data, '--data') } : {}),
    ...(needed.tokens ? { tokens: readBytes(tokensPath(config, tokens), '--tokens') } : {}),
  };
}

/** Where the tokens of a run are: where --tokens says, or else in the model folder. */
export function tokensPath({ model }: Pick<RunConfig, 'model'>, given?: string): string {
  return given ?? join(model, TOKENS_FILE);
}

/**
 * The tokenizer of the model folder, as text and byte for byte. ConfigError if there are two, or one that is not read
 * and would be needed.
 */
function readTokenizer({ model, tokenizer }: RunConfig, needed: boolean): RunFiles {
  const has = (name: string): boolean => existsSync(join(model, name));
  const read = (name: string): string => readText(join(model, name), '--model', true);
  if (has(TOKENIZER_FILE) && has(TOKENIZER_JSON)) {
    throw new ConfigError(
      '--model',
      `'${model}' has two tokenizers, ${TOKENIZER_FILE} and ${TOKENIZER_JSON}; remove the one that the model was not trained with`,
    );
  }
  if (has(TOKENIZER_FILE)) return { tokenizer: read(TOKENIZER_FILE) };
  if (has(TOKENIZER_JSON))
    return {
      tokenizer: read(TOKENIZER_JSON),
      ...(has(TOKENIZER_CONFIG) ? { tokenizerConfig: read(TOKENIZER_CONFIG) } : {}),
    };
  const older = OLDER.find(has);
  if (needed && tokenizer === 'auto' && older !== undefined) {
    throw new ConfigError(
      '--model',
      `'${model}' has its tokenizer as ${older}, which is not read; make a ${TOKENIZER_JSON} of it ` +
        `(in Python: AutoTokenizer.from_pretrained('${model}').save_pretrained('${model}'))`,
    );
  }
  return {};
}

/**
 * Steps and rows of a file of tokens, as settings; none where its shape is wrong, which the preparation of the run
 * says.
 */
export function shapeOfTokens(path: string): readonly [string, number][] {
  const [steps, batch, ...rest] =
    readSafetensors(readBytes(path, '--tokens'), { label: path }).tensors.get('tokens')?.shape ?? [];
  return steps && batch && rest.length === 1
    ? [
        ['steps', steps],
        ['batch', batch],
      ]
    : [];
}

/** The bytes of a file. ConfigError names `where`, the option that asked for it. */
export function readBytes(path: string, where: string): Uint8Array<ArrayBuffer> {
  try {
    return readWholeFile(path);
  } catch (error) {
    throw new ConfigError(
      where,
      `'${path}' cannot be read (${error instanceof Error ? error.message : String(error)})`,
    );
  }
}

/**
 * A file of UTF-8. A byte order mark is left out, unless the text must stay byte for byte. ConfigError for other bytes.
 */
export function readText(path: string, where: string, ignoreBOM = false): string {
  const bytes = readBytes(path, where);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new ConfigError(where, `'${path}' is no UTF-8 (byte ${firstBrokenByte(bytes)} of ${bytes.length})`);
  }
}
