// Times a compute pass with timestamp queries, where the device has them. Browsers round timestamps (to 65 or 100 us),
// and some drivers give zeros, so the number is a claim to compare with the wall clock, not the truth.

const USAGE = { MAP_READ: 1, COPY_SRC: 4, COPY_DST: 8, QUERY_RESOLVE: 0x200 } as const;
const MAP_READ_MODE = 1;
const BYTES = 16;

export class GpuTimer {
  readonly #gpu: GPUDevice;
  readonly #parts:
    { readonly queries: GPUQuerySet; readonly resolved: GPUBuffer; readonly staging: GPUBuffer } | undefined;

  constructor(gpu: GPUDevice) {
    this.#gpu = gpu;
    if (!gpu.features.has('timestamp-query')) return;
    this.#parts = {
      queries: gpu.createQuerySet({ type: 'timestamp', count: 2 }),
      resolved: gpu.createBuffer({ size: BYTES, usage: USAGE.QUERY_RESOLVE | USAGE.COPY_SRC, label: 'timestamps' }),
      staging: gpu.createBuffer({ size: BYTES, usage: USAGE.MAP_READ | USAGE.COPY_DST, label: 'timestamps' }),
    };
  }

  /** Runs one pass and waits for it. Resolves to the GPU's ms, undefined without timestamps. One call at a time. */
  async run(encode: (pass: GPUComputePassEncoder) => void): Promise<number | undefined> {
    const encoder = this.#gpu.createCommandEncoder();
    const parts = this.#parts;
    const pass = encoder.beginComputePass(
      parts
        ? { timestampWrites: { querySet: parts.queries, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } }
        : {},
    );
    encode(pass);
    pass.end();
    if (!parts) {
      this.#gpu.queue.submit([encoder.finish()]);
      await this.#gpu.queue.onSubmittedWorkDone();
      return undefined;
    }
    const { queries, resolved, staging } = parts;
    encoder.resolveQuerySet(queries, 0, 2, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, BYTES);
    this.#gpu.queue.submit([encoder.finish()]);
    await staging.mapAsync(MAP_READ_MODE);
    const [begin, end] = new BigUint64Array(staging.getMappedRange().slice(0));
    staging.unmap();
    return Number(end - begin) / 1e6;
  }

  destroy(): void {
    this.#parts?.queries.destroy();
    this.#parts?.resolved.destroy();
    this.#parts?.staging.destroy();
  }
}
