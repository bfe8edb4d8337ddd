// A model folder that somebody drops on the page, and the same given back: config.json, model.safetensors and the
// tokenizer's files. Reads no more than it is asked; whether config and weights fit each other is found out when the
// run is prepared, and the config at once.

import { ConfigError, UnsupportedError } from '../../../base/errors.ts';
import { quote } from '../../../base/json.ts';
import { readSafetensors, toFloat32, writeSafetensors } from '../../../base/safetensors.ts';
import { formatModelConfig, parseModelConfig } from '../../../model/config.ts';
import type { ModelConfig } from '../../../model/config.ts';
import { isPresetName } from '../../../model/presets.ts';
import type { RunFiles } from '../../../train/prepare.ts';
import { openCheckpoint } from '../../../train/resume/open-checkpoint.ts';
import { TOKENIZER_JSON } from '../../../train/text/huggingface-json.ts';
import {
  parseTokenizer,
  TOKENIZER_CONFIG,
  TOKENIZER_FILE,
  tokenizerFiles,
} from '../../../train/text/tokenizer-file.ts';

/** A file with its path as it was dropped: 'my-model/config.json'. */
export interface DroppedFile {
  readonly path: string;
  readonly file: Pick<File, 'text' | 'arrayBuffer'>;
}

export interface DroppedModel {
  readonly name: string;
  readonly model: ModelConfig;
  readonly files: Pick<RunFiles, 'modelConfig' | 'weights' | 'tokenizer' | 'tokenizerConfig'>;
}

const WEIGHTS = 'model.safetensors';

/** Whether these files are a model folder rather than a text or a checkpoint. */
export function isModelFolder(files: readonly DroppedFile[]): boolean {
  return files.some(({ path }) => baseName(path) === 'config.json');
}

/** Rejects with ConfigError or FormatError for a folder that cannot be trained on. */
export async function readModelFolder(files: readonly DroppedFile[]): Promise<DroppedModel> {
  const configs = files.filter(({ path }) => baseName(path) === 'config.json');
  if (configs.length > 1)
    throw new ConfigError(
      'model',
      `${configs.length} folders with a config.json (${configs.map(({ path }) => quote(path)).join(', ')}); drop one of them`,
    );
  const [{ path }] = configs as [DroppedFile];
  const folder = path.slice(0, -'config.json'.length);
  const inFolder = (name: string): DroppedFile | undefined => files.find((file) => file.path === folder + name);
  const given = folder.split('/').filter(Boolean).at(-1) ?? 'model';
  const name = isPresetName(given) ? `${given} (folder)` : given;
  const weights = inFolder(WEIGHTS);
  if (!weights) {
    const shards = inFolder(`${WEIGHTS}.index.json`)
      ? '; weights in several files are read by the command line alone: npx tabmesh train --model FOLDER'
      : '; drop the folder with its weights';
    throw new ConfigError('model', `${quote(given)} has no ${WEIGHTS}${shards}`);
  }
  const modelConfig = await inFolder('config.json')!.file.text();
  const model = parseModelConfig(modelConfig);
  const tokenizer = inFolder(TOKENIZER_JSON) ?? inFolder(TOKENIZER_FILE);
  const more = inFolder(TOKENIZER_CONFIG);
  return {
    name,
    model,
    files: {
      modelConfig,
      weights: new Uint8Array(await weights.file.arrayBuffer()),
      ...(tokenizer ? { tokenizer: await tokenizer.file.text() } : {}),
      ...(tokenizer && more ? { tokenizerConfig: await more.file.text() } : {}),
    },
  };
}

/** The files of a model folder from a checkpoint, by name: what loads elsewhere, without the optimizer's state. */
export function modelFolderOf(checkpoint: Uint8Array<ArrayBuffer>): ReadonlyMap<string, Uint8Array<ArrayBuffer>> {
  const { model, tokenizer } = openCheckpoint(checkpoint);
  if (!model) throw new UnsupportedError('model folder', 'expected a language model; keep the checkpoint instead');
  const { tensors } = readSafetensors(checkpoint, { label: 'checkpoint' });
  const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
  const weights = [...tensors]
    .filter(([name]) => !name.startsWith('optimizer.'))
    .map(([name, entry]) => [name, { dtype: 'F32', shape: entry.shape, data: toFloat32(entry) }] as const);
  const texts = tokenizer === undefined ? [] : [...tokenizerFiles(parseTokenizer(tokenizer))];
  return new Map([
    ['config.json', encode(formatModelConfig(model))],
    [WEIGHTS, writeSafetensors(weights)],
    ...texts.map(([name, text]) => [name, encode(text)] as const),
  ]);
}

/**
 * Files of a drop, those of dropped folders included. Must be called within the drop itself: the browser forgets them
 * after it.
 */
export function filesOf(transfer: DataTransfer): Promise<readonly { readonly path: string; readonly file: File }[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (entries.length === 0) return Promise.resolve([...transfer.files].map((file) => ({ path: file.name, file })));
  return Promise.all(entries.map((entry) => walk(entry))).then((lists) => lists.flat());
}

/** A model folder has few files: who drops a whole disk is stopped. */
const MOST_FILES = 200;

async function walk(root: FileSystemEntry): Promise<{ path: string; file: File }[]> {
  const found: { path: string; file: File }[] = [];
  const queue = [root];
  for (let entry = queue.shift(); entry; entry = queue.shift()) {
    const now = entry;
    if (now.isFile)
      found.push({
        path: now.fullPath.replace(/^\//, ''),
        file: await new Promise<File>((resolve, reject) => {
          (now as FileSystemFileEntry).file(resolve, reject);
        }),
      });
    else {
      const reader = (now as FileSystemDirectoryEntry).createReader();
      // The browser gives them in portions, and an empty one at the end.
      for (let portion = await read(reader); portion.length; portion = await read(reader)) queue.push(...portion);
    }
    if (found.length + queue.length > MOST_FILES)
      throw new ConfigError(
        'files',
        `more than ${MOST_FILES} files were dropped; drop a text, a checkpoint or a model folder`,
      );
  }
  return found;
}

function read(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  return new Promise((resolve, reject) => {
    reader.readEntries(resolve, reject);
  });
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
