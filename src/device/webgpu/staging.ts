// Readback buffers of a WebGPU device, reused by size class (powers of two, no larger than the adapter takes); several
// may be in flight. What is read at once is packed into as few of them as fit.

import type { Range } from '../device.ts';
import type { MemoryLedger } from '../memory.ts';

const USAGE = { MAP_READ: 1, COPY_DST: 8 } as const;
const MAP_READ_MODE = 1;
const LEAST_BYTES = 256;

export function bytesOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The size class of a readback of `bytes`, which is at most `most`, the largest buffer of the adapter. */
export function stagingBytes(bytes: number, most: number): number {
  return Math.max(Math.ceil(bytes / 4) * 4, Math.min(most, Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(bytes)))));
}

/** Cuts the list of ranges, in order, into runs of at most `most` bytes; no range is larger. */
export function packReadbacks(ranges: readonly Range[], most: number): readonly (readonly Range[])[] {
  const runs: Range[][] = [];
  let room = 0;
  for (const range of ranges) {
    if (!runs.length || range.bytes > room) {
      runs.push([]);
      room = most;
    }
    runs.at(-1)!.push(range);
    room -= range.bytes;
  }
  return runs;
}

export class StagingRing {
  readonly #gpu: GPUDevice;
  readonly #memory: MemoryLedger;
  readonly #free = new Map<number, GPUBuffer[]>();
  #total = 0;

  constructor(gpu: GPUDevice, memory: MemoryLedger) {
    this.#gpu = gpu;
    this.#memory = memory;
  }

  take(bytes: number): GPUBuffer {
    const size = stagingBytes(bytes, this.#gpu.limits.maxBufferSize);
    const reused = this.#free.get(size)?.pop();
    if (reused) return reused;
    this.#memory.add('staging', size);
    this.#total += size;
    return this.#gpu.createBuffer({ size, usage: USAGE.MAP_READ | USAGE.COPY_DST, label: 'staging' });
  }

  /** `failed` says what is wrong with the device, given what the map rejected with or, after a map, nothing. */
  async map(
    buffer: GPUBuffer,
    ranges: readonly Range[],
    failed: (error?: unknown) => Promise<Error | undefined>,
  ): Promise<readonly ArrayBuffer[]> {
    const bytes = bytesOf(ranges);
    try {
      await buffer.mapAsync(MAP_READ_MODE, 0, bytes);
    } catch (error) {
      throw await failed(error);
    }
    const failure = await failed();
    if (failure) throw failure;
    const mapped = buffer.getMappedRange(0, bytes);
    let at = 0;
    const parts = ranges.map((range) => {
      const part = mapped.slice(at, at + range.bytes);
      at += range.bytes;
      return part;
    });
    buffer.unmap();
    const list = this.#free.get(buffer.size);
    if (list) list.push(buffer);
    else this.#free.set(buffer.size, [buffer]);
    return parts;
  }

  destroy(): void {
    for (const list of this.#free.values()) for (const buffer of list) buffer.destroy();
    this.#free.clear();
    this.#memory.add('staging', -this.#total);
    this.#total = 0;
  }
}
