// Language modelling, as far as it is known before it is loaded.

import { AXES } from '../../../base/axis.ts';
import { isPresetName, PRESET_NAMES, presetConfig, presetContext } from '../../../model/presets.ts';
import { isSynthetic, SYNTHETIC_NAMES } from '../../data/synthetic/registry.ts';
import { checkBatch, checkLayout } from '../../layout.ts';
import type { TaskKind } from '../kind.ts';

export const kind: TaskKind = {
  name: 'language',
  models: PRESET_NAMES,
  data: [
    { value: 'moby-dick', name: 'Moby Dick (1.2 MB of text)' },
    ...SYNTHETIC_NAMES.map((value) => ({ value, name: `task: ${value}` })),
  ],
  axes: AXES,
  counts: 'tokens',
  // The vocabulary changes no layer.
  layersOf: (model) => (isPresetName(model) ? presetConfig(model, 2).layers : undefined),
  needs: ({ model, data }) => ({
    text: !isSynthetic(data) && data !== 'tokens',
    tokens: data === 'tokens',
    model: !isPresetName(model),
  }),
  unused({ data }) {
    if (data === 'tokens')
      return {
        tokenizer: 'tokens are cut already',
        evalEvery: 'tokens have no held-out part, so nothing can be evaluated',
      };
    return isSynthetic(data)
      ? { tokenizer: `the task ${data} has no text to cut`, sampleEvery: `the task ${data} has no text to sample` }
      : {};
  },
  check({ model, data, context, layout, batch, microbatches, chunks, vocab }) {
    // The network of a folder is known when it is read, and so is the length of the rows of a file of tokens.
    if (!isPresetName(model)) return checkBatch(layout, { batch, microbatches });
    const tokens = context ?? (data === 'tokens' ? layout.sp : presetContext(model));
    const network = presetConfig(model, 2, context === null ? {} : { context });
    checkLayout(network, layout, { batch, microbatches, context: tokens, chunks, vocab });
  },
};
