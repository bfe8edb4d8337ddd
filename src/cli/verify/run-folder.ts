// Repeats a golden training run (config.json, model.safetensors, tokens.safetensors, run.json, grads and final weights
// with their measured noise) and compares losses, gradient norms, the first gradients and the final weights, at the
// tolerances of the folder's README.

import { join } from 'node:path';
import { FormatError } from '../../base/errors.ts';
import { readSafetensors, toFloat32 } from '../../base/safetensors.ts';
import type { SafetensorsFile } from '../../base/safetensors.ts';
import { prepareRun } from '../../train/prepare.ts';
import type { RunFiles } from '../../train/prepare.ts';
import { readRunJson } from '../../train/run-config.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { absoluteMax, compare } from './compare.ts';
import type { Check } from './compare.ts';
import { RUN_FILES, readBytes, readObject, readTensors, requireFiles } from './folder.ts';

/** What a run produced, wherever it ran. */
export interface RunResult {
  readonly losses: readonly number[];
  readonly gradNorms: readonly number[];
  /** model.safetensors bytes of the first step's gradients and of the final weights. */
  readonly gradients: Uint8Array<ArrayBuffer>;
  readonly weights: Uint8Array<ArrayBuffer>;
}

export type RunExecutor = (config: RunConfig, files: RunFiles, folder: string) => Promise<RunResult>;

interface Golden {
  readonly losses: readonly number[];
  readonly losses_noise: readonly number[];
  readonly grad_norms: readonly number[];
  readonly grad_norms_noise: readonly number[];
  readonly noisy: Readonly<Record<string, readonly [number, number] | null>>;
}

const text = (folder: string, name: string): string => new TextDecoder().decode(readBytes(folder, name));

export function readRunFiles(folder: string): RunFiles {
  return {
    modelConfig: text(folder, 'config.json'),
    weights: readBytes(folder, 'model.safetensors'),
    tokens: readBytes(folder, 'tokens.safetensors'),
  };
}

/** The config of the run with `settings` (layout, schedule, microbatches) on top. */
export function runFolderConfig(folder: string, settings: Iterable<readonly [string, string]>): RunConfig {
  const config = readRunJson(text(folder, 'run.json'), [['model', folder], ...settings]);
  const given = new Map(settings);
  return given.has('microbatches') ? config : { ...config, microbatches: defaultMicrobatches(config) };
}

/** Enough microbatches to fill a pipeline: the largest divisor of a replica's rows up to 2 pp; 1 without a pipeline. */
export function defaultMicrobatches({ batch, layout }: Pick<RunConfig, 'batch' | 'layout'>): number {
  const rows = batch / (layout.dp * layout.ep);
  if (layout.pp === 1 || !Number.isInteger(rows)) return 1;
  let most = 1;
  for (let n = 1; n <= Math.min(rows, 2 * layout.pp); n++) if (rows % n === 0) most = n;
  return most;
}

/**
 * Rejects before anything runs if a file is missing or broken or does not fit the others, or if the layout does not fit
 * the model; with UnsupportedError if the model needs what is not implemented.
 */
export async function verifyRunFolder(
  folder: string,
  settings: Iterable<readonly [string, string]>,
  execute: RunExecutor,
): Promise<readonly Check[]> {
  requireFiles(folder, 'a golden training run has', RUN_FILES);
  const [config, files] = [runFolderConfig(folder, settings), readRunFiles(folder)];
  const golden = readGolden(folder, config.steps);
  const [grads, final] = ['grads', 'final'].map((name) => ({
    tensors: readTensors(folder, `${name}.safetensors`),
    noise: readNoise(folder, `${name}_noise.json`),
  }));
  // By name first: what prepares the run knows only bytes.
  for (const name of ['model.safetensors', 'tokens.safetensors']) readTensors(folder, name);
  prepareRun(config, files);
  const result = await execute(config, files, folder);
  return [
    ...golden.losses.map((loss, s) =>
      compare(`loss ${s}`, [result.losses[s]], [loss], {
        absolute: Math.max(16 * golden.losses_noise[s], 2e-6 * loss),
      }),
    ),
    ...golden.grad_norms.map((norm, s) =>
      compare(`grad norm ${s}`, [result.gradNorms[s]], [norm], {
        absolute: Math.max(16 * golden.grad_norms_noise[s], 1e-4 * norm),
      }),
    ),
    ...compareTensors('grad', result.gradients, grads, {}, false),
    ...compareTensors('final', result.weights, final, golden.noisy, true),
  ];
}

const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;

function readGolden(folder: string, steps: number): Golden {
  const json = readObject(folder, 'run.json');
  const fail = (field: string, expected: string): never => {
    throw new FormatError(join(folder, 'run.json'), `${field}: expected ${expected}`);
  };
  for (const field of ['losses', 'losses_noise', 'grad_norms', 'grad_norms_noise'] as const) {
    const values = json[field];
    if (!Array.isArray(values) || values.length !== steps || !values.every(isCount))
      fail(field, `a list of ${steps} numbers, one per step`);
  }
  const noisy = json['noisy'] ?? {};
  const isRange = (value: unknown): boolean =>
    value === null || (Array.isArray(value) && value.length === 2 && value.every(isCount));
  if (typeof noisy !== 'object' || Array.isArray(noisy) || !Object.values(noisy).every(isRange))
    fail('noisy', 'an object of [start, end] or null by tensor');
  return { ...json, noisy } as unknown as Golden;
}

function readNoise(folder: string, name: string): Readonly<Record<string, number>> {
  const noise = readObject(folder, name);
  const bad = Object.entries(noise).find(([, value]) => !isCount(value));
  if (bad)
    throw new FormatError(
      join(folder, name),
      `${bad[0]}: expected a number of at least 0, got ${JSON.stringify(bad[1])}`,
    );
  return noise as Record<string, number>;
}

interface GoldenTensors {
  readonly tensors: SafetensorsFile;
  readonly noise: Readonly<Record<string, number>>;
}

function compareTensors(
  what: string,
  bytes: Uint8Array<ArrayBuffer>,
  { tensors: want, noise }: GoldenTensors,
  noisy: Golden['noisy'],
  outliers: boolean,
): Check[] {
  const got: SafetensorsFile = readSafetensors(bytes);
  return [...want.tensors]
    .filter(([name]) => noisy[name] !== null)
    .map(([name, entry]) => {
      const values = toFloat32(entry);
      const own = got.tensors.get(name);
      return compare(`${what} ${name}`, own && toFloat32(own), values, {
        absolute: Math.max(16 * (noise[name] ?? 0), 1e-4 * absoluteMax(values), 1e-12),
        skip: noisy[name] ?? undefined,
        ...(outliers ? { outliers: Math.max(3, values.length / 10_000), outlierFactor: 10 } : {}),
      });
    });
}
