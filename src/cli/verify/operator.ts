// What a file of ops/ exports: how a case of one operator is computed with our kernels. Also the case itself, read from
// a manifest. An operator that cannot run a variant says so in `refuses`, and the case counts as skipped; a case that
// runs is compared in all its outputs.

import { FormatError } from '../../base/errors.ts';
import { toFloat32, toInt32 } from '../../base/safetensors.ts';
import type { SafetensorsEntry } from '../../base/safetensors.ts';
import type { Shape } from '../../base/shape.ts';
import type { Lab } from './lab.ts';

/** A tensor of a case; its elements are converted when they are asked for. */
export class CaseTensor {
  readonly shape: Shape;
  readonly dtype: SafetensorsEntry['dtype'];
  /**
   * Largest magnitude, and the largest difference between an f32 and an f64 run of the source: a measured noise floor.
   * 0 where unknown.
   */
  readonly absmax: number;
  readonly noise: number;
  readonly #entry: SafetensorsEntry;

  constructor(entry: SafetensorsEntry, absmax = 0, noise = 0) {
    this.shape = entry.shape;
    this.dtype = entry.dtype;
    this.absmax = absmax;
    this.noise = noise;
    this.#entry = entry;
  }

  get isFloat(): boolean {
    return /^B?F\d+$/.test(this.dtype);
  }
  /** Elements as f32, whatever they are stored as; a fresh array. */
  get floats(): Float32Array<ArrayBuffer> {
    return toFloat32(this.#entry);
  }
  /** Elements as i32; a FormatError if one does not fit. */
  get integers(): Int32Array<ArrayBuffer> {
    return toInt32(this.#entry);
  }
}

/** Attributes of a case, read with a type and a default. */
export class Attributes {
  readonly #values: Readonly<Record<string, unknown>>;
  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  has(name: string): boolean {
    return (this.#values[name] ?? null) !== null;
  }

  number(name: string, fallback?: number): number {
    const value = this.#values[name] ?? fallback;
    if (typeof value !== 'number')
      throw new FormatError('manifest.json', `attribute ${name}: expected a number, got ${JSON.stringify(value)}`);
    return value;
  }

  text(name: string, fallback?: string): string {
    const value = this.#values[name] ?? fallback;
    if (typeof value !== 'string')
      throw new FormatError('manifest.json', `attribute ${name}: expected a text, got ${JSON.stringify(value)}`);
    return value;
  }

  /** true, or any number but 0. */
  flag(name: string): boolean {
    return Boolean(this.#values[name]);
  }

  numbers(name: string): readonly number[] | undefined {
    const value = this.#values[name] ?? undefined;
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || !value.every((one) => typeof one === 'number'))
      throw new FormatError('manifest.json', `attribute ${name}: expected numbers, got ${JSON.stringify(value)}`);
    return value;
  }
}

interface CommonCase {
  readonly name: string;
  readonly op: string;
  readonly attributes: Attributes;
}

export class TorchCase implements CommonCase {
  readonly name: string;
  readonly op: string;
  readonly attributes: Attributes;
  readonly inputs: ReadonlyMap<string, CaseTensor>;
  /** Outputs and gradients by name. */
  readonly wanted: ReadonlyMap<string, CaseTensor>;

  constructor(
    name: string,
    op: string,
    attributes: Attributes,
    inputs: ReadonlyMap<string, CaseTensor>,
    wanted: ReadonlyMap<string, CaseTensor>,
  ) {
    this.name = name;
    this.op = op;
    this.attributes = attributes;
    this.inputs = inputs;
    this.wanted = wanted;
  }

  input(name: string): CaseTensor {
    const tensor = this.inputs.get(name);
    if (!tensor)
      throw new FormatError(
        'manifest.json',
        `case ${this.name} (${this.op}): expected an input ${name}, got ${[...this.inputs.keys()].join(', ')}`,
      );
    return tensor;
  }
}

export interface OnnxCase extends CommonCase {
  readonly opset: number;
  /** By the operator's slots; undefined where a slot is empty. */
  readonly inputs: readonly (CaseTensor | undefined)[];
  readonly wanted: readonly (CaseTensor | undefined)[];
}

export type Values = ArrayLike<number>;

/** What differs from the folder's usual tolerance for one output. */
export interface Exception {
  /** Elements [start, end) that are not compared. */
  readonly skip?: readonly [number, number];
  /** Noise floor in place of the manifest's. */
  readonly noise?: number;
}

export interface TorchOperator {
  readonly format: 'torch';
  readonly op: string;
  /** Why this case cannot run here; undefined if it can. */
  refuses?(c: TorchCase): string | undefined;
  /** Every output and gradient by its name. */
  run(lab: Lab, c: TorchCase): Promise<Readonly<Record<string, Values | undefined>>>;
  exception?(c: TorchCase, output: string, wanted: CaseTensor): Exception | undefined;
}

export interface OnnxOperator {
  readonly format: 'onnx';
  readonly op: string;
  refuses?(c: OnnxCase): string | undefined;
  /** Outputs by slot. */
  run(lab: Lab, c: OnnxCase): Promise<readonly (Values | undefined)[]>;
}

export type Operator = TorchOperator | OnnxOperator;

/** The tensor in a slot that the operator requires. */
export function slot(c: OnnxCase, index: number): CaseTensor {
  const tensor = c.inputs[index];
  if (!tensor) throw new FormatError('manifest.json', `case ${c.name} (${c.op}): input ${index} is missing`);
  return tensor;
}

/** `axis` counted from the front. */
export function axisOf(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}
