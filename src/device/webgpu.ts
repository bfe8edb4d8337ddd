// WebGPU, in a browser worker or in Node through the `webgpu` package. One GpuContext (GPUDevice and pipeline cache)
// may serve several ranks of one process; each rank's Device counts its own launches and memory. One encoder and one
// compute pass per submit; readbacks of a submit are packed into one staging buffer. Rejects everything after a loss.

import { InternalError, LimitError } from '../base/errors.ts';
import type { Device, DeviceCounters, Launch, PlannedLaunch, Range } from './device.ts';
import type { DeviceFeatures } from './kernel.ts';
import { MemoryLedger, newCounters } from './memory.ts';
import { dynamicWords } from './params/dynamic.ts';
import { bytesOf, packReadbacks, StagingRing } from './webgpu/staging.ts';
import { GpuTimer } from './tune/gpu-timer.ts';
import type { Qualifier } from './tune/qualifier.ts';
import { LaunchSwap } from './tune/swap.ts';
import type { SwappableLaunch } from './tune/swap.ts';
import { chooseVariant } from './variant.ts';
import type { Tuning } from './variant.ts';
import { copyCommands, encodeCopies, GpuBuffers } from './webgpu/buffers.ts';
import { lossOf, openGpu } from './webgpu/context.ts';
import type { GpuContext } from './webgpu/context.ts';
import { pipelineOf } from './webgpu/pipelines.ts';

export { openGpu } from './webgpu/context.ts';
export type { GpuContext } from './webgpu/context.ts';

interface GpuLaunch extends Omit<Launch, 'variant'>, SwappableLaunch {
  readonly bindings: GPUBindGroup;
}

export interface DeviceOptions {
  /** Fixed choices, for tests; a qualifier makes its own. */
  readonly tuning?: Tuning;
  /** Checks and tunes what plans use; the ranks of one context share it. */
  readonly qualifier?: Qualifier;
  /** Allows variants that round to f16 where the adapter can; default false. */
  readonly reducedPrecision?: boolean;
}

/** Opens a device of its own. See `deviceOf` for several ranks on one context. */
export async function createWebGpuDevice(
  gpu: GPU | undefined,
  options: GPURequestAdapterOptions & DeviceOptions = {},
): Promise<Device> {
  const { tuning, qualifier, reducedPrecision, ...adapterOptions } = options;
  return deviceOf(await openGpu(gpu, adapterOptions), { owned: true, tuning, qualifier, reducedPrecision });
}

function checkGrid(label: string, grid: GpuLaunch['grid'], most: number): GpuLaunch['grid'] {
  if (grid.some((n) => n > most))
    throw new LimitError(
      `${label}: ${grid.join(' x ')} workgroups, at most ${most} per dimension; use a smaller batch or context`,
    );
  return grid;
}

/** An empty grid is skipped. Returns the pass, still open. */
function encode(pass: GPUComputePassEncoder, launches: readonly GpuLaunch[]): GPUComputePassEncoder {
  for (const launch of launches) {
    if (launch.grid[0] * launch.grid[1] * launch.grid[2] === 0) continue;
    pass.setPipeline(launch.pipeline);
    pass.setBindGroup(0, launch.bindings);
    pass.dispatchWorkgroups(...launch.grid);
  }
  return pass;
}

/**
 * A Device on `context`. With `owned`, destroy() also destroys the GPUDevice; otherwise it frees this rank's buffers
 * only.
 */
