// Whether what the form says can be trained, found out before anything is opened: a sentence per field that does not
// fit, the batch and microbatches with which a chosen layout fits, and the layouts worth offering. Pure; the vocabulary
// of a text is told by the page, which has read it.

import { formatLayout } from '../../../base/axis.ts';
import type { Layout } from '../../../base/axis.ts';
import { ConfigError, LayoutError } from '../../../base/errors.ts';
import type { ModelConfig } from '../../../model/config.ts';
import { vocabRows } from '../../../model/param-spec.ts';
import { isPresetName, presetConfig, presetContext } from '../../../model/presets.ts';
import { familyOf } from '../../../model/registry.ts';
import { checkSchedule, scheduleByName } from '../../../parallel/pipeline/registry.ts';
import { checkLayout, makeLayout, parseLayout } from '../../../train/layout.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { isSynthetic, syntheticDataset } from '../../../train/data/synthetic/registry.ts';
import { isLanguageRun, taskOf } from '../../../train/tasks/registry.ts';

/** What the page knows beside the settings. */
export interface FormFacts {
  /** Distinct characters of each text by its name; 0 for bytes that are no text. */
  readonly characters: ReadonlyMap<string, number>;
  /** Models of dropped folders by their name. */
  readonly models: ReadonlyMap<string, ModelConfig>;
}

export const NO_FACTS: FormFacts = { characters: new Map(), models: new Map() };

/** Why the value of a field cannot be trained. `field`: its name in RunConfig. */
export interface Fault {
  readonly field: string;
  readonly text: string;
}

/** Characters of the page's own text. */
export const MOBY_DICK_CHARACTERS = 89;
/** Layouts worth offering beside the presets' own. */
export const LAYOUTS = [
  'dp=1',
  'dp=2',
  'pp=2',
  'tp=2',
  'sp=2',
  'dp=2,pp=2',
  'pp=2,tp=2',
  'dp=2,tp=2',
  'dp=4',
  'sp=4',
  'ep=4',
  'dp=2,pp=2,tp=2',
];
/** A refusal begins with what is wrong; those that are fields of the form themselves. */
const OWN_FIELDS: readonly string[] = ['model', 'data', 'tokenizer', 'context', 'batch'];
/** A vocabulary to check shapes with while the real one is not known; no rule of a layout depends on it. */
const ANY_VOCABULARY = 256;

/** Tokens of the vocabulary; undefined while they are not known. */
export function vocabularyOf(
  { data, tokenizer, context, batch, seed, model }: RunConfig,
  { characters, models }: FormFacts,
): number | undefined {
  const folder = models.get(model);
  if (folder) return folder.vocab;
  // Only the vocabulary is asked for, which no size changes.
  if (isSynthetic(data)) return syntheticDataset({ task: data, context: Math.max(8, context ?? 8), batch, seed }).vocab;
  if (tokenizer === 'bytes') return 256;
  const pairs = /^bpe:(\d+)$/.exec(tokenizer);
  if (pairs) return Number(pairs[1]);
  return data === 'moby-dick' ? MOBY_DICK_CHARACTERS : characters.get(data) || undefined;
}

/** The network of a language model; undefined for a model that this page does not know, and for another task. */
export function networkFor(config: RunConfig, facts: FormFacts): ModelConfig | undefined {
  const { model, context } = config;
  const folder = facts.models.get(model);
  if (folder || !isPresetName(model)) return folder;
  return presetConfig(model, vocabularyOf(config, facts) ?? ANY_VOCABULARY, context === null ? {} : { context });
}

/** What a pipeline may be cut between, whatever the task; undefined for a model that this page does not know. */
export function layersOf(config: RunConfig, facts: FormFacts): number | undefined {
  return isLanguageRun(config) ? networkFor(config, facts)?.layers : taskOf(config).layersOf(config.model);
}

/** LayoutError or ConfigError for what does not fit. */
function checkFits(config: RunConfig, facts: FormFacts): void {
  const model = networkFor(config, facts);
  const { layout, batch, microbatches, chunks, vocab } = config;
  if (model && isLanguageRun(config))
    checkLayout(model, layout, { batch, microbatches, context: contextOf(config, facts), chunks, vocab });
  else taskOf(config).check(config);
}

/** Tokens per row; 1 where rows have none. */
export function contextOf({ model, context }: RunConfig, facts: FormFacts): number {
  return context ?? facts.models.get(model)?.maxPositions ?? (isPresetName(model) ? presetContext(model) : 1);
}

/** Everything that cannot be trained, by field; empty when the run can begin. */
export function faultsOf(config: RunConfig, facts: FormFacts): readonly Fault[] {
  const faults: Fault[] = [];
  const layers = attempt(faults, 'model', () => layersOf(config, facts));
  if (layers === undefined && isLanguageRun(config))
    return faults.length
      ? faults
      : [
          {
            field: 'model',
            text: `${config.model}: no preset and no folder that was dropped here; choose a preset, or drop the folder`,
          },
        ];
  const context = contextOf(config, facts);
  if (isLanguageRun(config) && isSynthetic(config.data))
    attempt(faults, 'context', () =>
      syntheticDataset({ task: config.data as never, context, batch: config.batch, seed: config.seed }),
    );
  attempt(faults, 'layout', () => checkFits(config, facts));
  if (attempt(faults, 'schedule', () => scheduleByName(config.schedule, config.vocab)))
    attempt(faults, 'chunks', () => checkSchedule(config));
  const vocabulary = vocabularyOf(config, facts);
  const folder = facts.models.get(config.model);
  if (folder && !isSynthetic(config.data) && vocabulary !== undefined && vocabulary > folder.vocab) {
    faults.push({ field: 'tokenizer', text: `tokenizer: ${vocabulary} tokens, but the model knows ${folder.vocab}` });
  }
  return faults;
}

