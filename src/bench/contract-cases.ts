// Every kernel of shaders/ on its own contract cases: does the default variant equal the reference, and how long does a
// launch take. A time is the median over blocks of launches in one submit, so that the submit's own cost vanishes; the
// cases are small, so they show overhead as much as speed.

import { RandomStream } from '../base/random.ts';
import { typedView } from '../base/shape.ts';
import type { TypedArray } from '../base/shape.ts';
import { realWorld } from '../base/world.ts';
import type { Device, Launch, Range } from '../device/device.ts';
import { bindingAccess, bindingDType } from '../device/kernel.ts';
import type { Kernel, Params } from '../device/kernel.ts';
import { ConfigError } from '../base/errors.ts';
import { describeAdapter, median } from './bench-report.ts';
import type { BenchResult, Measured } from './bench-report.ts';

const modules = import.meta.glob<Readonly<Record<string, unknown>>>(['../../shaders/**/*.ts', '!**/*.as.ts'], {
  eager: true,
});

/** By name: shaders/reduce/column-sum.ts exports `columnSum`. */
const kernels = Object.entries(modules).map(
  ([path, module]) =>
    module[
      path
        .split('/')
        .at(-1)!
        .replace('.ts', '')
        .replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
    ] as Kernel,
);

const DEFAULT_TOLERANCE = 1e-5;
const BLOCKS = 5;
const BLOCK_MS = 10;
const MAX_LAUNCHES = 200;
/** Values at or below it stand for minus infinity. */
const MINUS_INFINITY = -1e29;

export interface CasesBench {
  readonly device: Device;
  /** Only the kernel of this name. */
  readonly only?: string;
  readonly onStatus: (text: string) => void;
  /** Called between cases; may throw to stop. */
  readonly checkpoint?: () => void;
}

export async function benchCases({ device, only, onStatus, checkpoint }: CasesBench): Promise<Measured> {
  const chosen = kernels.filter(({ name }) => only === undefined || name === only);
  if (!chosen.length)
    throw new ConfigError('--only', `expected a kernel (${kernels.map(({ name }) => name).join(', ')}), got '${only}'`);
  const results: BenchResult[] = [];
  for (const [i, kernel] of chosen.entries()) {
    onStatus(`${kernel.name} (${i + 1} of ${chosen.length})`);
    for (const params of kernel.cases) {
      checkpoint?.();
      results.push(await benchCase(device, kernel, params));
    }
  }
  return { adapter: describeAdapter(device.adapter), results };
}

/** Params that are 0 say nothing in most kernels, so they are left out. */
function describeParams(params: Params): string {
  return Object.entries(params)
    .filter(([, value]) => value !== 0)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

async function benchCase(device: Device, kernel: Kernel, params: Params): Promise<BenchResult> {
  const arrays = caseArrays(kernel, params);
  const io = Object.fromEntries(
    Object.entries(arrays).map(([name, array]): [string, Range] => {
      const buffer = device.alloc(array.byteLength, 'activation', name);
      device.write(buffer, 0, array);
      return [name, { buffer, offset: 0, bytes: array.byteLength }];
    }),
  );
  try {
    const launch = await device.prepare(kernel, params, io);
    const outputs = Object.keys(kernel.bindings).filter(
      (name) => bindingAccess(kernel.bindings[name]) === 'read_write',
    );
    const bytes = await device.submit(
      [launch],
      outputs.map((name) => io[name]),
    );
    kernel.reference(arrays, params);
    const correct = outputs.every((name, i) =>
      isClose(
        arrays[name],
        typedView(bindingDType(kernel.bindings[name]), bytes[i]),
        kernel.tolerance ?? DEFAULT_TOLERANCE,
      ),
    );
    const medianMs = await timeLaunch(device, launch);
    return {
      workload: kernel.name,
      shape: describeParams(params),
      library: 'tabmesh',
      medianMs,
      gflops: kernel.cost(params).flops / medianMs / 1e6,
      correct,
    };
  } finally {
    for (const { buffer } of Object.values(io)) device.free(buffer);
  }
}

/**
 * Seeded normals, or what the kernel asks for. Outputs are random too: a kernel must write them, and some add to them.
 */
function caseArrays(kernel: Kernel, params: Params): Record<string, TypedArray> {
  const sizes = kernel.sizes(params);
  return Object.fromEntries(
    Object.entries(kernel.bindings).map(([name, spec]) => {
      const stream = new RandomStream(1, `bench ${kernel.name} ${name}`);
      let drawn = 0;
      const made = kernel.testInput?.(name, params, () => stream.uniform(drawn++));
      if (made) return [name, made];
      const array = typedView(bindingDType(spec), new ArrayBuffer(sizes[name] * 4));
      for (let i = 0; i < array.length; i++)
        array[i] = array instanceof Float32Array ? stream.normal(i) : stream.u32(i);
      return [name, array];
    }),
  );
}

/** Floats within tolerance * max|expected|, integers exactly. */
export function isClose(expected: TypedArray, got: TypedArray, tolerance: number): boolean {
  let scale = 0;
  if (expected instanceof Float32Array)
    for (const value of expected) if (value > MINUS_INFINITY) scale = Math.max(scale, Math.abs(value));
  return (
    got.length === expected.length &&
    expected.every(
      (value: number, i: number) =>
        Math.abs(got[i] - value) <= tolerance * scale || (value <= MINUS_INFINITY && got[i] <= MINUS_INFINITY),
    )
  );
}

/** Milliseconds of one launch; the first block only finds out how many launches fill a block. */
async function timeLaunch(device: Device, launch: Launch): Promise<number> {
  const block = async (count: number): Promise<number> => {
    const start = realWorld.now();
    await device.submit(Array.from({ length: count }, () => launch));
    await device.idle();
    return (realWorld.now() - start) / count;
  };
  const count = Math.max(1, Math.min(MAX_LAUNCHES, Math.round(BLOCK_MS / (await block(4)))));
  const times: number[] = [];
  for (let i = 0; i < BLOCKS; i++) times.push(await block(count));
  return median(times);
}
