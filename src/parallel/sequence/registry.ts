// The folder is the registry: every file that exports `strategy` is a sequence strategy by its name.

import { ConfigError } from '../../base/errors.ts';
import { contiguous } from './placement.ts';
import type { TokenPlacement } from './placement.ts';
import type { SequenceStrategy } from './strategy.ts';

const modules = import.meta.glob<{ strategy?: SequenceStrategy }>(
  ['./*.ts', '!./registry.ts', '!./strategy.ts', '!./placement.ts', '!./ring-attention.ts'],
  { eager: true },
);

const DEFAULT = 'ring';

export const sequenceStrategies: ReadonlyMap<string, SequenceStrategy> = new Map(
  Object.values(modules).flatMap(({ strategy }) => (strategy ? [[strategy.name, strategy] as const] : [])),
);

/** How the tokens of a row lie on `size` ranks of the sequence group; ConfigError for an unknown strategy. */
export function tokenPlacement(size: number, name = DEFAULT): TokenPlacement {
  const { placement } = sequenceStrategy(name);
  return size === 1 ? contiguous : placement;
}

export function sequenceStrategy(name: string): SequenceStrategy {
  const strategy = sequenceStrategies.get(name);
  if (!strategy)
    throw new ConfigError('sequence', `expected one of ${[...sequenceStrategies.keys()].join(', ')}, got "${name}"`);
  return strategy;
}
