// A model and data that belong together: when one of them was chosen, the other follows. Pure.

import { RUN_FIELDS } from '../../../train/run-config.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import type { TaskKind } from '../../../train/tasks/kind.ts';
import { tasks } from '../../../train/tasks/registry.ts';
import type { Adapted } from './fit.ts';

/**
 * `config` after its model or its data was chosen, with the other one changed where no task learns this by that; what
 * the task has no use for is put back. What was changed is said in sentences.
 */
export function paired(chosen: 'model' | 'data', config: RunConfig): Adapted {
  const kind = kindOf(chosen, config);
  const said: string[] = [];
  let changed = config;
  if (kindOf(chosen === 'model' ? 'data' : 'model', config) !== kind) {
    const [data, model] = [kind.data[0]!.value, kind.models[0]!];
    changed = chosen === 'model' ? { ...config, data } : { ...config, model };
    said.push(
      chosen === 'model'
        ? `data is now ${data}, which ${config.model} learns`
        : `the model is now ${model}, which learns ${config.data}`,
    );
  }
  const { tokenizer, context } = kind.unused(changed);
  if (tokenizer !== undefined && changed.tokenizer !== RUN_FIELDS.tokenizer.preset) {
    changed = { ...changed, tokenizer: RUN_FIELDS.tokenizer.preset };
    said.push(`the tokenizer is left out: ${tokenizer}`);
  }
  if (context !== undefined && changed.context !== null) {
    changed = { ...changed, context: null };
    said.push(`tokens per row are left out: ${context}`);
  }
  return { config: changed, said };
}

/** The task that has the model, or the data; folders and files are of language models. */
function kindOf(which: 'model' | 'data', { model, data }: RunConfig): TaskKind {
  const has = (kind: TaskKind): boolean =>
    which === 'model' ? kind.models.includes(model) : kind.data.some(({ value }) => value === data);
  return [...tasks.values()].find(has) ?? tasks.get('language')!;
}