function attempt<T>(faults: Fault[], field: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof LayoutError || error instanceof ConfigError)) throw error;
    const [what = ''] = error.message.split(':');
    faults.push({ field: OWN_FIELDS.includes(what) ? what : field, text: error.message });
    return undefined;
  }
}

/** A config with another layout, and what had to change with it, in sentences. */
export interface Adapted {
  readonly config: RunConfig;
  readonly said: readonly string[];
}

/**
 * `config` with `layout`, and with as many microbatches and rows, chunks and tokens as it needs to be trained. Throws
 * LayoutError when none would do.
 */
export function adaptTo(layout: Layout, config: RunConfig, facts: FormFacts): Adapted {
  const layers = layersOf(config, facts);
  if (layers === undefined) return { config: { ...config, layout }, said: [] };
  const model = networkFor(config, facts);
  const said: string[] = [];
  let { batch, chunks, context } = config;
  const { microbatches } = config;
  const name = formatLayout(layout);
  if (layout.pp * chunks > layers && layout.pp <= layers) {
    chunks = Math.floor(layers / layout.pp);
    said.push(`chunks per rank is now ${chunks}: ${layers} layers for ${name}`);
  }
  const parts = layout.dp * layout.ep * microbatches;
  if (batch % parts) {
    const before = batch;
    batch = Math.max(parts, Math.round(batch / parts) * parts);
    said.push(
      `rows per step is now ${batch} instead of ${before}, so that ${name} with ${microbatches} microbatch${microbatches === 1 ? '' : 'es'} can share them`,
    );
  }
  const tokens = contextOf(config, facts);
  if (model && tokens % layout.sp) {
    context = Math.max(layout.sp, Math.floor(Math.min(tokens, model.maxPositions) / layout.sp) * layout.sp);
    said.push(`tokens per row is now ${context} instead of ${tokens}, so that sp(${layout.sp}) can share them`);
  }
  const adapted: RunConfig = { ...config, layout, batch, chunks, context };
  checkFits(adapted, facts);
  return { config: adapted, said };
}

/** The most microbatches, up to `wanted`, into which `rows` can be cut; `wanted` where the rows are none that can. */
export function fittingMicrobatches(wanted: number, rows: number): number {
  for (let n = wanted; Number.isInteger(rows) && n > 1; n--) if (rows % n === 0) return n;
  return Number.isInteger(rows) ? 1 : wanted;
}

/** Those of LAYOUTS that the model can be split by. */
export function fittingLayouts(config: RunConfig, facts: FormFacts): readonly string[] {
  return LAYOUTS.filter((text) => {
    try {
      adaptTo(parseLayout(text), config, facts);
      return true;
    } catch (error) {
      if (error instanceof LayoutError || error instanceof ConfigError) return false;
      throw error;
    }
  });
}

/**
 * A layout for `devices` devices when nobody chose one: a known good one, whose pipeline has 2 microbatches or more, or
 * rows alone. Never one that the model cannot be split by. Throws LayoutError where there is none.
 */
export function layoutFor(devices: number, config: RunConfig, facts: FormFacts): Adapted {
  const wanted = devices === 2 ? ['pp=2'] : devices === 4 ? ['dp=2,pp=2'] : [];
  for (const text of wanted) {
    try {
      return adaptTo(parseLayout(text), { ...config, microbatches: Math.max(2, config.microbatches) }, facts);
    } catch (error) {
      if (!(error instanceof LayoutError)) throw error;
    }
  }
  return adaptTo(makeLayout({ dp: devices }), config, facts);
}

/** What each device gets of everything, for people: '1 of 2 layers, 4 of 8 rows in 2 microbatches, ...'. */
export function sharesOf(config: RunConfig, facts: FormFacts): readonly string[] {
  const layers = layersOf(config, facts);
  if (layers === undefined) return [];
  const model = networkFor(config, facts);
  const {
    layout: { pp, dp, sp, ep, tp },
    batch,
    microbatches,
    chunks,
    vocab,
  } = config;
  const context = contextOf(config, facts);
  const share = (whole: number, parts: number, what: string): string =>
    `${number(whole / parts)} of ${number(whole)} ${what}`;
  const splitsOf = (axis: 'tp' | 'ep', size: number): readonly string[] => {
    const shown = (model ? familyOf(model).splits : []).filter(
      (split) => split.axis === axis && split.share !== undefined,
    );
    const shares = shown.map((split) => share(split.extent(model!), size, split.share!));
    return size > 1 && shares.length ? [`${shares.join(' and ')} (${axis})`] : [];
  };
  return [
    ...(pp > 1
      ? [
          `${Math.floor(layers / pp)}${layers % pp ? ` or ${Math.ceil(layers / pp)}` : ''} of ${layers} layers (pp)${chunks > 1 ? ` in ${chunks} chunks` : ''}`,
        ]
      : []),
    ...(model && vocab !== 'none' && pp > 1
      ? [`${number(vocabRows(model.vocab, pp * tp))} of ${number(model.vocab)} tokens of the vocabulary (pp)`]
      : []),
    ...splitsOf('tp', tp),
    ...splitsOf('ep', ep),
    ...(sp > 1 ? [share(context, sp, 'tokens of a row (sp)')] : []),
    `${share(batch, dp * ep, `rows${dp * ep > 1 ? ` (${[dp > 1 ? 'dp' : '', ep > 1 ? 'ep' : ''].filter(Boolean).join(', ')})` : ''}`)}${microbatches > 1 ? ` in ${microbatches} microbatches` : ''}`,
  ];
}

function number(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: 2 });
}
