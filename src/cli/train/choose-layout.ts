// A layout for a number of ranks when nobody has said one: data-parallel where the rows split, else what fits.

import type { Layout } from '../../base/axis.ts';
import { LayoutError } from '../../base/errors.ts';
import type { ModelConfig } from '../../model/config.ts';
import { isPresetName, presetConfig, presetContext } from '../../model/presets.ts';
import { checkLayout, makeLayout } from '../../train/layout.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { taskOf } from '../../train/tasks/registry.ts';
import { defaultMicrobatches } from '../verify/run-folder.ts';

/** Widths of (dp, pp, tp) that multiply to `ranks`: wide in rows first, then deep, then wide in heads. */
function candidates(ranks: number): readonly Layout[] {
  const found: Layout[] = [];
  for (let dp = ranks; dp >= 1; dp--)
    for (let pp = Math.floor(ranks / dp); pp >= 1; pp--) {
      const tp = ranks / dp / pp;
      if (Number.isInteger(tp)) found.push(makeLayout({ dp, pp, tp }));
    }
  return found;
}

/**
 * The first candidate that fits the batch, and the model where it is known before its files are read. LayoutError if
 * none does.
 */
export function chooseLayout(config: RunConfig, ranks: number, known: ModelConfig | undefined): Layout {
  const model = known ?? (isPresetName(config.model) ? presetConfig(config.model, 2) : undefined);
  const context = config.context ?? (isPresetName(config.model) ? presetContext(config.model) : 1);
  const fits = (layout: Layout, batch = config.batch): boolean => {
    const microbatches = defaultMicrobatches({ batch, layout });
    const { chunks, vocab } = config;
    try {
      if (known) {
        const shape = { batch, context: Math.min(context, known.maxPositions), chunks, microbatches, vocab };
        checkLayout(known, layout, shape);
      } else taskOf(config).check({ ...config, layout, batch, microbatches });
      return true;
    } catch (error) {
      if (error instanceof LayoutError) return false;
      throw error;
    }
  };
  const layout = candidates(ranks).find((one) => fits(one));
  if (layout) return layout;
  // Rows are the easiest to change: the next number that the ranks divide.
  const batch = ranks * Math.ceil(config.batch / ranks);
  const advice = fits(makeLayout({ dp: ranks }), batch)
    ? `use --batch ${batch}, which dp=${ranks} divides, or name one with --layout`
    : 'name one with --layout, or use other numbers';
  const sizes = `${config.batch} rows${model ? ` and ${model.layers} layers with ${model.heads} heads` : ''}`;
  throw new LayoutError(`layout: no split of ${ranks} ranks over rows, layers and heads fits ${sizes}; ${advice}`);
}
