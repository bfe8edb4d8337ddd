// What is known of a task before anything of it is loaded or opened: the names of its networks and data, the files that
// it needs, the settings that mean nothing to it, and what it refuses. The command line and the page read it.

import { AXES, formatLayout } from '../../base/axis.ts';
import type { AxisName } from '../../base/axis.ts';
import { ConfigError, LayoutError } from '../../base/errors.ts';
import { quote } from '../../base/json.ts';
import type { RunConfig } from '../run-config.ts';

/** A name that `data` may have, and what it is called in a list. */
export interface DataName {
  readonly value: string;
  readonly name: string;
}

export interface NeededFiles {
  readonly text: boolean;
  /** tokens.safetensors. */
  readonly tokens: boolean;
  /** config.json and weights. */
  readonly model: boolean;
}

/** A file tasks/x/kind.ts exports it as `kind`; tasks/x/prepare.ts beside it makes the task. */
export interface TaskKind {
  /** The name of its folder. */
  readonly name: string;
  /** Networks that it trains from nothing, by the names that `model` takes. */
  readonly models: readonly string[];
  /** Data that need no file of the user, by the names that `data` takes. */
  readonly data: readonly DataName[];
  /** Axes that may divide a run. */
  readonly axes: readonly AxisName[];
  /** What the loss counts, in a word: rows, tokens. */
  readonly counts: string;
  /** What a pipeline may be cut between; undefined for a model that is not among `models`. */
  layersOf(model: string): number | undefined;
  needs(config: RunConfig): NeededFiles;
  /** Settings that mean nothing to a run, and why: a clause for people. */
  unused(config: RunConfig): Readonly<Partial<Record<keyof RunConfig, string>>>;
  /** ConfigError or LayoutError for what can be refused without a file, but for the schedule. */
  check(config: RunConfig): void;
}

/** Whether a run is of this task: by its model or by its data, so that one without the other is refused there. */
export function claims({ models, data }: TaskKind, config: Pick<RunConfig, 'model' | 'data'>): boolean {
  return models.includes(config.model) || data.some(({ value }) => value === config.data);
}

/** LayoutError for a layout along an axis that is not among the task's. */
export function checkAxes({ axes }: TaskKind, { model, layout }: Pick<RunConfig, 'model' | 'layout'>): void {
  if (AXES.every((axis) => axes.includes(axis) || layout[axis] === 1)) return;
  throw new LayoutError(
    `layout: ${model} is divided by ${axes.join(' and ')} alone, got ${formatLayout(layout)}; use ${axes.map((axis) => `${axis}=${layout[axis]}`).join(',')}`,
  );
}

/** For a task that has names alone, and no files: ConfigError for a model or data of another one. */
export function checkOwn({ models, data }: TaskKind, config: Pick<RunConfig, 'model' | 'data'>): void {
  const names = data.map(({ value }) => value);
  if (!models.includes(config.model))
    throw new ConfigError(
      'model',
      `${quote(config.data)} is learnt by ${models.join(', ')}, got ${quote(config.model)}; use one of them`,
    );
  if (!names.includes(config.data))
    throw new ConfigError(
      'data',
      `${config.model} learns ${names.map(quote).join(', ')}, got ${quote(config.data)}; use data=${names.join(' or ')}`,
    );
}
