// What somebody drops on the page or chooses: a model folder, one checkpoint, or one text.

import { ConfigError } from '../../../base/errors.ts';
import { isPresetName } from '../../../model/presets.ts';
import { openCheckpoint } from '../../../train/resume/open-checkpoint.ts';
import type { CheckpointAbout } from '../../../train/resume/open-checkpoint.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { readText } from '../../../train/text/read-text.ts';
import { isModelFolder, readModelFolder } from './model-folder.ts';
import type { DroppedModel } from './model-folder.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** With more distinct characters than this, a model that learns characters would be large; bytes are better. */
const MANY_CHARACTERS = 400;

export type Received =
  | ({ readonly kind: 'model' } & DroppedModel)
  | ({ readonly kind: 'checkpoint'; readonly bytes: Bytes } & CheckpointAbout)
  | {
      readonly kind: 'text';
      readonly name: string;
      readonly bytes: Bytes;
      /** Distinct ones; 0 where bytes are trained on as they are. */
      readonly characters: number;
      /** Which tokenizer to take for it. */
      readonly tokenizer: RunConfig['tokenizer'];
    };

/**
 * What the files are, for a form that holds `config`; undefined for no files. Rejects with ConfigError or FormatError
 * for what cannot be used.
 */
export async function receive(
  files: readonly { readonly path: string; readonly file: File }[],
  { tokenizer, model }: Pick<RunConfig, 'tokenizer' | 'model'>,
): Promise<Received | undefined> {
  if (isModelFolder(files)) return { kind: 'model', ...(await readModelFolder(files)) };
  const [file] = files.map((dropped) => dropped.file);
  if (!file) return undefined;
  if (files.length > 1)
    throw new ConfigError(
      'files',
      `${files.length} files, and no config.json among them; give one text, one checkpoint or one model folder`,
    );
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (file.name.endsWith('.safetensors')) return { kind: 'checkpoint', ...openCheckpoint(bytes), bytes };
  // Bytes are trained on as they are, whatever they mean; everything else must be a text.
  const characters = tokenizer === 'bytes' ? 0 : new Set(readText(bytes, file.name).text).size;
  const manyCharacters = isPresetName(model) && tokenizer === 'auto' && characters > MANY_CHARACTERS;
  return { kind: 'text', name: file.name, bytes, characters, tokenizer: manyCharacters ? 'bytes' : tokenizer };
}
