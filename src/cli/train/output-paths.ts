// Where a run writes: which files each option means, and whether all of them can be written, before anything is opened
// or trained.

import { extname, join } from 'node:path';
import { ConfigError } from '../../base/errors.ts';
import { existing, previousOf, realTarget, tryFile } from './atomic-file.ts';
import { MODEL_FILES } from './model-folder.ts';

/** Paths by what is written there. */
export interface Outputs {
  readonly log?: string;
  readonly grads?: string;
  readonly save?: string;
  readonly checkpoint?: string;
  readonly trace?: string;
}

/** Files that the run reads, by option. */
export interface Inputs {
  readonly data?: string;
  readonly tokens?: string;
  readonly run?: string;
  readonly resume?: string;
  readonly model?: string;
}

const isFolder = (path: string): boolean => existing(path)?.isDirectory() === true;
/** Devices and pipes take anything from anybody. */
const isSpecial = (path: string): boolean => {
  const there = existing(path);
  return there !== undefined && !there.isFile() && !there.isDirectory();
};

/**
 * True if --save means a folder; else it is a .safetensors file. ConfigError for the name of a file of another kind.
 */
export function savesFolder(path: string): boolean {
  if (path.endsWith('.safetensors')) return false;
  const extension = extname(path);
  if (/^\.[a-z]/i.test(extension) && !/[/\\]$/.test(path) && !isFolder(path)) {
    throw new ConfigError(
      '--save',
      `'${path}' looks like a file of the kind ${extension}, but weights are written as .safetensors or into a folder; write '${path.slice(0, -extension.length)}.safetensors', or '${path}/' for a folder of that name`,
    );
  }
  return true;
}

function filesOf(option: string, path: string): readonly string[] {
  if (option === 'save' && savesFolder(path)) return MODEL_FILES.map((name) => join(path, name));
  return option === 'checkpoint' ? [path, previousOf(path)] : [path];
}

/**
 * ConfigError when two outputs, or an output and an input that it would destroy, are one file, however they are
 * spelled.
 */
export function checkPaths(outputs: Outputs, inputs: Inputs): void {
  const owners = new Map<string, string>();
  for (const [option, path] of Object.entries(inputs) as [string, string | undefined][]) {
    // A run may go on with the checkpoint, and in the folder, that it began with: the generation before stays.
    if (
      path === undefined ||
      (option === 'resume' && outputs.checkpoint !== undefined && realTarget(path) === realTarget(outputs.checkpoint))
    )
      continue;
    if (option !== 'model') owners.set(realTarget(path), option);
    else if (outputs.save === undefined || realTarget(path) !== realTarget(outputs.save))
      for (const name of MODEL_FILES) owners.set(realTarget(join(path, name)), option);
  }
  for (const [option, path] of Object.entries(outputs) as [string, string | undefined][]) {
    if (path === undefined) continue;
    if (path === '') throw new ConfigError(`--${option}`, 'expected the name of a file, got nothing');
    if (isSpecial(path)) continue;
    for (const file of filesOf(option, path)) {
      const other = owners.get(realTarget(file));
      if (other !== undefined)
        throw new ConfigError(
          `--${option}`,
          `'${path}' would be written over the file of --${other}; give each a file of its own`,
        );
      owners.set(realTarget(file), option);
    }
  }
}

/**
 * Writes nothing, but tries to. FileError names the first file that could not be written. `weights`: bytes of a
 * model's.
 */
export function tryOutputs(outputs: Outputs, weights: number): void {
  const sizes = { log: 0, trace: 0, grads: weights, save: weights, checkpoint: 3 * weights } as const;
  for (const [option, path] of Object.entries(outputs) as [keyof Outputs, string | undefined][]) {
    if (path === undefined) continue;
    const [first] = filesOf(option, path);
    tryFile(first, sizes[option]);
  }
}
