// A task to add, as far as it is known before it is loaded: a plane through points.

import { formatLayout, worldSize } from '../../../../src/base/axis.ts';
import { LayoutError } from '../../../../src/base/errors.ts';
import { checkBatch } from '../../../../src/train/layout.ts';
import { checkOwn } from '../../../../src/train/tasks/kind.ts';
import type { TaskKind } from '../../../../src/train/tasks/kind.ts';

export const kind: TaskKind = {
  name: 'line',
  models: ['line-nano'],
  data: [{ value: 'points', name: 'line: points' }],
  axes: ['dp'],
  counts: 'rows',
  layersOf: (model) => (kind.models.includes(model) ? 1 : undefined),
  needs: () => ({ text: false, tokens: false, model: false }),
  unused: () => ({ tokenizer: 'points are no text', sampleEvery: 'points are no text' }),
  check(config) {
    checkOwn(kind, config);
    const { layout } = config;
    if (layout.dp !== worldSize(layout))
      throw new LayoutError(`layout: only rows (dp) are divided, got ${formatLayout(layout)}; use dp=${layout.dp}`);
    checkBatch(layout, config);
  },
};
