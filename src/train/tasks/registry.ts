// All tasks by name, as far as they are known before anything of them is loaded. The folders of tasks/ are the list: a
// new one with a kind.ts is found at once. What no other task claims is language modelling.

import { InternalError } from '../../base/errors.ts';
import type { RunConfig } from '../run-config.ts';
import { claims } from './kind.ts';
import type { DataName, NeededFiles, TaskKind } from './kind.ts';
import { kind as language } from './language/kind.ts';

/** The kind that each folder exports, by the path of the file. */
export type KindFiles = Readonly<Record<string, TaskKind | undefined>>;

export const kindFiles: KindFiles = import.meta.glob<TaskKind>('./*/kind.ts', { import: 'kind', eager: true });

/** InternalError for a folder without a kind or with another's name, and for a model or data that is taken. */
export function tasksOf(files: KindFiles): ReadonlyMap<string, TaskKind> {
  const tasks = new Map<string, TaskKind>();
  const taken = new Set<string>();
  for (const [path, kind] of Object.entries(files)) {
    if (kind === undefined) throw new InternalError(`${path}: expected an export named 'kind', found none`);
    if (path !== `./${kind.name}/kind.ts`) throw new InternalError(`${path}: the task is called '${kind.name}'`);
    const names = [...kind.models.map((name) => `model ${name}`), ...kind.data.map(({ value }) => `data ${value}`)];
    for (const name of names) {
      if (taken.has(name)) throw new InternalError(`${path}: the ${name} is taken`);
      taken.add(name);
    }
    tasks.set(kind.name, kind);
  }
  return tasks;
}

export const tasks: ReadonlyMap<string, TaskKind> = tasksOf(kindFiles);
const others = [...tasks.values()].filter((kind) => kind !== language);

/** The task of a run. */
export function taskOf(config: Pick<RunConfig, 'model' | 'data'>): TaskKind {
  return others.find((kind) => claims(kind, config)) ?? language;
}

/** Whether a run is of a language model, whose network is a model config and whose data are tokens. */
export function isLanguageRun(config: Pick<RunConfig, 'model' | 'data'>): boolean {
  return taskOf(config) === language;
}

export function neededFiles(config: RunConfig): NeededFiles {
  return taskOf(config).needs(config);
}

const inOrder = [language, ...others];
/** Networks to train from nothing, by the names that `model` takes. */
export const MODEL_NAMES: readonly string[] = inOrder.flatMap(({ models }) => models);
/** Data without a file of the user, by the names that `data` takes. */
export const DATA_NAMES: readonly DataName[] = inOrder.flatMap(({ data }) => data);
