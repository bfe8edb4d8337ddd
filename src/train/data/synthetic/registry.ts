// All synthetic tasks by name. The folder tasks/ is the list: a new file there is found at once.

import { ConfigError, InternalError } from '../../../base/errors.ts';
import { checkSizes } from '../dataset.ts';
import type { Dataset } from '../dataset.ts';
import type { SyntheticOptions, SyntheticTask } from './synthetic-task.ts';

const files = import.meta.glob<SyntheticTask>('./tasks/*.ts', { import: 'task', eager: true });

function byName(): ReadonlyMap<string, SyntheticTask> {
  const map = new Map<string, SyntheticTask>();
  for (const [path, task] of Object.entries(files)) {
    if (task === undefined) throw new InternalError(`${path}: expected an export named 'task', found none`);
    if (map.has(task.name)) throw new InternalError(`${path}: the task name '${task.name}' is taken`);
    map.set(task.name, task);
  }
  return map;
}

const syntheticTasks = byName();
export const SYNTHETIC_NAMES: readonly string[] = [...syntheticTasks.keys()];

/** Whether `data` is a synthetic task, which needs no file. */
export function isSynthetic(data: string): boolean {
  return syntheticTasks.has(data);
}

/** The rows of a synthetic task. ConfigError for sizes that it cannot have, and for a name that no file has. */
export function syntheticDataset({
  task,
  symbols,
  ...given
}: Omit<SyntheticOptions, 'symbols'> & { readonly task: string; readonly symbols?: number }): Dataset {
  const found = syntheticTasks.get(task);
  if (!found) throw new ConfigError('data', `expected ${SYNTHETIC_NAMES.join(' or ')}, got '${task}'`);
  const options = { ...given, symbols: symbols ?? found.symbols };
  checkSizes(options.context, options.batch);
  if (!(Number.isSafeInteger(options.symbols) && options.symbols >= 2 && options.symbols <= 1000))
    throw new ConfigError('symbols', `expected 2 to 1000, got ${options.symbols}`);
  return found.dataset(options);
}
