// Known answers: seeded inputs of a launch, what the kernel's f64 reference makes of them, and how far a result is from
// that. Floats may differ by tolerance * max|reference| of their binding, integers not at all. A value <= -1e29 stands
// for minus infinity and need only be matched by another such value.

import { RandomStream } from '../../base/random.ts';
import { typedView } from '../../base/shape.ts';
import type { TypedArray } from '../../base/shape.ts';
import { bindingAccess, bindingDType } from '../kernel.ts';
import type { BindingSpec, DeviceFeatures, Kernel, Params, Variant } from '../kernel.ts';
import { isSupported } from '../variant.ts';
import { flagsOf } from './shape-class.ts';

export type Arrays = Readonly<Record<string, TypedArray>>;

const DEFAULT_TOLERANCE = 1e-5;
const MINUS_INFINITY = -1e29;
/** Normals drawn before they repeat; a prime, so that no extent of a kernel is a multiple of it. */
const PERIOD = 16_381;

export function toleranceOf(kernel: Kernel, variant: Variant): number {
  return variant.tolerance ?? kernel.tolerance ?? DEFAULT_TOLERANCE;
}

/** The bindings that a launch writes. */
export function outputsOf(kernel: Kernel): readonly string[] {
  return Object.keys(kernel.bindings).filter((name) => bindingAccess(kernel.bindings[name]) === 'read_write');
}

/**
 * Inputs, and outputs as they are before the launch: random as well, so that a place that is not written, or added to
 * instead, differs.
 */
export function goldenArrays(kernel: Kernel, params: Params): Arrays {
  const sizes = kernel.sizes(params);
  return Object.fromEntries(
    Object.entries(kernel.bindings).map(([name, spec]) => {
      const stream = new RandomStream(7, `${kernel.name} ${JSON.stringify(params)} ${name}`);
      let drawn = 0;
      return [
        name,
        kernel.testInput?.(name, params, () => stream.uniform(drawn++)) ?? randomArray(spec, sizes[name], stream),
      ];
    }),
  );
}

function randomArray(spec: BindingSpec, length: number, stream: RandomStream): TypedArray {
  const dtype = bindingDType(spec);
  const array = typedView(dtype, new ArrayBuffer(length * 4));
  const own = Math.min(length, PERIOD);
  for (let i = 0; i < own; i++) array[i] = dtype === 'f32' ? stream.normal(i) : stream.u32(i);
  for (let i = own; i < length; i++) array[i] = array[i - PERIOD];
  return array;
}

/** The outputs that the reference makes of `arrays`, which stay as they are. */
export function referenceOutputs(kernel: Kernel, params: Params, arrays: Arrays): Arrays {
  const names = outputsOf(kernel);
  const io = { ...arrays, ...Object.fromEntries(names.map((name) => [name, arrays[name].slice() as TypedArray])) };
  kernel.reference(io, params);
  return Object.fromEntries(names.map((name) => [name, io[name]]));
}

/**
 * The worst place of all outputs, in units of what is allowed: above 1 is wrong, Infinity is NaN or a wrong integer.
 */
export function errorOf(expected: Arrays, got: Arrays, tolerance: number): number {
  return Object.keys(expected).reduce(
    (worst, name) => Math.max(worst, errorOfArray(expected[name], got[name], tolerance)),
    0,
  );
}

function errorOfArray(expected: TypedArray, got: TypedArray, tolerance: number): number {
  const floats = expected instanceof Float32Array;
  let scale = 0;
  if (floats) for (const value of expected) if (value > MINUS_INFINITY) scale = Math.max(scale, Math.abs(value));
  const allowed = floats ? tolerance * scale : 0;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const distance = Math.abs(got[i] - expected[i]);
    if (distance === 0 || (floats && expected[i] <= MINUS_INFINITY && got[i] <= MINUS_INFINITY)) continue;
    // Not `distance / allowed > worst`: NaN must not pass.
    if (!(distance <= worst * allowed)) worst = distance > 0 && allowed > 0 ? distance / allowed : Infinity;
  }
  return worst;
}

/**
 * The case of the contract that stands for `params` under `variant`: as many equal flags as possible, then the fewest
 * operations. Undefined if the variant supports no case of at most `mostFlops`.
 */
export function nearestCase(
  kernel: Kernel,
  variant: Variant,
  params: Params,
  features: DeviceFeatures,
  mostFlops: number,
): Params | undefined {
  const flags = flagsOf(kernel, params).split(' ');
  const rank = (one: Params): number => {
    const own = flagsOf(kernel, one).split(' ');
    return flags.filter((flag) => own.includes(flag)).length;
  };
  return kernel.cases
    .filter((one) => isSupported(variant, one, features) && kernel.cost(one).flops <= mostFlops)
    .map((one) => ({ one, equal: rank(one), flops: kernel.cost(one).flops }))
    .sort((a, b) => b.equal - a.equal || a.flops - b.flops)[0]?.one;
}
