// The kernel contract: on a given device, every variant that supports a case gives what the kernel's f64 reference
// gives. Inputs are seeded normals (or the kernel's testInput); outputs start as normals too, so a place that a kernel
// forgets to write, or adds to instead of writing, differs. Floats may differ by tolerance * max|reference| of that
// binding, integers not at all. A value <= -1e29 stands for minus infinity and need only be matched by another such
// value.

import type { Device, DeviceBuffer, Range } from '../../src/device/device.ts';
import { bindingAccess, bindingDType } from '../../src/device/kernel.ts';
import type { BindingSpec, Constants, Kernel, Params, Variant } from '../../src/device/kernel.ts';
import { chooseVariant, isSupported } from '../../src/device/variant.ts';
import type { Tuning } from '../../src/device/variant.ts';
import { RandomStream } from '../../src/base/random.ts';
import { typedView } from '../../src/base/shape.ts';
import type { TypedArray } from '../../src/base/shape.ts';

const DEFAULT_TOLERANCE = 1e-5;
/** Guarded arrays are slow, so large cases run without. */
const GUARDED_FLOPS = 50_000;
const MINUS_INFINITY = -1e29;
const FEW_OUTPUTS = 64;
const FENCE_BYTES = 1024;
/** A signalling NaN, which any arithmetic changes, or a large integer; its bytes. */
const FENCE = [0xbf, 0xbf, 0xbf, 0x7f];

/** A device whose next `prepare` runs the variant that was picked last. */
export interface ContractTarget {
  readonly device: Device;
  pick(variant: string, constants: Constants): void;
}

/** `open` makes a device that asks `tuning` for every launch. */
export async function contractTarget(open: (tuning: Tuning) => Device | Promise<Device>): Promise<ContractTarget> {
  let picked: { variant: string; constants: Constants } | undefined;
  const device = await open(() => picked);
  return {
    device,
    pick: (variant, constants) => {
      picked = { variant, constants };
    },
  };
}

type Arrays = Record<string, TypedArray>;

/** Seeded inputs and initial outputs of one case. */
export function caseArrays(kernel: Kernel, params: Params, seed = 7): Arrays {
  const sizes = kernel.sizes(params);
  const arrays: Arrays = {};
  for (const [name, spec] of Object.entries(kernel.bindings)) {
    const stream = new RandomStream(seed, `${kernel.name} ${JSON.stringify(params)} ${name}`);
    let drawn = 0;
    const made = kernel.testInput?.(name, params, () => stream.uniform(drawn++));
    if (made && made.length !== sizes[name])
      throw new Error(`${kernel.name}: testInput(${name}) gives ${made.length} elements, sizes says ${sizes[name]}`);
    arrays[name] = made ?? randomArray(spec, sizes[name], stream);
  }
  return arrays;
}

function randomArray(spec: BindingSpec, length: number, stream: RandomStream): TypedArray {
  const dtype = bindingDType(spec);
  const array = typedView(dtype, new ArrayBuffer(length * 4));
  for (let i = 0; i < length; i++) array[i] = dtype === 'f32' ? stream.normal(i) : stream.u32(i);
  return array;
}

/**
 * What the reference makes of these arrays. Throws if it reads or writes out of bounds (small cases), writes an input
 * or leaves NaN.
 */
export function expectedArrays(kernel: Kernel, params: Params, arrays: Arrays): Arrays {
  const copies = Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, array.slice() as TypedArray]));
  const guarded =
    kernel.cost(params).flops <= GUARDED_FLOPS
      ? Object.fromEntries(
          Object.entries(copies).map(([name, array]) => [
            name,
            boundsChecked(array, `${kernel.name} ${JSON.stringify(params)}: ${name}`),
          ]),
        )
      : copies;
  kernel.reference(guarded, params);
  for (const [name, spec] of Object.entries(kernel.bindings)) {
    const where = `${kernel.name} ${JSON.stringify(params)}: reference of ${name}`;
    if (bindingAccess(spec) === 'read' && copies[name].some((value, i) => value !== arrays[name][i]))
      throw new Error(`${where} changed an input`);
    if (copies[name].some((value) => Number.isNaN(value))) throw new Error(`${where} has NaN`);
  }
  return copies;
}

