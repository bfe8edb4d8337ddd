// A place to compute one case: upload its tensors, record launches or ops, run them once or step by step, read results.
// One Program with one plan.

import { InternalError } from '../../base/errors.ts';
import { elements } from '../../base/shape.ts';
import type { DType, Shape, TypedArray } from '../../base/shape.ts';
import type { Device } from '../../device/device.ts';
import type { Plan } from '../../device/plan.ts';
import { Program } from '../../device/program.ts';
import type { Recorder } from '../../device/recorder.ts';
import type { Param, Tensor } from '../../device/tensor.ts';
import type { CaseTensor } from './operator.ts';

const PLAN = 'case';

type Outputs = Readonly<Record<string, Tensor | undefined>>;
type Results<O extends Outputs> = {
  -readonly [K in keyof O]: undefined extends O[K] ? TypedArray | undefined : TypedArray;
};

export class Lab {
  readonly device: Device;
  readonly recorder: Recorder;
  readonly #program: Program;
  #pending: (readonly [Tensor, TypedArray])[] = [];
  #plan: Plan | undefined;

  constructor(device: Device) {
    this.device = device;
    this.#program = new Program(device);
    this.recorder = this.#program.recorder(PLAN);
  }

  /** Host data as a tensor of its own; i32 and u32 arrays keep their type. */
  data(values: TypedArray, shape: Shape = [values.length], label = 'input'): Tensor {
    const dtype: DType = values instanceof Float32Array ? 'f32' : values instanceof Uint32Array ? 'u32' : 'i32';
    const tensor = this.#kept(shape, dtype, label);
    this.#pending.push([tensor, values]);
    return tensor;
  }

  floats(tensor: CaseTensor, shape: Shape = tensor.shape): Tensor {
    return this.data(tensor.floats, shape);
  }

  /** Non-negative integers, for kernels that index with u32. */
  indices(tensor: CaseTensor, shape: Shape = tensor.shape): Tensor {
    return this.data(Uint32Array.from(tensor.integers), shape);
  }

  /** A tensor of zeros that launches may add to. */
  zeros(shape: Shape, label = 'sum'): Tensor {
    return this.#kept(shape, 'f32', label);
  }

  /** A weight with a gradient that starts at zero. */
  param(values: Float32Array<ArrayBuffer>, shape: Shape, name = 'weight'): Param {
    return { ...this.data(values, shape, name), name, grad: this.zeros(shape, `d.${name}`) };
  }

  #kept(shape: Shape, dtype: DType, label: string): Tensor {
    const tensor = this.#program.tensor(shape, dtype, label);
    this.#program.keep(tensor);
    return tensor;
  }

  /** Runs what was recorded once and reads these tensors; an undefined one gives no result. */
  async run<O extends Outputs>(outputs: O): Promise<Results<O>> {
    await this.compile(Object.values(outputs).filter((tensor) => tensor !== undefined));
    return this.step(outputs);
  }

  /** Compiles what was recorded; afterwards `write` and `step` may be called many times. */
  async compile(outputs: readonly Tensor[]): Promise<void> {
    this.#program.keep(...outputs);
    this.#plan = (await this.#program.finish()).get(PLAN);
    for (const [tensor, values] of this.#pending) this.#program.write(tensor, 0, values);
    this.#pending = [];
  }

  write(tensor: Tensor, values: TypedArray): void {
    this.#program.write(tensor, 0, values);
  }

  async step<O extends Outputs>(outputs: O): Promise<Results<O>> {
    if (!this.#plan) throw new InternalError('a case ran before it was compiled');
    const entries = Object.entries(outputs).filter((entry): entry is [string, Tensor] => entry[1] !== undefined);
    const values = await this.#plan.run(
      0,
      entries.map(([, tensor]) => ({ range: this.#program.range(tensor), dtype: tensor.dtype })),
    );
    return Object.fromEntries(entries.map(([name], i) => [name, values[i]])) as Results<O>;
  }

  dispose(): void {
    this.#program.dispose();
  }
}

/** The last dimension, and all others together. */
export function rowsAndColumns(shape: Shape): { readonly R: number; readonly C: number } {
  const C = shape.at(-1) ?? 1;
  return { R: elements(shape) / C, C };
}
