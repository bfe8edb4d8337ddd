// The buffers of one rank on a shared GPUDevice, and copies between them.

import { InternalError, LimitError } from '../../base/errors.ts';
import type { Device, DeviceBuffer, MemoryTag, Range } from '../device.ts';
import type { MemoryLedger } from '../memory.ts';

interface GpuBuffer extends DeviceBuffer {
  readonly gpu: GPUBuffer;
  freed: boolean;
}

/** Usage and mode bits by value: the namespaces are globals in browsers only. */
const USAGE = { COPY_SRC: 4, COPY_DST: 8, STORAGE: 128 } as const;

/** The buffers of one rank. */
export class GpuBuffers {
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

/** Copies the ranges one behind the other into `target`. */
export function encodeCopies(
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

export function copyCommands(
  gpu: GPUDevice,
  buffers: GpuBuffers,
  pairs: Parameters<Device['copy']>[0],
): GPUCommandBuffer {
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
