// A layout for a number of ranks when nobody has said one: data-parallel where the rows split, else what fits.

import type { Layout } from '../../base/axis.ts';
import { LayoutError } from '../../base/errors.ts';
import type { ModelConfig } from '../../model/config.ts';
import { isPresetName, presetConfig, presetContext } from '../../model/presets.ts';
import { checkLayout, makeLayout } from '../../train/layout.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { defaultMicrobatches } from '../verify/run-folder.ts';

/** Widths of (dp, pp, tp) that multiply to `ranks`: wide in rows first, then deep, then wide in heads. */
function candidates(ranks: number): readonly Layout[] {
  const found: Layout[] = [];
  for (let dp = ranks; dp >= 1; dp--) for (let pp = Math.floor(ranks / dp); pp >= 1; pp--) {
    const tp = ranks / dp / pp;
    if (Number.isInteger(tp)) found.push(makeLayout({ dp, pp, tp }));
  }
  return found;
}

/** The first candidate that fits the batch, and the model where it is known before its files are read. LayoutError if none does. */
export function chooseLayout(config: RunConfig, ranks: number, known: ModelConfig | undefined): Layout {
  const model = known ?? (isPresetName(config.model) ? presetConfig(config.model, 2) : undefined);
  const context = config.context ?? (isPresetName(config.model) ? presetContext(config.model) : 1);
  const fits = (layout: Layout): boolean => {
    if (!model) return config.batch % layout.dp === 0;
    try {
      checkLayout(model, layout, { batch: config.batch, context: Math.min(context, model.maxPositions), chunks: config.chunks, microbatches: defaultMicrobatches({ batch: config.batch, layout }) });
      return true;
    } catch (error) {
      if (error instanceof LayoutError) return false;
      throw error;
    }
  };
  const layout = candidates(ranks).find(fits);
  if (!layout) throw new LayoutError(`layout: no split of ${ranks} ranks over rows, layers and heads fits ${config.batch} rows${model ? ` and ${model.layers} layers with ${model.heads} heads` : ''}; name one with --layout, or use other numbers`);
  return layout;
}
