// Repeats a golden training run (config.json, model.safetensors, tokens.safetensors, run.json, grads and final weights with their measured noise) and
// compares losses, gradient norms, the first gradients and the final weights, at the tolerances of the folder's README.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError, UnsupportedError } from '../../base/errors.ts';
import { readSafetensors, toFloat32 } from '../../base/safetensors.ts';
import type { SafetensorsFile } from '../../base/safetensors.ts';
import { prepareRun } from '../../train/prepare.ts';
import type { RunFiles } from '../../train/prepare.ts';
import { readRunJson } from '../../train/run-config.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { absoluteMax, compare } from './compare.ts';
import type { Check } from './compare.ts';

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
  readonly losses: readonly number[]; readonly losses_noise: readonly number[];
  readonly grad_norms: readonly number[]; readonly grad_norms_noise: readonly number[];
  readonly noisy: Readonly<Record<string, readonly [number, number] | null>>;
}

export function isRunFolder(folder: string): boolean { return existsSync(join(folder, 'run.json')) && existsSync(join(folder, 'model.safetensors')); }

export function readRunFiles(folder: string): RunFiles {
  const bytes = (name: string): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(join(folder, name)));
  return { modelConfig: readFileSync(join(folder, 'config.json'), 'utf8'), weights: bytes('model.safetensors'), tokens: bytes('tokens.safetensors') };
}

/** What this run needs that is not implemented, in one sentence; undefined if it can run. */
export function missingFor(config: RunConfig, files: RunFiles): string | undefined {
  try {
    prepareRun(config, files);
  } catch (error) {
    if (error instanceof UnsupportedError) return error.message;
    throw error;
  }
  return undefined;
}

/** The config of the run with `settings` (layout, schedule, microbatches) on top. */
export function runFolderConfig(folder: string, settings: Iterable<readonly [string, string]>): RunConfig {
  const config = readRunJson(readFileSync(join(folder, 'run.json'), 'utf8'), [['model', folder], ...settings]);
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

export async function verifyRunFolder(folder: string, settings: Iterable<readonly [string, string]>, execute: RunExecutor): Promise<readonly Check[]> {
  const golden = readGolden(join(folder, 'run.json'));
  const noise = (name: string): Readonly<Record<string, number>> => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Record<string, number>;
  const result = await execute(runFolderConfig(folder, settings), readRunFiles(folder), folder);
  return [
    ...golden.losses.map((loss, s) => compare(`loss ${s}`, [result.losses[s]], [loss], { absolute: Math.max(16 * golden.losses_noise[s], 2e-6 * loss) })),
    ...golden.grad_norms.map((norm, s) => compare(`grad norm ${s}`, [result.gradNorms[s]], [norm], { absolute: Math.max(16 * golden.grad_norms_noise[s], 1e-4 * norm) })),
    ...compareTensors('grad', result.gradients, join(folder, 'grads.safetensors'), noise('grads_noise.json'), {}, false),
    ...compareTensors('final', result.weights, join(folder, 'final.safetensors'), noise('final_noise.json'), golden.noisy, true),
  ];
}

function readGolden(path: string): Golden {
  const json = JSON.parse(readFileSync(path, 'utf8')) as Partial<Golden>;
  for (const field of ['losses', 'losses_noise', 'grad_norms', 'grad_norms_noise'] as const) {
    if (!Array.isArray(json[field])) throw new FormatError('run.json', `${field}: expected a list`);
  }
  return { noisy: {}, ...json } as Golden;
}

function compareTensors(what: string, bytes: Uint8Array<ArrayBuffer>, path: string, noise: Readonly<Record<string, number>>, noisy: Golden['noisy'], outliers: boolean): Check[] {
  const got: SafetensorsFile = readSafetensors(bytes);
  const want = readSafetensors(new Uint8Array(readFileSync(path)));
  return [...want.tensors].filter(([name]) => noisy[name] !== null).map(([name, entry]) => {
    const values = toFloat32(entry);
    const own = got.tensors.get(name);
    return compare(`${what} ${name}`, own && toFloat32(own), values, {
      absolute: Math.max(16 * (noise[name] ?? 0), 1e-4 * absoluteMax(values), 1e-12), skip: noisy[name] ?? undefined,
      ...(outliers ? { outliers: Math.max(3, values.length / 10_000), outlierFactor: 10 } : {}),
    });
  });
}
