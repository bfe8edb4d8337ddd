// What the form holds: settings that were understood, values that were refused and stay in their fields, and what was
// changed along with the last choice. Nothing begins while a value is refused or does not fit, so what the form shows
// is what trains. Pure.

import { formatLayout } from '../../../base/axis.ts';
import { TabmeshError } from '../../../base/errors.ts';
import { parseLayout } from '../../../train/layout.ts';
import type { WarmupDecay } from '../../../train/learning-rate.ts';
import { parseRunConfig } from '../../../train/run-config.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { adaptTo, faultsOf } from './fit.ts';
import type { Fault, FormFacts } from './fit.ts';
import { paired } from './pair.ts';

export interface Draft {
  readonly config: RunConfig;
  /** Values that stay in their fields and are no part of `config`, by name of the field. */
  readonly refused: ReadonlyMap<string, Refusal>;
  /** What had to change with the last choice, in sentences. */
  readonly said: readonly string[];
}

export interface Refusal {
  readonly value: string;
  readonly text: string;
}

/** Fields of the form that shape the learning rate together. */
export const RATE_NAMES = ['lr', 'warmup', 'decay', 'minLr'] as const;
type RateName = (typeof RATE_NAMES)[number];

const untouched = new WeakMap<RunConfig, Draft>();

/** The same draft for the same settings, however often the page is drawn: a new one has its memory counted anew. */
export function draftOf(config: RunConfig, said: readonly string[] = []): Draft {
  const known = said.length === 0 ? untouched.get(config) : undefined;
  const draft = known ?? { config, refused: new Map<string, Refusal>(), said };
  if (said.length === 0) untouched.set(config, draft);
  return draft;
}

/** The draft after somebody has written `value` into the field `name`. */
export function edit(draft: Draft, name: string, value: string, facts: FormFacts): Draft {
  const refused = new Map(draft.refused);
  refused.delete(name);
  try {
    const { config, said } = apply(draft.config, name, value.trim(), facts);
    return { config, refused, said };
  } catch (error) {
    if (!(error instanceof TabmeshError)) throw error;
    return { ...draft, refused: refused.set(name, { value, text: error.message }), said: [] };
  }
}

function apply(
  config: RunConfig,
  name: string,
  value: string,
  facts: FormFacts,
): { readonly config: RunConfig; readonly said: readonly string[] } {
  if (name === 'layout') return adaptTo(parseLayout(value), config, facts);
  if (isRate(name)) return { config: rateEdited(config, name, value), said: [] };
  const given = parseRunConfig([[name, value]], config);
  if (name === 'schedule' && given.chunks !== config.chunks)
    return { config: given, said: [`chunks per rank is now ${given.chunks}, as ${value} has`] };
  const { config: edited, said } =
    name === 'model' || name === 'data' ? paired(name, given) : { config: given, said: [] };
  // Another model may have fewer layers or positions; where no change helps, the layout's field says so.
  if (name !== 'model' && edited.model === config.model) return { config: edited, said };
  const free = config.context !== null && facts.models.get(edited.model) ? { ...edited, context: null } : edited;
  try {
    const adapted = adaptTo(free.layout, free, facts);
    return { config: adapted.config, said: [...said, ...adapted.said] };
  } catch (error) {
    if (!(error instanceof TabmeshError)) throw error;
    return { config: free, said };
  }
}

function isRate(name: string): name is RateName {
  return (RATE_NAMES as readonly string[]).includes(name);
}

/** What the fields of the learning rate show; undefined for one that is a list, which the form cannot show. */
export function rateOf({ lr }: RunConfig): Readonly<Record<RateName, number | WarmupDecay['decay']>> | undefined {
  if (typeof lr === 'number') return { lr, warmup: 0, decay: 'none', minLr: 0 };
  return 'peak' in lr ? { lr: lr.peak, warmup: lr.warmupSteps, decay: lr.decay, minLr: lr.floor } : undefined;
}

function rateEdited(config: RunConfig, name: RateName, value: string): RunConfig {
  const shown = { ...rateOf(config), [name]: value };
  const plain = Number(shown.warmup) === 0 && shown.decay === 'none' && Number(shown.minLr) === 0;
  return parseRunConfig(plain ? [['lr', shown.lr]] : Object.entries(shown), { ...config, lr: 0 });
}

/** What keeps the draft from being trained, by field; empty: it can be. */
export function problemsOf({ config, refused }: Draft, facts: FormFacts): readonly Fault[] {
  const wrong = [...refused].map(([field, { text }]) => ({ field, text }));
  return [...wrong, ...faultsOf(config, facts).filter(({ field }) => !refused.has(field))];
}

/** The text in a field. */
export function valueOf({ config, refused }: Draft, name: string): string {
  const kept = refused.get(name)?.value;
  if (kept !== undefined) return kept;
  if (isRate(name)) return String(rateOf(config)?.[name] ?? 'one per step');
  if (name === 'layout') return formatLayout(config.layout);
  if (name === 'betas') return config.betas.join(', ');
  return String(config[name as keyof RunConfig] ?? 'none');
}
