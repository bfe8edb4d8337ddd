// The files of a conformance folder. Whatever is missing, unreadable or broken is one sentence that names it: a
// ConfigError for paths, a FormatError for contents.

import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, FormatError } from '../../base/errors.ts';
import { readSafetensors } from '../../base/safetensors.ts';
import type { SafetensorsFile } from '../../base/safetensors.ts';
import { readWholeFile } from '../../server/whole-file.ts';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a folder',
  ENOTDIR: 'it is no folder',
  ELOOP: 'a circle of links',
};
const EXPECTED =
  'expected a folder with manifest.json (operator cases) or run.json (a training run), or with such folders';

/** All files of a golden training run. */
export const RUN_FILES = [
  'config.json',
  'model.safetensors',
  'tokens.safetensors',
  'run.json',
  'grads.safetensors',
  'grads_noise.json',
  'final.safetensors',
  'final_noise.json',
] as const;

export type Found = { readonly path: string; readonly kind: 'run' | 'cases' | 'model' };

function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return REASONS[code] ?? (code || String(error));
}

function list(names: readonly string[]): string {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

/** The bytes of a file. ConfigError if it cannot be read. */
export function readBytes(folder: string, name: string): Uint8Array<ArrayBuffer> {
  const path = join(folder, name);
  try {
    return readWholeFile(path);
  } catch (error) {
    throw new ConfigError('FOLDER', `${path} cannot be read: ${reason(error)}`);
  }
}

/** A JSON file. FormatError if it is none. */
export function readJson(folder: string, name: string): unknown {
  const text = new TextDecoder().decode(readBytes(folder, name));
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FormatError(
      join(folder, name),
      `expected JSON, got ${text.trim() === '' ? 'an empty file' : `something else (${(error as Error).message})`}`,
    );
  }
}

/** A JSON object. FormatError for any other value. */
export function readObject(folder: string, name: string): Readonly<Record<string, unknown>> {
  const value = readJson(folder, name);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new FormatError(
    join(folder, name),
    `expected an object, got ${Array.isArray(value) ? 'a list' : JSON.stringify(value)}`,
  );
}

/** A safetensors file with at least one tensor: a comparison with none would prove nothing. */
export function readTensors(folder: string, name: string): SafetensorsFile {
  const file = readSafetensors(readBytes(folder, name), { label: join(folder, name) });
  if (file.tensors.size === 0) throw new FormatError(join(folder, name), 'expected tensors, got none');
  return file;
}

/** ConfigError that names every one of `names` that is not in the folder. */
export function requireFiles(folder: string, what: string, names: readonly string[]): void {
  const missing = names.filter((name) => !existsSync(join(folder, name)));
  if (missing.length > 0) throw new ConfigError('FOLDER', `'${folder}' lacks ${list(missing)}; ${what} ${list(names)}`);
}

function kindOf(path: string): Found['kind'] | undefined {
  if (existsSync(join(path, 'manifest.json'))) return 'cases';
  if (existsSync(join(path, 'run.json'))) return 'run';
  return existsSync(join(path, 'config.json')) || existsSync(join(path, 'model.safetensors')) ? 'model' : undefined;
}

function search(path: string): Found[] {
  const kind = kindOf(path);
  if (kind) return [{ path, kind }];
  let names: string[];
  try {
    names = readdirSync(path).sort();
  } catch (error) {
    throw new ConfigError('FOLDER', `'${path}' cannot be read: ${reason(error)}`);
  }
  return names
    .map((name) => join(path, name))
    .filter((inner) => statSync(inner, { throwIfNoEntry: false })?.isDirectory())
    .flatMap(search);
}

/**
 * What can be verified at or below `folder`: at least one run or folder of cases; also models without a run, which can
 * only be named.
 */
export function findFolders(folder: string | undefined): readonly Found[] {
  if (folder === undefined || folder === '') throw new ConfigError('FOLDER', `${EXPECTED}, got none`);
  let isFolder = false;
  try {
    isFolder = statSync(folder).isDirectory();
  } catch (error) {
    throw new ConfigError('FOLDER', `${EXPECTED}; '${folder}' cannot be read: ${reason(error)}`);
  }
  if (!isFolder) throw new ConfigError('FOLDER', `${EXPECTED}; '${folder}' is a file`);
  const found = search(folder);
  if (found.some(({ kind }) => kind !== 'model')) return found;
  if (found.length > 0)
    throw new ConfigError(
      'FOLDER',
      `'${found[0].path}' is a model without run.json, the settings and losses of a training run to compare with; ${EXPECTED}`,
    );
  throw new ConfigError(
    'FOLDER',
    `${EXPECTED}; '${folder}' ${readdirSync(folder).length === 0 ? 'is empty' : 'has none of them'}`,
  );
}