/** The same array, but an index outside it throws instead of reading undefined or dropping the write. */
function boundsChecked(array: TypedArray, where: string): TypedArray {
  const check = (key: string | symbol): void => {
    if (
      typeof key === 'string' &&
      /^-?[\d.]+$|^NaN$/.test(key) &&
      !(Number(key) < array.length && Number.isInteger(Number(key)) && Number(key) >= 0)
    ) {
      throw new Error(`${where}[${key}] is outside ${array.length} elements`);
    }
  };
  return new Proxy(array, {
    get(target, key) {
      check(key);
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set(target, key, value) {
      check(key);
      return Reflect.set(target, key, value, target);
    },
  });
}

/** Every combination of a variant's tunable constants. */
export function tunings(variant: Variant): Constants[] {
  let all: Record<string, number>[] = [{}];
  for (const [name, values] of Object.entries(variant.tune ?? {}))
    all = all.flatMap((constants) => values.map((value) => ({ ...constants, [name]: value })));
  return all;
}

export interface ContractReport {
  runs: number;
  readonly failures: string[];
  worst: number;
}

/**
 * The default; of the variants that share a text one, another with each case, because they differ in constants only;
 * and of all texts made for the other kind of adapter one, because they compile slowly here.
 */
function rotate(variants: readonly Variant[], turn: number, byDefault: Variant, software: boolean): readonly Variant[] {
  const foreign = (variant: Variant): boolean => variant.madeFor === (software ? 'hardware' : 'software');
  const oneOf = <T>(list: readonly T[]): readonly T[] => (list.length ? [list[turn % list.length]] : []);
  const textOf = ({ source, lanes }: Variant): string => `${lanes} ${source}`;
  const texts = [...new Set(variants.map(textOf))].map((text) => variants.filter((one) => textOf(one) === text));
  const chosen = [...texts.filter(([first]) => !foreign(first)), ...oneOf(texts.filter(([first]) => foreign(first)))];
  return [...new Set([byDefault, ...chosen.flatMap((twins) => oneOf(twins))])];
}

/**
 * Errors are measured by the largest output. A few outputs may all be near zero for some inputs, so such cases keep
 * theirs.
 */
function hasScale(kernel: Kernel, params: Params): boolean {
  const sizes = kernel.sizes(params);
  return Object.entries(kernel.bindings).every(
    ([name, spec]) => bindingAccess(spec) === 'read' || sizes[name] >= FEW_OUTPUTS,
  );
}

/**
 * Runs all cases of `kernel` under every text of a variant that supports them, and every variant under some case.
 * `worst` is the largest error in units of what is allowed.
 */
export async function checkKernel(
  target: ContractTarget,
  kernel: Kernel,
  cases: readonly Params[] = kernel.cases,
  seed?: number,
): Promise<ContractReport> {
  const report: ContractReport = { runs: 0, failures: [], worst: 0 };
  for (const [turn, params] of cases.entries()) {
    const arrays = caseArrays(kernel, params, hasScale(kernel, params) ? seed : undefined);
    const expected = expectedArrays(kernel, params, arrays);
    // Only WebGPU has variants; other devices run the kernel in one way.
    const variants =
      target.device.kind === 'webgpu'
        ? kernel.variants.filter((variant) => isSupported(variant, params, target.device.features))
        : [chooseVariant(kernel, params, target.device.features).variant];
    if (!variants.length) report.failures.push(`${kernel.name} ${JSON.stringify(params)}: no variant supports it`);
    const rotated = variants.length
      ? rotate(
          variants,
          turn,
          chooseVariant(kernel, params, target.device.features).variant,
          target.device.features.software,
        )
      : [];
    // `prepare` chooses its variant before it first waits, so all variants of a case may compile side by side.
    const runs = rotated.flatMap((variant) =>
      tunings(variant).map((constants) => {
        target.pick(variant.name, constants);
        return {
          name: `${kernel.name}/${variant.name} ${JSON.stringify({ ...params, ...constants })}`,
          tolerance: variant.tolerance ?? kernel.tolerance ?? DEFAULT_TOLERANCE,
          outputs: runOnce(target.device, kernel, params, arrays),
        };
      }),
    );
    const settled = await Promise.all(runs.map((run) => run.outputs));
    report.runs += runs.length;
    settled.forEach((outputs, at) => {
      for (const [name, got] of Object.entries(outputs)) {
        const { error, text } = compare(expected[name], got, runs[at].tolerance);
        report.worst = Math.max(report.worst, error);
        if (text) report.failures.push(`${runs[at].name}: ${name}${text}`);
      }
    });
  }
  return report;
}

async function runOnce(device: Device, kernel: Kernel, params: Params, arrays: Arrays): Promise<Arrays> {
  const buffers: DeviceBuffer[] = [];
  // WebGPU checks bounds; elsewhere NaN stands around every array, which must not come in and must stay.
  const fence = device.kind === 'webgpu' ? 0 : FENCE_BYTES;
  const io = Object.fromEntries(
    Object.entries(arrays).map(([name, array]) => {
      const buffer = device.alloc(array.byteLength + 2 * fence, 'activation', name);
      device.write(
        buffer,
        0,
        new Uint8Array(buffer.bytes).map((_, at) => FENCE[at % 4]),
      );
      device.write(buffer, fence, array);
      buffers.push(buffer);
      return [name, { buffer, offset: fence, bytes: array.byteLength }];
    }),
  );
  try {
    const launch = await device.prepare(kernel, params, io);
    const names = Object.keys(kernel.bindings).filter((name) => bindingAccess(kernel.bindings[name]) === 'read_write');
    const bytes = await device.submit(
      [launch],
      names.map((name) => io[name]),
    );
    if (fence) await checkFences(device, kernel, arrays, io);
    return Object.fromEntries(names.map((name, i) => [name, typedView(bindingDType(kernel.bindings[name]), bytes[i])]));
  } finally {
    for (const buffer of buffers) device.free(buffer);
  }
}

/** Throws if a launch changed an input or what stands around an array. */
async function checkFences(
  device: Device,
  kernel: Kernel,
  arrays: Arrays,
  io: Readonly<Record<string, Range>>,
): Promise<void> {
  const names = Object.keys(arrays);
  const whole = await device.submit(
    [],
    names.map((name) => ({ buffer: io[name].buffer, offset: 0, bytes: io[name].buffer.bytes })),
  );
  for (const [i, name] of names.entries()) {
    const { offset, bytes } = io[name];
    const found = new Uint8Array(whole[i]);
    const written = new Uint8Array(arrays[name].buffer, arrays[name].byteOffset, bytes);
    const wants = (at: number): number => (at < offset || at >= offset + bytes ? FENCE[at % 4] : written[at - offset]);
    const input = bindingAccess(kernel.bindings[name]) === 'read';
    const at = found.findIndex(
      (byte, place) => (input || place < offset || place >= offset + bytes) && byte !== wants(place),
    );
    if (at >= 0)
      throw new Error(
        `${kernel.name}: ${name} was written at byte ${at - offset} of ${bytes}${input ? ', an input' : ''}`,
      );
  }
}

/** The worst place of two arrays, its error in units of what is allowed, and a sentence if that is above 1. */
export function compare(expected: TypedArray, got: TypedArray, tolerance: number): { error: number; text?: string } {
  const floats = expected instanceof Float32Array;
  let scale = 0;
  if (floats) for (const value of expected) if (value > MINUS_INFINITY) scale = Math.max(scale, Math.abs(value));
  const allowed = floats ? tolerance * scale : 0;
  let worst = 0;
  let at = -1;
  for (let i = 0; i < expected.length; i++) {
    if (floats && expected[i] <= MINUS_INFINITY && got[i] <= MINUS_INFINITY) continue;
    // NaN, and anything at all where nothing is allowed, counts as infinitely wrong.
    const distance = Math.abs(got[i] - expected[i]);
    const error = distance === 0 ? 0 : distance > 0 && allowed > 0 ? distance / allowed : Infinity;
    if (error > worst) {
      worst = error;
      at = i;
    }
  }
  return worst > 1
    ? {
        error: worst,
        text: `[${at}]: expected ${expected[at]}, got ${got[at]} (${worst.toPrecision(3)} times the allowed error)`,
      }
    : { error: worst };
}
