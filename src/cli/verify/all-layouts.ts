// Every layout up to so many ranks, with every schedule, sequence strategy and a few counts of microbatches: each
// repeats the golden run to its tolerances, or is refused by name before anything starts. Several run side by side.

import { AXES, formatLayout, worldSize } from '../../base/axis.ts';
import type { Layout } from '../../base/axis.ts';
import { ConfigError, LayoutError, UnsupportedError } from '../../base/errors.ts';
import { schedules } from '../../parallel/pipeline/registry.ts';
import { sequenceStrategies } from '../../parallel/sequence/registry.ts';
import { makeLayout } from '../../train/layout.ts';
import { prepareRun } from '../../train/prepare.ts';
import type { RunFiles } from '../../train/prepare.ts';
import type { Check } from './compare.ts';
import { defaultMicrobatches, readRunFiles, runFolderConfig, verifyRunFolder } from './run-folder.ts';
import type { RunExecutor } from './run-folder.ts';

export type Settings = readonly (readonly [string, string])[];

export type Outcome =
  | { readonly kind: 'run'; readonly label: string; readonly checks: readonly Check[]; readonly ms: number }
  | { readonly kind: 'refused'; readonly label: string; readonly reason: string };

/** All layouts of at most `ranks` ranks, small ones first. */
export function everyLayout(ranks: number): readonly Layout[] {
  const layouts: Layout[] = [];
  const extend = (sizes: Partial<Record<(typeof AXES)[number], number>>, rest: number, at: number): void => {
    const axis = AXES[at];
    if (axis === undefined) {
      layouts.push(makeLayout(sizes));
      return;
    }
    for (let size = 1; size <= rest; size++) extend({ ...sizes, [axis]: size }, Math.floor(rest / size), at + 1);
  };
  extend({}, ranks, 0);
  return layouts.sort((a, b) => worldSize(a) - worldSize(b));
}

/**
 * What a layout is run with: each schedule of a pipeline, each strategy of a sequence, the usual microbatches and one
 * row each.
 */
export function variationsOf(folder: string, layout: Layout): readonly Settings[] {
  const base = [['layout', formatLayout(layout)]] as const;
  const named = (name: string, values: Iterable<string>, has: boolean): Settings[] =>
    has ? [...values].map((value) => [[name, value]]) : [[]];
  const { batch } = runFolderConfig(folder, base);
  const rows = batch / (layout.dp * layout.ep);
  const usual = defaultMicrobatches({ batch, layout });
  const counts = Number.isInteger(rows) ? new Set([usual, rows]) : [usual];
  // Each with the chunks that it takes if none are asked for.
  const pipelines: Settings[] =
    layout.pp === 1
      ? [[]]
      : [...schedules.values()].map(({ name, defaultChunks }) => [
          ['schedule', name],
          ...(defaultChunks === undefined ? [] : [['chunks', String(defaultChunks)] as const]),
        ]);
  return pipelines.flatMap((schedule) =>
    named('sequence', sequenceStrategies.keys(), layout.sp > 1).flatMap((sequence) =>
      [...counts].map((count) => [...base, ...schedule, ...sequence, ['microbatches', String(count)] as const]),
    ),
  );
}

export interface Sweep {
  readonly folder: string;
  readonly ranks: number;
  readonly execute: RunExecutor;
  /** How many run at a time. */
  readonly sideBySide: number;
  readonly signal: AbortSignal;
  /** In the order of the list, as soon as all before it are known. */
  onOutcome(outcome: Outcome): void;
}

/** Resolves when all are told; rejects with what is neither a difference nor a refusal. */
export async function verifyAllLayouts(sweep: Sweep): Promise<void> {
  const { folder, ranks, execute, sideBySide, signal, onOutcome } = sweep;
  const files = readRunFiles(folder);
  const list = everyLayout(ranks).flatMap((layout) => variationsOf(folder, layout));
  const known: (Outcome | undefined)[] = [];
  let [next, told] = [0, 0];
  const work = async (): Promise<void> => {
    while (next < list.length) {
      signal.throwIfAborted();
      const at = next++;
      known[at] = await outcomeOf(folder, files, list[at], execute);
      for (let first = known[told]; first; first = known[++told]) onOutcome(first);
    }
  };
  await Promise.all(Array.from({ length: sideBySide }, work));
}

async function outcomeOf(folder: string, files: RunFiles, settings: Settings, execute: RunExecutor): Promise<Outcome> {
  const label = labelOf(settings);
  try {
    prepareRun(runFolderConfig(folder, settings), files);
  } catch (error) {
    const refusal = error instanceof LayoutError || error instanceof ConfigError || error instanceof UnsupportedError;
    if (!refusal) throw error;
    return { kind: 'refused', label, reason: error.message };
  }
  const started = performance.now();
  return {
    kind: 'run',
    label,
    checks: await verifyRunFolder(folder, settings, execute),
    ms: performance.now() - started,
  };
}

function labelOf(settings: Settings): string {
  const { layout, microbatches, schedule, vocab, sequence } = Object.fromEntries(settings);
  return [layout, schedule, vocab, sequence, `m=${microbatches}`].filter(Boolean).join(' ');
}
