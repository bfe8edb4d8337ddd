// Which variant of a kernel runs for given params, and its constants. A tuner may overrule the default (the first variant that supports the params).

import { InternalError } from '../base/errors.ts';
import type { Constants, DeviceFeatures, Kernel, Params, Variant } from './kernel.ts';

export interface Choice { readonly variant: Variant; readonly constants: Constants }

/** Picks for one kernel and params; undefined leaves the default. */
export type Tuning = (kernel: Kernel, params: Params) => { variant: string; constants?: Constants } | undefined;

export function chooseVariant(kernel: Kernel, params: Params, features: DeviceFeatures, tuning?: Tuning): Choice {
  const picked = tuning?.(kernel, params);
  const variant = picked
    ? kernel.variants.find((candidate) => candidate.name === picked.variant)
    : kernel.variants.find((candidate) => !candidate.supports || candidate.supports(params, features));
  if (!variant) throw new InternalError(`${kernel.name}: no variant for ${JSON.stringify(params)}`);
  const constants: Record<string, number> = { ...params };
  for (const [name, values] of Object.entries(variant.tune ?? {})) constants[name] = picked?.constants?.[name] ?? values[0];
  return { variant, constants };
}
