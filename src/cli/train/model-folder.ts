// A trained model as a folder that `--model` and Hugging Face's from_pretrained read.

import { join } from 'node:path';
import { formatModelConfig } from '../../model/config.ts';
import type { PreparedRun } from '../../train/prepare.ts';
import { formatTokenizer } from '../../train/text/tokenizer-file.ts';
import type { NewFile } from './atomic-file.ts';
import { TOKENIZER_FILE } from './run-files.ts';

/** What such a folder may hold. */
export const MODEL_FILES = ['model.safetensors', 'config.json', TOKENIZER_FILE] as const;

/** The files of the folder `path`; `weights` is a model.safetensors. */
export function modelFolder(path: string, { model, tokenizer }: Pick<PreparedRun, 'model' | 'tokenizer'>, weights: Uint8Array): readonly NewFile[] {
  const text = (name: string, content: string): NewFile => ({ path: join(path, name), bytes: new TextEncoder().encode(content) });
  return [
    { path: join(path, 'model.safetensors'), bytes: weights }, text('config.json', formatModelConfig(model)),
    ...(tokenizer ? [text(TOKENIZER_FILE, formatTokenizer(tokenizer))] : []),
  ];
}
