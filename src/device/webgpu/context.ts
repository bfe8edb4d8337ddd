// The GPUDevice that the ranks of one process share: asked for with the limits and features that kernels use, and what
// is known of it, its loss too.

import { DeviceLostError, InternalError, NoDeviceError } from '../../base/errors.ts';
import { userAgent, withoutAdapter, withoutWebGpu } from '../../base/gpu-advice.ts';
import type { AdapterInfo, CompileProgress } from '../device.ts';
import type { DeviceFeatures } from '../kernel.ts';
import { UniformArena } from '../params/uniform-arena.ts';

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
  const software = isSoftware(adapter.info);
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

/** Whether it emulates a GPU on the processor. */
export function isSoftware(info: GPUAdapterInfo): boolean {
  const { vendor, architecture, description, device } = info;
  return SOFTWARE.test(`${vendor} ${architecture} ${device} ${description}`) || info.isFallbackAdapter === true;
}

/** The one subgroup size of the adapter; 0 without subgroups, or where it may differ from pipeline to pipeline. */
function subgroupSize({ features, adapterInfo }: GPUDevice): number {
  if (!features.has('subgroups')) return 0;
  const { subgroupMinSize: least, subgroupMaxSize: most } = adapterInfo;
  return least !== undefined && least === most ? least : 0;
}

/** A lost device rejects a map a moment before `device.lost` resolves; the loss is the better news. */
export async function lossOf(context: GpuContext): Promise<Error | undefined> {
  return context.failure ?? (await Promise.race([context.lost, Promise.resolve(undefined)]));
}