export function deviceOf(context: GpuContext, options: DeviceOptions & { owned?: boolean } = {}): Device {
  const { device: gpu } = context;
  const { qualifier } = options;
  const tuning = options.tuning ?? qualifier?.choose;
  const features = { ...context.features, reducedPrecision: options.reducedPrecision === true && context.features.f16 };
  let timer: GpuTimer | undefined;
  const counters = newCounters();
  const memory = new MemoryLedger();
  const buffers = new GpuBuffers(gpu, memory);
  const failureOf = (): Error | undefined => buffers.full ?? context.failure;
  const staging = new StagingRing(gpu, memory);
  const failed = async (error?: unknown): Promise<Error | undefined> =>
    error === undefined
      ? failureOf()
      : ((await lossOf(context)) ?? new InternalError(`readback failed: ${String(error)}`));
  const checkAlive = (): void => {
    const failure = failureOf();
    if (failure) throw failure;
  };
  const later = qualifier?.isLater(context)
    ? launchSwapOf(context, qualifier, features, counters, () => device)
    : undefined;

  const device: Device = {
    kind: 'webgpu',
    adapter: context.adapter,
    features,
    counters,
    memory: memory.byTag,
    lost: context.lost,
    alloc: (bytes, tag, label) => buffers.alloc(bytes, tag, label),
    free: (buffer) => buffers.free(buffer),
    write(buffer, offset, data) {
      gpu.queue.writeBuffer(
        buffers.gpuOf(buffer),
        offset,
        data.buffer as ArrayBuffer,
        data.byteOffset,
        data.byteLength,
      );
      counters.bytesWritten += data.byteLength;
    },
    copy: (pairs) => gpu.queue.submit([copyCommands(gpu, buffers, pairs)]),
    async prepare(kernel, params, io, choice) {
      checkAlive();
      const chosen = choice ?? chooseVariant(kernel, params, features, tuning);
      const { variant, constants } = chosen;
      const label = `${kernel.name}/${variant.name}`;
      const grid = checkGrid(label, variant.grid(params, constants), gpu.limits.maxComputeWorkgroupsPerDimension);
      const ready = await pipelineOf(context, kernel, { variant, constants }, counters);
      const entries: GPUBindGroupEntry[] = Object.keys(kernel.bindings).map((name, binding) => {
        const range = io[name];
        if (!range) throw new InternalError(`${kernel.name}: binding ${name} is missing`);
        return {
          binding,
          resource: { buffer: buffers.gpuOf(range.buffer), offset: range.offset, size: Math.max(4, range.bytes) },
        };
      });
      if (kernel.dynamic)
        entries.push({ binding: entries.length, resource: context.uniforms.place(dynamicWords(kernel, params)) });
      const launch: GpuLaunch = {
        kernel: kernel.name,
        variant: variant.name,
        flops: kernel.cost(params).flops,
        pipeline: ready,
        grid,
        bindings: gpu.createBindGroup({ layout: ready.getBindGroupLayout(0), entries, label }),
      };
      if (!choice) later?.track(kernel, params, chosen, launch);
      return launch;
    },
    async submit(launches, readback = []) {
      checkAlive();
      return submitTo({ gpu, buffers, staging, counters, failed }, launches as readonly GpuLaunch[], readback);
    },
    ...(qualifier ? { qualify: (launches: readonly PlannedLaunch[]) => qualifier.qualify(device, launches) } : {}),
    ...(later ? { later } : {}),
    onCompile(listener) {
      context.compiling.listeners.add(listener);
      return () => void context.compiling.listeners.delete(listener);
    },
    async time(launch, repetitions) {
      checkAlive();
      counters.launches += repetitions;
      counters.submits++;
      return timed(context, (timer ??= new GpuTimer(gpu)), launch as GpuLaunch, repetitions);
    },
    async idle() {
      await gpu.queue.onSubmittedWorkDone();
      checkAlive();
    },
    destroy() {
      staging.destroy();
      timer?.destroy();
      buffers.destroy();
      if (options.owned) gpu.destroy();
    },
  };
  return device;
}

interface SubmitTarget {
  readonly gpu: GPUDevice;
  readonly buffers: GpuBuffers;
  readonly staging: StagingRing;
  readonly counters: DeviceCounters;
  /** Why a readback failed. */
  failed(error?: unknown): Promise<Error | undefined>;
}

/** One submit; see Device. */
async function submitTo(
  { gpu, buffers, staging, counters, failed }: SubmitTarget,
  launches: readonly GpuLaunch[],
  readback: readonly Range[],
): Promise<readonly ArrayBuffer[]> {
  const encoder = gpu.createCommandEncoder();
  if (launches.length) encode(encoder.beginComputePass(), launches).end();
  counters.launches += launches.length;
  counters.submits++;
  const bytes = bytesOf(readback);
  if (bytes === 0) {
    gpu.queue.submit([encoder.finish()]);
    return readback.map(() => new ArrayBuffer(0));
  }
  const loads = packReadbacks(readback, gpu.limits.maxBufferSize).map((ranges) => ({
    ranges,
    target: staging.take(bytesOf(ranges)),
  }));
  for (const { ranges, target } of loads) encodeCopies(encoder, ranges, (buffer) => buffers.gpuOf(buffer), target);
  gpu.queue.submit([encoder.finish()]);
  counters.readbacks++;
  counters.bytesRead += bytes;
  return (await Promise.all(loads.map(({ ranges, target }) => staging.map(target, ranges, failed)))).flat();
}

/** Of a device that began at once: what checks, measures and swaps between its steps. */
function launchSwapOf(
  context: GpuContext,
  qualifier: NonNullable<DeviceOptions['qualifier']>,
  features: DeviceFeatures,
  counters: DeviceCounters,
  device: () => Device,
): LaunchSwap {
  return new LaunchSwap({
    improve: () => qualifier.improve(device()),
    slices: () => qualifier.slices,
    choose: (kernel, params) =>
      chooseVariant(
        kernel,
        params,
        features,
        (...launch) => qualifier.better(...launch) ?? qualifier.choose(...launch),
      ),
    async compile(kernel, choice, grid) {
      const most = context.device.limits.maxComputeWorkgroupsPerDimension;
      checkGrid(`${kernel.name}/${choice.variant.name}`, grid, most);
      return pipelineOf(context, kernel, choice, counters);
    },
    onProblem: (text) => qualifier.note(text),
  });
}

async function timed(
  context: GpuContext,
  timer: GpuTimer,
  launch: GpuLaunch,
  repetitions: number,
): Promise<number | undefined> {
  try {
    return await timer.run(
      (pass) =>
        void encode(
          pass,
          Array.from({ length: repetitions }, () => launch),
        ),
    );
  } catch (error) {
    throw (await lossOf(context)) ?? new InternalError(`timing failed: ${String(error)}`);
  }
}
