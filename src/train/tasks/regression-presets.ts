// Networks of the task regression, by the names that `--model` takes, and the name of their data.

import type { RegressionNetwork } from './regression.ts';

/** See data/planted.ts. */
export const PLANTED = 'planted';

export const REGRESSION_PRESETS: Readonly<Record<string, RegressionNetwork | undefined>> = {
  'mlp-nano': { inputs: 8, outputs: 2, hidden: 32, layers: 4 },
};

/** Whether a run is of this task: by its model or by its data, so that one without the other is refused there. */
export function isRegression({ model, data }: { readonly model: string; readonly data: string }): boolean {
  return Object.hasOwn(REGRESSION_PRESETS, model) || data === PLANTED;
}
