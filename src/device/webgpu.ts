// WebGPU, in a browser worker or in Node through the `webgpu` package. One GpuContext (GPUDevice and pipeline cache)
// may serve several ranks of one process; each rank's Device counts its own launches and memory. One encoder and one
// compute pass per submit; readbacks of a submit are packed into one staging buffer. Rejects everything after a loss.

import { DeviceLostError, InternalError, LimitError, NoDeviceError } from '../base/errors.ts';
import { userAgent, withoutAdapter, withoutWebGpu } from '../base/gpu-advice.ts';
import type {
  AdapterInfo,
  CompileProgress,
  Device,
  DeviceBuffer,
  DeviceCounters,
  Launch,
  MemoryTag,
  PlannedLaunch,
  Range,
} from './device.ts';
import { dynamicWords, pipelineConstants, pipelineText } from './params/dynamic.ts';
import { bindingAccess } from './kernel.ts';
import type { DeviceFeatures, Kernel } from './kernel.ts';
import { MemoryLedger, newCounters } from './memory.ts';
import { bytesOf, packReadbacks, StagingRing } from './staging.ts';
import { LaunchSwap } from './tune/swap.ts';
import type { SwappableLaunch } from './tune/swap.ts';
import { UniformArena } from './params/uniform-arena.ts';
import { GpuTimer } from './tune/gpu-timer.ts';
import type { Qualifier } from './tune/qualifier.ts';
import { chooseVariant } from './variant.ts';
import type { Choice, Tuning } from './variant.ts';

interface GpuBuffer extends DeviceBuffer {
  readonly gpu: GPUBuffer;
  freed: boolean;
}
interface GpuLaunch extends Omit<Launch, 'variant'>, SwappableLaunch {
  readonly bindings: GPUBindGroup;
}

/** Usage and mode bits by value: the namespaces are globals in browsers only. */
const USAGE = { COPY_SRC: 4, COPY_DST: 8, STORAGE: 128 } as const;
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|microsoft basic render|\bwarp\b|software/i;

export interface GpuContext {
  readonly device: GPUDevice;
  readonly adapter: AdapterInfo;
  readonly features: DeviceFeatures;
  readonly pipelines: Map<string, Promise<GPUComputePipeline>>;
  readonly uniforms: UniformArena;
  readonly compiling: { asked: number; done: number; readonly listeners: Set<(progress: CompileProgress) => void> };
  readonly lost: Promise<DeviceLostError>;
  /** First error that no scope caught; every later submit rejects with it. */
  failure: Error | undefined;
}

/** Asks for an adapter and a device with the limits that the kernels use. Throws NoDeviceError with what to do. */
export async function openGpu(gpu: GPU | undefined, options: GPURequestAdapterOptions = {}): Promise<GpuContext> {
  if (!gpu)
    throw new NoDeviceError(
      withoutWebGpu(userAgent(), (globalThis as { isSecureContext?: boolean }).isSecureContext !== false),
    );
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance', ...options });
  if (!adapter) throw new NoDeviceError(withoutAdapter(userAgent()));
  const limits = adapter.limits;
  // TypeScript's own list of features lacks `subgroups`.
  const wanted = ['subgroups', 'shader-f16', 'timestamp-query'] as readonly string[] as readonly GPUFeatureName[];
  const device = await adapter.requestDevice({
    requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
    requiredLimits: {
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxBufferSize: limits.maxBufferSize,
      maxStorageBuffersPerShaderStage: Math.min(limits.maxStorageBuffersPerShaderStage, 10),
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
    },
  });
  const { vendor, architecture, description, device: name } = adapter.info;
  const software =
    SOFTWARE.test(`${vendor} ${architecture} ${name} ${description}`) || adapter.info.isFallbackAdapter === true;
  const context: GpuContext = {
    device,
    adapter: { vendor, architecture, description: description || name, software },
    features: {
      subgroupSize: subgroupSize(device),
      f16: device.features.has('shader-f16'),
      reducedPrecision: false,
      software,
      maxWorkgroupStorageBytes: device.limits.maxComputeWorkgroupStorageSize,
      maxInvocations: device.limits.maxComputeInvocationsPerWorkgroup,
    },
    pipelines: new Map(),
    uniforms: new UniformArena(device),
    compiling: { asked: 0, done: 0, listeners: new Set() },
    lost: device.lost.then(
      (info) =>
        (context.failure = new DeviceLostError(info.reason === 'destroyed' ? 'destroyed' : info.message || 'unknown')),
    ),
    failure: undefined,
  };
  device.onuncapturederror = (event) => {
    context.failure ??= new InternalError(`WebGPU: ${event.error.message}`);
  };
  return context;
}

