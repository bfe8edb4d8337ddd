// Which variant of a kernel runs for given params, and its constants. A tuner may overrule the default (see Variant in
// kernel.ts).

import { InternalError } from '../base/errors.ts';
import type { Constants, DeviceFeatures, Kernel, Params, Variant } from './kernel.ts';

export interface ChosenVariant {
  readonly variant: Variant;
  readonly constants: Constants;
}

/** Picks for one kernel and params; undefined leaves the default. */
export type Tuning = (kernel: Kernel, params: Params) => { variant: string; constants?: Constants } | undefined;

/** Whether the device has what the variant needs and the params suit it. */
export function isSupported(variant: Variant, params: Params, features: DeviceFeatures): boolean {
  const has = { subgroups: features.subgroupSize > 0, f16: features.f16 };
  return (variant.needs ?? []).every((need) => has[need]) && (variant.supports?.(params, features) ?? true);
}

/** Exact, or less precise where the user agreed. */
export function isAllowed({ tolerance }: Variant, { reducedPrecision }: DeviceFeatures): boolean {
  return tolerance === undefined || reducedPrecision;
}

/** What the constants of the variant's text become; tunables are the first of their lists unless given. */
export function constantsOf(
  variant: Variant,
  params: Params,
  features: DeviceFeatures,
  tuned: Constants = {},
): Constants {
  const constants: Record<string, number> = { ...params };
  for (const [name, values] of Object.entries(variant.tune ?? {})) constants[name] = tuned[name] ?? values[0];
  if (variant.lanes !== undefined) constants['LANES'] = variant.lanes;
  if (variant.needs?.includes('subgroups')) constants['SUBGROUP'] = features.subgroupSize;
  return variant.derive ? { ...constants, ...variant.derive(params, constants) } : constants;
}

/** The variants that are right for these params here, in the order in which to try them: good guesses first. */
export function supportedVariants(kernel: Kernel, params: Params, features: DeviceFeatures): readonly Variant[] {
  const allowed = kernel.variants.filter(
    (variant) => isAllowed(variant, features) && isSupported(variant, params, features),
  );
  const guessed = (variant: Variant): boolean => variant.prefers?.(params, features) ?? true;
  return [...allowed.filter(guessed), ...allowed.filter((variant) => !guessed(variant))];
}

/** The same for a run that begins at once: the variant that compiles quickly first, where the kernel has one. */
export function quickFirst(kernel: Kernel, params: Params, features: DeviceFeatures): readonly Variant[] {
  const all = supportedVariants(kernel, params, features);
  const quick = all.find((variant) => variant.quick?.(params, features));
  return quick ? [quick, ...all.filter((variant) => variant !== quick)] : all;
}

export function chooseVariant(
  kernel: Kernel,
  params: Params,
  features: DeviceFeatures,
  tuning?: Tuning,
): ChosenVariant {
  const picked = tuning?.(kernel, params);
  const variant = picked
    ? kernel.variants.find(({ name }) => name === picked.variant)
    : supportedVariants(kernel, params, features)[0];
  if (!variant) throw new InternalError(`${kernel.name}: no variant for ${JSON.stringify(params)}`);
  return { variant, constants: constantsOf(variant, params, features, picked?.constants) };
}
