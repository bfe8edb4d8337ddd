// What members of a run tell those in the room who are not in it: a history for who has just come, then progress. Both
// are JSON of a few kilobytes that fits a sealed signal; reading is strict, because it is another person's page that
// writes them. A history is thinned and cut, never refused for its length.

import { worldSize } from '../../../base/axis.ts';
import { FormatError } from '../../../base/errors.ts';
import { plainLines, plainText } from '../../../base/plain-text.ts';
import { configOf, parseJob } from '../job.ts';
import type { Job } from '../job.ts';
import { RunView } from '../run-view.ts';
import type { Sample, Series } from '../run-view.ts';

type Point = readonly [x: number, y: number];

export interface Progress {
  readonly kind: 'progress';
  /** Steps done. */
  readonly step: number;
  readonly loss: number | null;
  readonly tokensPerSecond: number | null;
  readonly evaluation?: Point;
  /** Of a task. */
  readonly accuracy?: Point;
  readonly sample?: Sample;
}

export interface History {
  readonly kind: 'history';
  readonly plan: Job;
  readonly step: number;
  readonly parameters: number;
  readonly vocab: number;
  /** By rank. */
  readonly names: readonly string[];
  readonly adapters: readonly string[];
  readonly loss: readonly Point[];
  readonly evaluation: readonly Point[];
  /** Of a task. */
  readonly accuracy?: readonly Point[];
  readonly tokensPerSecond: readonly Point[];
  readonly samples: readonly Sample[];
}

/** A sealed signal holds 16 KiB; the rest is for its envelope. */
const MAX_BYTES = 12 * 1024;
const MAX_POINTS = 200;
const MAX_SAMPLES = 3;
const MAX_SAMPLE_LENGTH = 600;
const MAX_STEP = 2 ** 40;

/** What a newcomer should know of `run`. */
export function historyOf(run: RunView, job: Job): History {
  for (let points = MAX_POINTS, samples = MAX_SAMPLES; ; points = points >> 1, samples--) {
    const history: History = {
      kind: 'history',
      plan: job,
      step: run.step,
      parameters: run.parameters,
      vocab: run.vocab,
      names: run.ranks.map(({ name }) => name),
      adapters: run.ranks.map(({ adapter }) => adapter),
      loss: thinned(run.loss, points),
      evaluation: thinned(run.evaluation, points >> 2),
      tokensPerSecond: thinned(run.tokensPerSecond, points >> 2),
      ...(run.accuracy.length ? { accuracy: thinned(run.accuracy, points >> 2) } : {}),
      samples: run.samples.slice(-Math.max(0, samples) || run.samples.length).map(cut),
    };
    if (points < 2 || new TextEncoder().encode(JSON.stringify(history)).byteLength <= MAX_BYTES) return history;
  }
}

/** A view of what somebody tells. Throws FormatError or ConfigError for anything else than a history. */
export function viewOf(body: unknown): { readonly run: RunView; readonly job: Job } {
  const fields = fieldsOf(body);
  const { kind, plan: told, step, parameters, vocab, names, adapters, samples } = fields;
  const { loss, evaluation, accuracy = [], tokensPerSecond } = fields;
  if (kind !== 'history') throw new FormatError('history', 'expected a history of a run');
  const job = parseJob(told);
  const config = configOf(job);
  const run = new RunView(config);
  run.step = count(step, 'step');
  run.parameters = count(parameters, 'parameters');
  run.vocab = count(vocab, 'vocab');
  const [tabs, devices] = [
    texts(names, 'names', worldSize(config.layout)),
    texts(adapters, 'adapters', worldSize(config.layout)),
  ];
  run.ranks.forEach((rank, i) => Object.assign(rank, { name: tabs[i] ?? '', adapter: devices[i] ?? '' }));
  for (const [x, y] of points(loss, 'loss')) run.loss.push(x, y);
  for (const [x, y] of points(evaluation, 'evaluation')) run.evaluation.push(x, y);
  for (const [x, y] of points(accuracy, 'accuracy')) run.accuracy.push(x, y);
  for (const [x, y] of points(tokensPerSecond, 'tokensPerSecond')) run.tokensPerSecond.push(x, y);
  run.samples = list(samples, 'samples', MAX_SAMPLES).map(sampleOf);
  return { run, job };
}