/** The one subgroup size of the adapter; 0 without subgroups, or where it may differ from pipeline to pipeline. */
function subgroupSize({ features, adapterInfo }: GPUDevice): number {
  if (!features.has('subgroups')) return 0;
  const { subgroupMinSize: least, subgroupMaxSize: most } = adapterInfo;
  return least !== undefined && least === most ? least : 0;
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

function compile(context: GpuContext, kernel: Kernel, source: string, label: string): Promise<GPUComputePipeline> {
  const { device } = context;
  const visibility = 4; // GPUShaderStage.COMPUTE
  const types: GPUBufferBindingType[] = Object.values(kernel.bindings).map((spec) =>
    bindingAccess(spec) === 'read' ? 'read-only-storage' : 'storage',
  );
  if (kernel.dynamic) types.push('uniform');
  const entries = types.map((type, binding) => ({ binding, visibility, buffer: { type } }));
  const layout = device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] });
  // The error of a broken shader belongs to this kernel, not to whatever is submitted next.
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code: source, label });
  void device.popErrorScope().catch(() => {
    /* the device is lost: the pipeline rejects too */
  });
  return device.createComputePipelineAsync({ layout, label, compute: { module } }).catch(async (error: unknown) => {
    if (context.failure instanceof DeviceLostError) throw context.failure;
    const info = await module.getCompilationInfo();
    const details = info.messages
      .map((message) => `${message.lineNum}:${message.linePos} ${message.message}`)
      .join('; ');
    throw new InternalError(`${label} does not compile: ${details || String(error)}`);
  });
}

/** Compiled once for a context: by kernel, variant and the constants that are not dynamic. */
function pipelineOf(
  context: GpuContext,
  kernel: Kernel,
  { variant, constants }: Choice,
  counters: DeviceCounters,
): Promise<GPUComputePipeline> {
  const label = `${kernel.name}/${variant.name}`;
  const key = `${label} ${JSON.stringify(pipelineConstants(kernel, variant, constants))}`;
  const known = context.pipelines.get(key);
  if (known) return known;
  const pipeline = compile(context, kernel, pipelineText(kernel, variant, constants), label);
  context.pipelines.set(key, pipeline);
  counters.pipelines++;
  const { compiling } = context;
  const tell = (what: 'asked' | 'done'): void => {
    compiling[what]++;
    for (const listener of compiling.listeners) listener({ asked: compiling.asked, done: compiling.done });
  };
  tell('asked');
  void pipeline
    .finally(() => tell('done'))
    .catch(() => {
      /* told to whoever asked for it */
    });
  return pipeline;
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

/** Copies the ranges one behind the other into `target`. */
function encodeCopies(
  encoder: GPUCommandEncoder,
  ranges: readonly Range[],
  gpuOf: (buffer: DeviceBuffer) => GPUBuffer,
  target: GPUBuffer,
): void {
  let at = 0;
  for (const range of ranges) {
    if (range.bytes) encoder.copyBufferToBuffer(gpuOf(range.buffer), range.offset, target, at, range.bytes);
    at += range.bytes;
  }
}

/** The buffers of one rank. */
class GpuBuffers {
  readonly #gpu: GPUDevice;
  readonly #memory: MemoryLedger;
  readonly #alive = new Set<GpuBuffer>();
  /** An allocation of this rank failed; other ranks of the context go on until they hear of it from their peer. */
  full: LimitError | undefined;

  constructor(gpu: GPUDevice, memory: MemoryLedger) {
    this.#gpu = gpu;
    this.#memory = memory;
  }

  alloc(bytes: number, tag: MemoryTag, label: string): DeviceBuffer {
    const gpu = this.#gpu;
    const size = Math.max(16, Math.ceil(bytes / 4) * 4);
    const most = Math.min(gpu.limits.maxBufferSize, gpu.limits.maxStorageBufferBindingSize);
    if (size > most)
      throw new LimitError(
        `buffer ${label}: ${size} bytes, this adapter takes at most ${most}; use a smaller model or split it over more ranks`,
      );
    gpu.pushErrorScope('out-of-memory');
    const buffer: GpuBuffer = {
      bytes: size,
      tag,
      label,
      freed: false,
      gpu: gpu.createBuffer({ size, usage: USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST, label }),
    };
    void gpu.popErrorScope().then(
      (error) => {
        if (error)
          this.full ??= new LimitError(
            `buffer ${label}: the GPU has no ${size} bytes left; use a smaller model or more ranks`,
          );
      },
      () => {
        /* the device is lost: `lost` and the next submit report it */
      },
    );
    this.#alive.add(buffer);
    this.#memory.add(tag, size);
    return buffer;
  }

  free(buffer: DeviceBuffer): void {
    const own = buffer as GpuBuffer;
    if (own.freed) return;
    own.freed = true;
    own.gpu.destroy();
    this.#alive.delete(own);
    this.#memory.add(own.tag, -own.bytes);
  }

  gpuOf(buffer: DeviceBuffer): GPUBuffer {
    if ((buffer as GpuBuffer).freed) throw new InternalError(`buffer ${buffer.label} was used after free`);
    return (buffer as GpuBuffer).gpu;
  }

  destroy(): void {
    for (const buffer of [...this.#alive]) this.free(buffer);
  }
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

function copyCommands(gpu: GPUDevice, buffers: GpuBuffers, pairs: Parameters<Device['copy']>[0]): GPUCommandBuffer {
  const encoder = gpu.createCommandEncoder();
  for (const { from, to } of pairs)
    encoder.copyBufferToBuffer(
      buffers.gpuOf(from.buffer),
      from.offset,
      buffers.gpuOf(to.buffer),
      to.offset,
      from.bytes,
    );
  return encoder.finish();
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

/** A lost device rejects a map a moment before `device.lost` resolves; the loss is the better news. */
async function lossOf(context: GpuContext): Promise<Error | undefined> {
  return context.failure ?? (await Promise.race([context.lost, Promise.resolve(undefined)]));
}
