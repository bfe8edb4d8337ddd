// Pipelines of a context: compiled once, with errors that name the kernel.

import { DeviceLostError, InternalError } from '../../base/errors.ts';
import type { DeviceCounters } from '../device.ts';
import { bindingAccess } from '../kernel.ts';
import type { Kernel } from '../kernel.ts';
import { pipelineConstants, pipelineText } from '../params/dynamic.ts';
import type { ChosenVariant } from '../variant.ts';
import type { GpuContext } from './context.ts';

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
export function pipelineOf(
  context: GpuContext,
  kernel: Kernel,
  { variant, constants }: ChosenVariant,
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
