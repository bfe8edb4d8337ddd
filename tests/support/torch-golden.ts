// The golden cases of tests/golden/torch: inputs, outputs and gradients of PyTorch in f64, rounded to f32.
// `noise` is how far PyTorch's own f32 run lies from them. A value passes within max(16 noise, 1e-5 absmax), element by
// element.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readSafetensors } from '../../src/base/safetensors.ts';
import type { SafetensorsFile } from '../../src/base/safetensors.ts';
import { elements, typedView } from '../../src/base/shape.ts';
import type { Shape, TypedArray } from '../../src/base/shape.ts';

const FOLDER = fileURLToPath(new URL('../golden/torch/', import.meta.url));

interface ManifestTensor {
  readonly tensor: string;
  readonly dtype: 'F32' | 'I32';
  readonly shape: Shape;
  readonly absmax?: number;
  readonly f32?: number;
}
interface ManifestCase {
  readonly name: string;
  readonly op: string;
  readonly file: string;
  readonly attrs: Readonly<Record<string, number | string>>;
  readonly inputs: Readonly<Record<string, ManifestTensor>>;
  readonly outputs: Readonly<Record<string, ManifestTensor>>;
  readonly grads?: Readonly<Record<string, ManifestTensor>>;
}

export interface GoldenTensor {
  readonly shape: Shape;
  readonly data: TypedArray;
  readonly absmax: number;
  readonly noise: number;
}
export type GoldenTensors = Readonly<Record<string, GoldenTensor>>;
export interface GoldenCase {
  readonly name: string;
  readonly op: string;
  readonly attrs: Readonly<Record<string, number | string>>;
  readonly inputs: GoldenTensors;
  /** Outputs and gradients together. */
  readonly wanted: GoldenTensors;
}

/** All cases of these ops. */
export function goldenCases(ops: readonly string[]): readonly GoldenCase[] {
  const manifest = JSON.parse(readFileSync(`${FOLDER}manifest.json`, 'utf8')) as { cases: readonly ManifestCase[] };
  const files = new Map<string, SafetensorsFile>();
  const load = (file: string, tensors: Readonly<Record<string, ManifestTensor>> = {}): GoldenTensors => {
    if (!files.has(file)) files.set(file, readSafetensors(readFileSync(FOLDER + file), { label: file }));
    return Object.fromEntries(
      Object.entries(tensors).map(([name, { tensor, dtype, shape, absmax = 0, f32 = 0 }]) => {
        const entry = files.get(file)!.tensors.get(tensor);
        if (!entry || entry.dtype !== dtype) throw new Error(`golden cases: ${file} has no ${dtype} tensor ${tensor}`);
        const data = typedView(dtype === 'I32' ? 'i32' : 'f32', new Uint8Array(entry.bytes).buffer, 0, elements(shape));
        return [name, { shape, data, absmax, noise: f32 }];
      }),
    );
  };
  return manifest.cases
    .filter(({ op }) => ops.includes(op))
    .map(({ name, op, file, attrs, inputs, outputs, grads }) => ({
      name,
      op,
      attrs,
      inputs: load(file, inputs),
      wanted: { ...load(file, outputs), ...load(file, grads) },
    }));
}

/** The worst place as a sentence, or undefined if every element passes. */
export function goldenDifference(wanted: GoldenTensor, got: TypedArray): string | undefined {
  if (got.length !== wanted.data.length) return `has ${got.length} elements, expected ${wanted.data.length}`;
  const allowed = Math.max(16 * wanted.noise, 1e-5 * wanted.absmax);
  let worst = 0;
  let at = -1;
  for (let i = 0; i < got.length; i++) {
    const distance = Math.abs(got[i] - wanted.data[i]);
    if (!(distance <= worst)) {
      worst = distance;
      at = i;
    }
    if (Number.isNaN(distance)) break;
  }
  return worst <= allowed
    ? undefined
    : `[${at}]: expected ${wanted.data[at]}, got ${got[at]}, allowed ${allowed.toPrecision(3)}`;
}
