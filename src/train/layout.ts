// Layouts from text, and whether one fits a model, a batch and the ranks at hand. Every refusal is a LayoutError that
// says what would fit. Splits: layers over pp; tokens over sp; rows over dp * ep and microbatches; over tp and ep
// what the family of the model says, such as heads and experts.

import { AXES, formatLayout, worldSize, type AxisName, type Layout } from '../base/axis.ts';
import { LayoutError } from '../base/errors.ts';
import { quote } from '../base/json.ts';
import type { ModelConfig } from '../model/config.ts';
import type { Split } from '../model/family.ts';
import { families, familyOf } from '../model/registry.ts';
import type { VocabularyForm } from '../parallel/pipeline/schedule.ts';

/** More ranks than any browser mesh joins; a bound for what links and peers may ask for. */
export const MAX_RANKS = 1024;

/** 'dp=2,pp=2' as a Layout; axes that are not named have size 1. */
export function parseLayout(text: string): Layout {
  const sizes = new Map<AxisName, number>();
  for (const part of text.split(',')) {
    const [, name = '', size = ''] = /^\s*(\w+)\s*=\s*(\d+)\s*$/.exec(part) ?? [];
    const axis = AXES.find((a) => a === name);
    if (axis === undefined)
      throw new LayoutError(
        `layout: expected axis=size parts with the axes ${AXES.join(', ')}, got ${quote(part.trim())}; write for example dp=2,pp=2`,
      );
    if (sizes.has(axis))
      throw new LayoutError(`layout: the axis ${axis} stands twice in ${quote(text)}; name each axis once`);
    sizes.set(axis, Number(size));
  }
  return makeLayout(Object.fromEntries(sizes));
}

/** A Layout from the sizes of some axes; the others have size 1. */
export function makeLayout(sizes: Partial<Layout>): Layout {
  const layout = { pp: 1, dp: 1, sp: 1, ep: 1, tp: 1, ...sizes };
  for (const axis of AXES) {
    const size = layout[axis];
    if (!(Number.isSafeInteger(size) && size >= 1 && size <= MAX_RANKS))
      throw new LayoutError(`layout: ${axis}=${size} is not a size; expected a whole number from 1 to ${MAX_RANKS}`);
  }
  if (worldSize(layout) > MAX_RANKS)
    throw new LayoutError(
      `layout: ${formatLayout(layout)} needs ${worldSize(layout)} ranks; expected at most ${MAX_RANKS}`,
    );
  return layout;
}

export interface RunShape {
  /** Rows of a whole step, over all ranks. */
  readonly batch: number;
  readonly microbatches: number;
  /** Tokens per row. */
  readonly context: number;
  /** Model chunks per pipeline rank (interleaved schedules); default 1. */
  readonly chunks?: number;
  /** How the ranks of a pipeline share the vocabulary; default 'none'. */
  readonly vocab?: VocabularyForm;
}

/** LayoutError for the first thing that does not divide. */
export function checkLayout(
  config: ModelConfig,
  layout: Layout,
  { batch, microbatches, context, chunks = 1, vocab = 'none' }: RunShape,
): void {
  const { sp } = layout;
  checkStages(config.layers, layout, chunks);
  checkSplits(config, layout);
  if (vocab !== 'none') checkShards(config, layout);

  if (context > config.maxPositions)
    throw new LayoutError(
      `context: ${context} tokens, but the model has ${config.maxPositions} positions; use context=${config.maxPositions} or less`,
    );
  if (context < sp)
    throw new LayoutError(`context: sp(${sp}) splits ${context} tokens; expected one for each rank; use sp=${context}`);

  checkBatch(layout, { batch, microbatches });
}

/** What the family of the model says that tensor and expert ranks divide. */
function checkSplits(config: ModelConfig, { dp, ep, tp }: Layout): void {
  const { name, splits } = familyOf(config);
  const over = (axis: 'tp' | 'ep', of = splits): readonly Split[] => of.filter((split) => split.axis === axis);
  const byEp = over('ep');
  refuseUndivided(config, tp, over('tp'));
  if (ep > 1 && !byEp.length) {
    const others = [...families.values()].filter((other) => over('ep', other.splits).length);
    throw new LayoutError(
      `experts: ep(${ep}) splits experts, but ${name} has none; use dp=${dp * ep},ep=1 or a ${others.map((other) => other.name).join(' or ')} model`,
    );
  }
  refuseUndivided(config, ep, byEp);
}

/** Every rank of a pipeline, and of its tensor groups, has a row of a vocabulary that they share. */
function checkShards({ vocab }: ModelConfig, { pp, tp }: Layout): void {
  if (vocab >= pp * tp) return;
  const ranks = tp === 1 ? `pp(${pp})` : `pp(${pp}) x tp(${tp})`;
  throw new LayoutError(
    `vocab: ${ranks} shares a vocabulary of ${vocab}; expected a token for each rank; use vocab=none or pp=${Math.max(1, Math.floor(vocab / tp))}`,
  );
}

function refuseUndivided(config: ModelConfig, size: number, splits: readonly Split[]): void {
  const divides = (n: number): boolean => splits.every((split) => split.extent(config) % n === 0);
  for (const { axis, what, extent } of splits) {
    if (extent(config) % size)
      throw new LayoutError(
        `${what}: ${axis}(${size}) does not divide ${extent(config)}; use ${axis}=${largestUpTo(size, divides)}`,
      );
  }
}

/** LayoutError where there are more stages than layers. */
export function checkStages(layers: number, { pp }: Layout, chunks = 1): void {
  if (pp * chunks > layers) {
    const stages = chunks === 1 ? `pp(${pp})` : `pp(${pp}) x ${chunks} chunks = ${pp * chunks} stages`;
    const fits = Math.floor(layers / chunks);
    throw new LayoutError(
      `layers: ${stages} needs a layer per stage, but the model has ${layers}; use ${fits >= 1 ? `pp=${fits}` : 'fewer chunks'} or a deeper model`,
    );
  }
}

/** LayoutError where the rows of a step do not divide into microbatches. */
export function checkBatch(
  { dp, ep }: Layout,
  { batch, microbatches }: Pick<RunShape, 'batch' | 'microbatches'>,
): void {
  const parts = dp * ep * microbatches;
  if (batch % parts) {
    const product = [
      dp > 1 ? `dp(${dp})` : '',
      ep > 1 ? `ep(${ep})` : '',
      `${microbatches} microbatch${microbatches === 1 ? '' : 'es'}`,
    ]
      .filter(Boolean)
      .join(' x ');
    throw new LayoutError(
      `batch: ${batch} rows do not split into ${product} = ${parts} equal parts; use batch=${multiple(batch, parts, Infinity)}${batch % (dp * ep) ? '' : ` or microbatches=${largestUpTo(microbatches, (n) => batch % (dp * ep * n) === 0)}`}`,
    );
  }
}

function largestUpTo(limit: number, fits: (n: number) => boolean): number {
  for (let n = limit; n > 1; n--) if (fits(n)) return n;
  return 1;
}

/** The multiple of `of` next to `near`: upwards, or downwards if that passes `most`. */
function multiple(near: number, of: number, most: number): number {
  const up = Math.ceil(near / of) * of;
  return up <= most ? up : Math.max(of, Math.floor(most / of) * of);
}
