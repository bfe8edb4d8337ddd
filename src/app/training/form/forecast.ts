// What a run will take, in sentences, before it begins. The counting brings the kernels along, so it is loaded when the
// page is there.

import { formatBytes } from '../../../base/format-bytes.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { isLanguageRun } from '../../../train/tasks/registry.ts';
import type { Task } from '../../../train/tasks/task.ts';
import type { MemoryPlan, RankMemory } from '../../../train/memory/memory-plan.ts';
import type { RunView } from '../run-view.ts';
import { contextOf, networkFor, sharesOf, vocabularyOf } from './fit.ts';
import type { FormFacts } from './fit.ts';

export interface Forecast {
  readonly parameters: string;
  readonly memory: string;
  readonly shares: string;
}

/** Undefined for a model that this page does not know. Rejects for settings that cannot be trained. */
export async function forecast(config: RunConfig, facts: FormFacts): Promise<Forecast | undefined> {
  const task = await taskFor(config, facts);
  if (!task) return undefined;
  const { planMemory } = await import('../../../train/memory/memory-plan.ts');
  return describe(await planMemory(config, task), config, facts);
}

/** Undefined for a model that this page does not know. */
async function taskFor(config: RunConfig, facts: FormFacts): Promise<Task | undefined> {
  // What is no language model needs no file.
  if (!isLanguageRun(config)) return (await import('../../../train/prepare.ts')).prepareRun(config, {}).task;
  const model = networkFor(config, facts);
  if (!model) return undefined;
  const { LanguageModel } = await import('../../../train/tasks/language/language-model.ts');
  return new LanguageModel({ model, context: contextOf(config, facts), sequence: config.sequence });
}

/** Counts what the ranks of other tabs will have allocated; resolves to whether there was one. */
export async function expectMemory(run: RunView, facts: FormFacts): Promise<boolean> {
  if (run.ranks.every(({ own }) => own)) return false;
  const task = await taskFor(run.config, facts);
  if (!task) return false;
  const { planMemory } = await import('../../../train/memory/memory-plan.ts');
  const { ranks } = await planMemory(run.config, task);
  for (const view of run.ranks) view.expectedBytes = total(ranks[view.rank]!);
  return true;
}

export function describe({ parameters, ranks }: MemoryPlan, config: RunConfig, facts: FormFacts): Forecast {
  const known = !isLanguageRun(config) || vocabularyOf(config, facts) !== undefined;
  const totals = ranks.map(total);
  const [least, most] = [Math.min(...totals), Math.max(...totals)];
  const largest = ranks[totals.indexOf(most)]!;
  const range =
    formatBytes(least) === formatBytes(most) ? formatBytes(most) : `${formatBytes(least)} to ${formatBytes(most)}`;
  const state = largest.param + largest.grad + largest.optimizer;
  return {
    parameters: `${known ? '' : 'about '}${parameters.toLocaleString('en')} parameters`,
    memory: `${range} per device (${formatBytes(state)} weights, gradients and moments, ${formatBytes(most - state)} activations)`,
    shares: `Each device: ${sharesOf(config, facts).join('; ')}.`,
  };
}

function total(memory: RankMemory): number {
  return Object.values(memory).reduce((sum, bytes) => sum + bytes, 0);
}
