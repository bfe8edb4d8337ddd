// What is kept of a run in this browser: its settings, its curves (thinned), its samples, and which checkpoints it
// made. And the same as CSV. Pure.

import { formatRunConfig } from '../../../train/run-config.ts';
import { formatLayout } from '../../../base/axis.ts';
import { CURVE_NAMES } from '../run-view.ts';
import type { CurveName, RunPast, RunView, Sample } from '../run-view.ts';

export type Outcome = 'running' | 'done' | 'stopped' | 'failed';

export interface KeptRun extends RunPast {
  readonly id: string;
  /** What its person calls it. */
  readonly name: string;
  /** ms since 1970. */
  readonly startedAtMs: number;
  readonly changedAtMs: number;
  readonly outcome: Outcome;
  /** As formatRunConfig writes it. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly steps: number;
  readonly parameters: number;
  readonly vocab: number;
  /** Of the first rank of this page. */
  readonly adapter: string;
  /** SHA-256 of the last checkpoints, for a run that goes on from one of them. */
  readonly checkpoints: readonly string[];
}

const MOST_POINTS = 1000;
const MOST_SAMPLES = 20;
const MOST_SAMPLE_LENGTH = 2000;

/** 'gpt2-nano, moby-dick, dp=2,pp=2'. */
export function usualName({ config }: RunView): string {
  return `${config.model}, ${config.data}, ${formatLayout(config.layout)}`;
}

/** `before`: what was kept of the same run so far, whose name and checkpoints stay. */
export function keep(
  run: RunView,
  outcome: Outcome,
  at: { readonly nowMs: number; readonly dateMs: number },
  before: Pick<KeptRun, 'id' | 'name' | 'startedAtMs' | 'checkpoints'>,
): KeptRun {
  const thin = ({ x, y }: { readonly x: readonly number[]; readonly y: readonly number[] }) => {
    const every = Math.max(1, Math.ceil(x.length / MOST_POINTS));
    // Counted from the end: the last point is the one that people look at.
    const kept = (values: readonly number[]): number[] =>
      values.filter((_, i) => (values.length - 1 - i) % every === 0);
    return { x: kept(x), y: kept(y) };
  };
  const shorten = ({ step, text, prompt }: Sample): Sample => ({
    step,
    text: text.slice(0, MOST_SAMPLE_LENGTH),
    ...(prompt === undefined ? {} : { prompt: prompt.slice(0, MOST_SAMPLE_LENGTH) }),
  });
  const own = run.ranks.find((rank) => rank.own);
  const names = CURVE_NAMES.filter((name) => name !== 'accuracy' || run.accuracy.length);
  return {
    id: before.id,
    name: before.name,
    startedAtMs: before.startedAtMs,
    checkpoints: before.checkpoints,
    changedAtMs: at.dateMs,
    outcome,
    config: formatRunConfig(run.config),
    step: run.step,
    steps: run.config.steps,
    parameters: run.parameters,
    vocab: run.vocab,
    adapter: own?.adapter ?? '',
    tokens: run.tokens,
    elapsedMs: Math.round(run.elapsedMs(at.nowMs)),
    curves: Object.fromEntries(names.map((name) => [name, thin(run[name])])) as unknown as KeptRun['curves'],
    samples: run.samples.slice(-MOST_SAMPLES).map(shorten),
  };
}

const COLUMNS: Readonly<Record<CurveName, string>> = {
  loss: 'loss',
  evaluation: 'held_out_loss',
  accuracy: 'held_out_accuracy',
  tokensPerSecond: 'tokens_per_second',
  gradNorm: 'gradient_norm',
  learningRate: 'learning_rate',
};

/** One line per step that has a value; RFC 4180. */
export function toCsv({ curves }: KeptRun): string {
  const at = new Map<number, Partial<Record<CurveName, number>>>();
  const names = CURVE_NAMES.filter((name) => curves[name]);
  for (const name of names) curves[name]!.x.forEach((x, i) => at.set(x, { ...at.get(x), [name]: curves[name]!.y[i]! }));
  const cells = (values: Partial<Record<CurveName, number>>) => names.map((name) => values[name] ?? '');
  const lines = [...at].sort(([a], [b]) => a - b).map(([step, values]) => [step, ...cells(values)].join(','));
  return [['step', ...names.map((name) => COLUMNS[name])].join(','), ...lines, ''].join('\r\n');
}

export function toJson(run: KeptRun): string {
  return JSON.stringify({ format: 'tabmesh-run/1', ...run }, null, 2);
}

/** What the store delivers, when it is what this version keeps; another version's record is left alone. */
export function isKeptRun(value: unknown): value is KeptRun {
  const run = value as Partial<KeptRun> | null;
  return (
    typeof run === 'object' &&
    run !== null &&
    typeof run.id === 'string' &&
    typeof run.name === 'string' &&
    typeof run.changedAtMs === 'number' &&
    Array.isArray(run.samples) &&
    Array.isArray(run.checkpoints) &&
    CURVE_NAMES.every((name) => {
      const curve = run.curves?.[name];
      if (name === 'accuracy' && !curve) return true;
      return Array.isArray(curve?.x) && curve.x.length === curve.y?.length;
    })
  );
}
