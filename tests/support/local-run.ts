// Runs a layout in this process and hands back what a test compares: losses, norms, gradients, weights and bytes sent,
// by rank.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { runInProcess } from '../../src/cli/in-process.ts';
import type { LocalBackend } from '../../src/cli/in-process.ts';
import { readSafetensors, toFloat32 } from '../../src/base/safetensors.ts';
import { readRunFiles, runFolderConfig } from '../../src/cli/verify/run-folder.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import type { StepTraffic } from '../../src/train/step/traffic.ts';
import type { StepMetrics } from '../../src/train/trainer.ts';

export interface LocalResult {
  readonly losses: readonly number[];
  readonly gradNorms: readonly number[];
  readonly gradients: ReadonlyMap<string, Float32Array>;
  readonly weights: ReadonlyMap<string, Float32Array>;
  /** Per rank what it said it would send in each step. */
  readonly traffic: readonly StepTraffic[];
  /** Per rank the metrics of each step. */
  readonly metrics: readonly (readonly StepMetrics[])[];
}

/** The folder of a golden run. */
export function goldenModel(name: string): string {
  return fileURLToPath(new URL(`../golden/models/${name}`, import.meta.url));
}

export function goldenConfig(name: string, layout: string, change: Partial<RunConfig> = {}): RunConfig {
  return { ...runFolderConfig(goldenModel(name), [['layout', layout]]), ...change };
}

/** `steps` steps of a golden model. */
export async function runLayout(name: string, config: RunConfig, backend: LocalBackend = 'cpu'): Promise<LocalResult> {
  const metrics: StepMetrics[][] = [];
  const traffic: StepTraffic[] = [];
  let gradients: ReadonlyMap<string, Float32Array> = new Map();
  let weights: ReadonlyMap<string, Float32Array> = new Map();
  await runInProcess({
    backend,
    config,
    files: readRunFiles(goldenModel(name)),
    wantGradients: true,
    wantModel: true,
    onEvent: (rank, event) => {
      if (event.kind === 'ready') traffic[rank] = event.traffic;
      else if (event.kind === 'step') (metrics[rank] ??= []).push(event.metrics);
      else if (event.kind === 'gradients') gradients = tensorsOf(event.bytes);
      else if (event.kind === 'model') weights = tensorsOf(event.bytes);
    },
  });
  const [first] = metrics;
  return {
    losses: first.map(({ loss }) => loss),
    gradNorms: first.map(({ gradNorm }) => gradNorm),
    gradients,
    weights,
    traffic,
    metrics,
  };
}

export function tensorsOf(bytes: Uint8Array<ArrayBuffer>): ReadonlyMap<string, Float32Array> {
  return new Map([...readSafetensors(bytes).tensors].map(([name, entry]) => [name, toFloat32(entry)]));
}

/**
 * Names the first tensor that differs by more than `relative` of its largest value; undefined if all agree. Nothing to
 * compare, or a tensor too many, is a difference.
 */
export function firstDifference(
  got: ReadonlyMap<string, Float32Array>,
  want: ReadonlyMap<string, Float32Array>,
  relative: number,
): string | undefined {
  if (want.size === 0) return 'no tensors are expected, so nothing was compared';
  for (const name of got.keys()) if (!want.has(name)) return `${name}: got a tensor of this name, expected none`;
  for (const [name, values] of want) {
    if (values.length === 0) return `${name}: no elements are expected, so nothing was compared`;
    const own = got.get(name);
    if (!own || own.length !== values.length)
      return `${name}: ${own?.length ?? 'no'} elements, expected ${values.length}`;
    const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-12);
    const at = values.findIndex((value, i) => !(Math.abs(own[i] - value) <= relative * most));
    if (at >= 0) return `${name}[${at}]: ${own[at]}, expected ${values[at]} (largest ${most})`;
  }
  return undefined;
}

export function readGolden(name: string, file: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(`${goldenModel(name)}/${file}`));
}

/**
 * GPT-2's key bias has a true gradient of 0 (softmax ignores a shift of all scores): Adam makes steps of its noise, so
 * the third of c_attn.bias that holds it is 0 here.
 */
export function withoutKeyBias(weights: ReadonlyMap<string, Float32Array>): ReadonlyMap<string, Float32Array> {
  return new Map(
    [...weights].map(([name, values]) => {
      if (!name.endsWith('c_attn.bias')) return [name, values];
      const third = values.length / 3;
      return [name, values.map((value, i) => (i >= third && i < 2 * third ? 0 : value))];
    }),
  );
}

/** Losses, norms, gradients and weights of a layout as on one device, within the rounding of sums in another order. */
export function expectEqualRuns(got: LocalResult, want: LocalResult): void {
  expect(got.losses).toHaveLength(want.losses.length);
  for (const [s, loss] of got.losses.entries()) {
    expect(Math.abs(loss / want.losses[s]! - 1), `loss of step ${s}`).toBeLessThan(2e-6);
    expect(Math.abs(got.gradNorms[s]! / want.gradNorms[s]! - 1), `norm of step ${s}`).toBeLessThan(1e-5);
  }
  expect(firstDifference(got.gradients, want.gradients, 2e-5)).toBeUndefined();
  expect(firstDifference(withoutKeyBias(got.weights), withoutKeyBias(want.weights), 1e-3)).toBeUndefined();
}
