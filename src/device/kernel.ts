// A kernel is two files side by side in shaders/FAMILY/: x.wgsl (complete, valid WGSL) and x.ts (this contract).
// Shapes, strides and flags are `params`: they replace `const NAME: u32 = 1u;` lines (any scalar type), so each
// distinct set of params is one compiled pipeline, except for those that the kernel calls `dynamic`: a uniform holds
// them (params/dynamic.ts), and one pipeline serves all their values. Values that change from launch to launch
// (learning rate, step) live in a storage buffer. Bindings are @group(0) @binding(i) in the order of `bindings`.
// `reference` is written from the formula with f64 sums.

import type { DType, TypedArray } from '../base/shape.ts';

/** 'read' and 'read_write' are f32; append ' u32' or ' i32' for integers. */
export type BindingSpec = 'read' | 'read_write' | 'read u32' | 'read_write u32' | 'read i32' | 'read_write i32';
export type Params = Readonly<Record<string, number>>;
export type Constants = Readonly<Record<string, number>>;
export type ScalarType = 'u32' | 'i32' | 'f32';

export interface DeviceFeatures {
  /** Subgroup size if it is known and fixed, otherwise 0 (then no variant may use subgroups). */
  readonly subgroupSize: number;
  /** shader-f16 is there. */
  readonly f16: boolean;
  /** The user allows variants of lower precision. */
  readonly reducedPrecision: boolean;
  /** A software adapter: memory instructions and barriers cost much, threads are few. Only guesses may depend on it. */
  readonly software: boolean;
  readonly maxWorkgroupStorageBytes: number;
  readonly maxInvocations: number;
}

/**
 * One way to run a kernel. The default is the first variant that the params and the device support and that `prefers`
 * the params.
 */
export interface Variant<P extends Params = Params> {
  readonly name: string;
  /** WGSL text, from `import source from './x.wgsl?raw'`. */
  readonly source: string;
  /**
   * Dynamic params of the kernel that this variant takes as constants, because it is faster so; absent: none. `derive`
   * and `tune` name constants of the text alone.
   */
  readonly fixes?: readonly string[];
  /** Further constants of its text that follow from params and tunables: they decide code where a size is dynamic. */
  derive?(params: P, constants: Constants): Constants;
  /**
   * Language extensions. The text enables `subgroups`, and its `const SUBGROUP: u32` becomes the adapter's subgroup
   * size; with `f16`, its `alias scalar = f32;` becomes f16.
   */
  readonly needs?: readonly ('subgroups' | 'f16')[];
  /**
   * Its text's `const LANES: u32 = 1u;` becomes 4 and its `alias Value = f32;` a vec4<f32>: so one text serves two
   * variants. `vec4<f32>(v)` takes a Value apart either way, and `if (LANES == 1u)` tells them apart at no cost.
   */
  readonly lanes?: 4;
  /** Candidate values of `const NAME: u32` lines besides the params; the first of each list is the default. */
  readonly tune?: Readonly<Record<string, readonly number[]>>;
  /** Whether it is right for these params; absent: always. */
  supports?(params: P, features: DeviceFeatures): boolean;
  /** Whether it is a good guess without measuring; absent: yes. A tuner tries every supported variant. */
  prefers?(params: P, features: DeviceFeatures): boolean;
  /**
   * Whether a run begins with it on a software adapter, where a large text compiles for longer than it saves in the
   * first steps; absent: no.
   */
  quick?(params: P, features: DeviceFeatures): boolean;
  /**
   * Which adapters it was made for, where the others pay much for compiling it in vain; a tuner leaves it out there.
   * Absent: both.
   */
  readonly madeFor?: 'hardware' | 'software';
  /** In place of the kernel's, for variants of lower precision; they are run only when asked for. */
  readonly tolerance?: number;
  /** Workgroups per dimension for these params and the chosen tunables. */
  grid(params: P, constants: Constants): readonly [number, number, number];
}

export interface Kernel<
  B extends Readonly<Record<string, BindingSpec>> = Readonly<Record<string, BindingSpec>>,
  P extends Params = Params,
> {
  readonly name: string;
  readonly bindings: B;
  /** Names of the params, each with what it means and its unit. */
  readonly params: { readonly [K in keyof P]: string };
  /**
   * Params that are not part of a pipeline, with the scalar type of their `const` line. The text declares them like
   * any other; see params/dynamic.ts for what becomes of it.
   */
  readonly dynamic?: { readonly [K in keyof P]?: ScalarType };
  readonly variants: readonly Variant<P>[];
  /** Useful floating-point operations, and bytes that must cross memory at least once. */
  cost(params: P): { flops: number; bytes: number };
  /** The formula, on host arrays; sums in f64. Writes the read_write arrays in place. */
  reference(io: { readonly [K in keyof B]: TypedArray }, params: P): void;
  /** Element counts of every binding for these params (also used to build test data). */
  sizes(params: P): { readonly [K in keyof B]: number };
  /** Params that the contract test runs; odd sizes, one element, several tiles. */
  readonly cases: readonly P[];
  /** Test inputs for bindings that random normal numbers do not suit (indices, masks, offsets). */
  testInput?(name: keyof B & string, params: P, random: () => number): TypedArray | undefined;
  /** Why its WebAssembly cannot compute this, as 'expected ..., got ...; what to do'; absent: it computes all. */
  wasmRefuses?(params: NoInfer<P>): string | undefined;
  /** Largest error allowed by the contract, relative to max|reference|; default 1e-5. */
  readonly tolerance?: number;
}

export function bindingAccess(spec: BindingSpec): 'read' | 'read_write' {
  return spec.startsWith('read_write') ? 'read_write' : 'read';
}

export function bindingDType(spec: BindingSpec): DType {
  return spec.endsWith('u32') ? 'u32' : spec.endsWith('i32') ? 'i32' : 'f32';
}

/** Returns its argument, with `B` and `P` inferred. */
export function defineKernel<const B extends Readonly<Record<string, BindingSpec>>, P extends Params>(
  kernel: Kernel<B, P>,
): Kernel<B, P> {
  return kernel;
}
