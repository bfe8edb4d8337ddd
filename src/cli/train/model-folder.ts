// A trained model as a folder that `--model` and Hugging Face's from_pretrained read.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../../base/errors.ts';
import { formatModelConfig } from '../../model/config.ts';
import { isLanguage } from '../../train/tasks/language/prepare.ts';
import type { PreparedLanguage } from '../../train/tasks/language/prepare.ts';
import type { PreparedRun } from '../../train/prepare.ts';
import { TOKENIZER_JSON } from '../../train/text/huggingface-json.ts';
import { TOKENIZER_CONFIG, TOKENIZER_FILE } from '../../train/text/tokenizer-file.ts';
import type { NewFile } from './atomic-file.ts';

/** What such a folder may hold. */
export const MODEL_FILES = [
  'model.safetensors',
  'config.json',
  TOKENIZER_FILE,
  TOKENIZER_JSON,
  TOKENIZER_CONFIG,
] as const;

/** The files of the folder `path`; `weights` is a model.safetensors. */
export function modelFolder(
  path: string,
  { model, tokenizerFiles }: Pick<PreparedLanguage, 'model' | 'tokenizerFiles'>,
  weights: Uint8Array,
): readonly NewFile[] {
  const text = (name: string, content: string): NewFile => ({
    path: join(path, name),
    bytes: new TextEncoder().encode(content),
  });
  return [
    { path: join(path, 'model.safetensors'), bytes: weights },
    text('config.json', formatModelConfig(model)),
    ...[...tokenizerFiles].map(([name, content]) => text(name, content)),
  ];
}

/**
 * ConfigError if what is trained is no language model, or if the folder holds the tokenizer of another model, which
 * would stand beside this one's and make the folder ambiguous.
 */
export function checkFolder(path: string, prepared: PreparedRun): void {
  if (!isLanguage(prepared))
    throw new ConfigError(
      '--save',
      `expected a file that ends in .safetensors, got ${JSON.stringify(path)}: a model folder is of a language model`,
    );
  const { tokenizerFiles } = prepared;
  const other = [TOKENIZER_FILE, TOKENIZER_JSON].find(
    (name) => !tokenizerFiles.has(name) && existsSync(join(path, name)),
  );
  if (other !== undefined)
    throw new ConfigError(
      '--save',
      `'${path}' has the ${other} of another model; save into another folder, or remove that file`,
    );
}