/** Adds what a member tells to the view of its run. Throws FormatError for anything else than progress. */
export function applyProgress(run: RunView, body: unknown): void {
  const { kind, step, loss, tokensPerSecond, evaluation, accuracy, sample } = fieldsOf(body);
  if (kind !== 'progress') throw new FormatError('progress', 'expected progress of a run');
  const done = count(step, 'step');
  const held = evaluation === undefined ? undefined : point(evaluation, 'evaluation');
  const right = accuracy === undefined ? undefined : point(accuracy, 'accuracy');
  const text = sample === undefined ? undefined : sampleOf(sample);
  if (done > run.step) {
    if (typeof loss === 'number' && Number.isFinite(loss)) run.loss.push(done, loss);
    if (typeof tokensPerSecond === 'number' && Number.isFinite(tokensPerSecond))
      run.tokensPerSecond.push(done, tokensPerSecond);
  }
  run.step = done;
  if (held && held[0] > (run.evaluation.x.at(-1) ?? -1)) run.evaluation.push(...held);
  if (right && right[0] > (run.accuracy.x.at(-1) ?? -1)) run.accuracy.push(...right);
  if (text && text.step !== run.samples.at(-1)?.step) run.samples = [...run.samples, text].slice(-50);
}

export function cut({ step, text, prompt }: Sample): Sample {
  return {
    step,
    text: plainLines(text, MAX_SAMPLE_LENGTH),
    ...(prompt === undefined ? {} : { prompt: plainLines(prompt, MAX_SAMPLE_LENGTH) }),
  };
}

function thinned({ x, y }: Series, most: number): Point[] {
  const every = Math.max(1, Math.ceil(x.length / Math.max(1, most)));
  const kept: Point[] = [];
  // The last point is the one that people look at.
  for (let i = (x.length - 1) % every; i >= 0 && i < x.length; i += every) kept.push([rounded(x[i]!), rounded(y[i]!)]);
  return kept;
}

function rounded(value: number): number {
  return Number(value.toPrecision(6));
}

function fieldsOf(body: unknown): Record<string, unknown> {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new FormatError('news of a run', 'expected an object');
  return body as Record<string, unknown>;
}

function list(value: unknown, name: string, most: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > most)
    throw new FormatError('news of a run', `expected \`${name}\` to be a list of at most ${most}`);
  return value;
}

function count(value: unknown, name: string): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > MAX_STEP)
    throw new FormatError('news of a run', `expected \`${name}\` to be a whole number`);
  return value;
}

function point(value: unknown, name: string): Point {
  const [x, y] = list(value, name, 2);
  if (!Number.isFinite(x) || !Number.isFinite(y))
    throw new FormatError('news of a run', `expected points of \`${name}\` to be two numbers`);
  return [x as number, y as number];
}

function points(value: unknown, name: string): readonly Point[] {
  return list(value, name, MAX_POINTS + 1).map((entry) => point(entry, name));
}

function texts(value: unknown, name: string, most: number): readonly string[] {
  return list(value, name, most).map((entry) => {
    if (typeof entry !== 'string') throw new FormatError('news of a run', `expected \`${name}\` to be texts`);
    return plainText(entry, 200);
  });
}

function sampleOf(value: unknown): Sample {
  const { step, text, prompt } = fieldsOf(value);
  if (prompt !== undefined && typeof prompt !== 'string')
    throw new FormatError('news of a run', 'expected the prompt of a sample to be a text');
  if (typeof text !== 'string') throw new FormatError('news of a run', 'expected a sample with a text');
  return cut({ step: count(step, 'step'), text, ...(prompt === undefined ? {} : { prompt }) });
}
