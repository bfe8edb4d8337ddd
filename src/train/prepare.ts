// From a RunConfig and the files it names to what a trainer needs: network, data, weights. Reads no file itself: the
// page fetches, the command line reads. Everything is checked here, before a device is touched; errors say which file
// or field. Each task prepares its own runs: the folders of tasks/ are the list.

import { InternalError } from '../base/errors.ts';
import { scheduleByName } from '../parallel/pipeline/registry.ts';
import { sequenceStrategy } from '../parallel/sequence/registry.ts';
import type { RunConfig } from './run-config.ts';
import type { PreparedRun, PrepareOptions, PrepareTask, RunFiles } from './tasks/prepared.ts';
import { taskOf } from './tasks/registry.ts';

export type { PreparedRun, PrepareOptions, RunFiles } from './tasks/prepared.ts';

const preparations = import.meta.glob<PrepareTask>('./tasks/*/prepare.ts', { import: 'prepare', eager: true });

/** Everything that a trainer needs. ConfigError, FormatError or LayoutError says which file or setting is wrong. */
export function prepareRun(config: RunConfig, given: RunFiles, options: PrepareOptions = {}): PreparedRun {
  // Also where the layout has no use for them: a name that means nothing is a mistake.
  scheduleByName(config.schedule, config.vocab);
  sequenceStrategy(config.sequence);
  const { name } = taskOf(config);
  const prepare = preparations[`./tasks/${name}/prepare.ts`];
  if (!prepare) throw new InternalError(`tasks/${name}/prepare.ts: expected an export named 'prepare', found none`);
  return prepare(config, given, options);
}
