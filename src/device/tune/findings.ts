// What one session has found out about its adapter: passes, refusals and decisions, in memory, on top of what the store
// knew. It answers the question that everything else asks: which variant may run this launch?

import { SelfCheckError } from '../../base/errors.ts';
import type { PlannedLaunch } from '../device.ts';
import type { Constants, DeviceFeatures, Kernel, Params, Variant } from '../kernel.ts';
import { constantsOf, isAllowed, isSupported, quickFirst, supportedVariants } from '../variant.ts';
import type { ChosenVariant } from '../variant.ts';
import { formatPicked, samePick } from './certificate.ts';
import type { Check, Decision, Picked, Refusal, Unchecked } from './certificate.ts';
import { checkKey, Knowledge } from './store.ts';

/** One kernel at one shape, with its share of the work of the plans. */
export interface Group extends PlannedLaunch {
  readonly key: string;
  readonly shapeClass: string;
  readonly work: number;
}

export class Findings {
  readonly features: DeviceFeatures;
  readonly knowledge = new Knowledge();
  readonly checks = new Map<string, Check>();
  readonly unchecked = new Map<string, Unchecked>();
  readonly refused: Refusal[] = [];
  readonly decisions = new Map<string, Decision>();
  readonly #wrong = new Set<string>();
  readonly #unusable = new Set<string>();
  readonly #order: typeof supportedVariants;

  /** With `quick`, variants that compile quickly are the first guess. */
  constructor(features: DeviceFeatures, quick = false) {
    this.features = features;
    this.#order = quick ? quickFirst : supportedVariants;
  }

  isRefused(kernel: Kernel, params: Params, picked: Picked): boolean {
    return (
      this.#wrong.has(name(kernel, picked)) ||
      this.knowledge.isWrong(kernel, picked) ||
      this.#unusable.has(`${name(kernel, picked)} ${JSON.stringify(params)}`)
    );
  }

  /** Wrong results condemn the variant for every shape; a pipeline that cannot be made, for this one. */
  refuse(kernel: Kernel, params: Params, { variant, constants }: Picked, reason: string, wrong: boolean): Refusal {
    const refusal = { kernel: kernel.name, variant, constants, params, reason };
    const known = this.isRefused(kernel, params, refusal);
    if (wrong) {
      this.#wrong.add(name(kernel, refusal));
      this.knowledge.condemn(kernel, refusal, reason);
    } else this.#unusable.add(`${name(kernel, refusal)} ${JSON.stringify(params)}`);
    if (!known) this.refused.push(refusal);
    return refusal;
  }

  pass(kernel: Kernel, params: Params, choice: ChosenVariant, error: number, how: Check['how']): void {
    const key = checkKey(kernel, choice.variant, choice.constants);
    this.knowledge.pass(key, error);
    if (!this.checks.has(key)) this.checks.set(key, { kernel: kernel.name, ...pickedOf(choice), params, error, how });
  }

  /** Applies what is remembered of other visits to `groups`. */
  recall(groups: readonly Group[]): void {
    for (const group of classesOf(groups)) {
      const known = this.knowledge.decision(group.kernel, group.shapeClass);
      if (known && !this.decisions.has(classKey(group)))
        this.decisions.set(classKey(group), { ...known, remembered: true });
    }
  }

  /** The variants that may run it, each with the first of its constants: good guesses first. */
  usable(kernel: Kernel, params: Params): readonly ChosenVariant[] {
    return this.#order(kernel, params, this.features)
      .map((variant) => ({ variant, constants: constantsOf(variant, params, this.features) }))
      .filter((choice) => !this.isRefused(kernel, params, pickedOf(choice)));
  }

  /** Throws SelfCheckError where every variant is known to be wrong. */
  requireChoice(kernel: Kernel, params: Params): void {
    if (this.usable(kernel, params).length) return;
    throw new SelfCheckError(
      kernel.name,
      Object.fromEntries([
        ...this.refused
          .filter((one) => one.kernel === kernel.name)
          .map((one) => [formatPicked(one), one.reason] as const),
        ...this.knowledge.wrongOf(kernel),
      ]),
    );
  }

