// The folder is the registry: every file that exports `strategy` is a sequence strategy by its name.

import { ConfigError } from '../../base/errors.ts';
import type { SequenceStrategy } from './strategy.ts';

const modules = import.meta.glob<{ strategy?: SequenceStrategy }>(['./*.ts', '!./registry.ts', '!./strategy.ts'], {
  eager: true,
});

export const sequenceStrategies: ReadonlyMap<string, SequenceStrategy> = new Map(
  Object.values(modules).flatMap(({ strategy }) => (strategy ? [[strategy.name, strategy] as const] : [])),
);

export function sequenceStrategy(name: string): SequenceStrategy {
  const strategy = sequenceStrategies.get(name);
  if (!strategy)
    throw new ConfigError('sequence', `expected one of ${[...sequenceStrategies.keys()].join(', ')}, got "${name}"`);
  return strategy;
}