  /** `picked` for these params; undefined if it is unknown, not supported or refused. */
  resolve(kernel: Kernel, params: Params, picked: Picked): ChosenVariant | undefined {
    const variant = kernel.variants.find((one) => one.name === picked.variant);
    if (
      !variant ||
      !isAllowed(variant, this.features) ||
      !isSupported(variant, params, this.features) ||
      !hasConstants(variant, picked.constants)
    )
      return undefined;
    return this.isRefused(kernel, params, picked)
      ? undefined
      : { variant, constants: constantsOf(variant, params, this.features, picked.constants) };
  }

  /**
   * How many times slower than the best it was on other shapes of the kernel, in the mean; undefined if nothing is
   * known.
   */
  lostBy(kernel: Kernel, picked: Picked): number | undefined {
    const ratios = this.knowledge.decisionsOf(kernel).flatMap(({ candidates }) => {
      const own = candidates.find((one) => samePick(one, picked));
      return own ? [own.relative / Math.min(...candidates.map(({ relative }) => relative))] : [];
    });
    return ratios.length ? ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length : undefined;
  }

  /** What runs this launch now: the tuned choice, else the best guess; undefined if all are refused. */
  choice(kernel: Kernel, params: Params, shapeClass: string): ChosenVariant | undefined {
    const decision = this.decisions.get(`${kernel.name} ${shapeClass}`);
    return (decision && this.resolve(kernel, params, decision)) ?? this.usable(kernel, params)[0];
  }
}

export function pickedOf({ variant, constants }: ChosenVariant): Picked {
  return {
    variant: variant.name,
    constants: Object.fromEntries(Object.keys(variant.tune ?? {}).map((tunable) => [tunable, constants[tunable]])),
  };
}

/**
 * A candidate of which nothing is known comes after those that did well elsewhere, and before those that lost by more
 * than this.
 */
const UNKNOWN = 1.15;

/**
 * What to try for a launch, in order: the best guess, the other variants that were made for such an adapter, then the
 * best one with one constant changed. Variants that did well on other shapes of the kernel come first, because the time
 * may not suffice for all.
 */
export function candidatesOf(
  findings: Findings,
  { kernel, params }: PlannedLaunch,
  best: ChosenVariant,
): readonly ChosenVariant[] {
  const picked = pickedOf(best);
  const neighbours = Object.entries(best.variant.tune ?? {}).flatMap(([tunable, values]) =>
    values.map((value) => ({ ...picked, constants: { ...picked.constants, [tunable]: value } })),
  );
  const refined = neighbours
    .filter((one) => !samePick(one, picked))
    .map((one) => findings.resolve(kernel, params, one))
    .filter((one) => one !== undefined);
  const kind = findings.features.software ? 'software' : 'hardware';
  const [preset, ...others] = findings
    .usable(kernel, params)
    .filter(({ variant }, i) => i === 0 || (variant.madeFor ?? kind) === kind);
  const lost = others
    .map((choice) => ({ choice, by: findings.lostBy(kernel, pickedOf(choice)) ?? UNKNOWN }))
    .sort((a, b) => a.by - b.by);
  return [...(preset ? [preset] : []), ...lost.map(({ choice }) => choice), ...refined];
}

/** Shapes below this share of the work are not worth a measurement. */
export const LEAST_SHARE = 0.01;

export function classKey({ kernel, shapeClass }: Group): string {
  return `${kernel.name} ${shapeClass}`;
}

/**
 * One group for each kernel and shape class, the one with the most work, with the work of all of them; most work first.
 */
export function classesOf(groups: readonly Group[]): readonly Group[] {
  const classes = new Map<string, Group>();
  for (const group of groups) {
    const key = classKey(group);
    const known = classes.get(key);
    classes.set(key, { ...(known && known.work >= group.work ? known : group), work: (known?.work ?? 0) + group.work });
  }
  return [...classes.values()].sort((a, b) => b.work - a.work);
}

function hasConstants(variant: Variant, constants: Constants): boolean {
  const tune = variant.tune ?? {};
  return (
    Object.keys(constants).length === Object.keys(tune).length &&
    Object.entries(tune).every(([tunable, values]) => values.includes(constants[tunable]))
  );
}

function name(kernel: Kernel, picked: Picked): string {
  return `${kernel.name}/${formatPicked(picked)}`;
}
