// The uniforms that hold the dynamic params of launches (dynamic.ts).

/** Bytes of the uniforms of a page; a launch takes as much as the device aligns to, mostly 256. */
const PAGE_BYTES = 16_384;
const UNIFORM = 64;
const COPY_DST = 8;

/**
 * The uniforms of all launches of a GPUDevice. Launches with equal params share a place, which is written when the
 * first of them is bound and never again, so a replay costs nothing. Places last as long as the device: the plans of
 * the next view ask for the same. Memory: 256 bytes for each distinct set of dynamic params.
 */
export class UniformArena {
  readonly #gpu: GPUDevice;
  readonly #places = new Map<string, GPUBufferBinding>();
  #page: GPUBuffer | undefined;
  #used = PAGE_BYTES;

  constructor(gpu: GPUDevice) {
    this.#gpu = gpu;
  }

  /** Where `words` are. */
  place(words: Uint32Array<ArrayBuffer>): GPUBufferBinding {
    const key = words.join(' ');
    const known = this.#places.get(key);
    if (known) return known;
    if (this.#used + words.byteLength > PAGE_BYTES) {
      this.#page = this.#gpu.createBuffer({ size: PAGE_BYTES, usage: UNIFORM | COPY_DST, label: 'launch params' });
      this.#used = 0;
    }
    const buffer = this.#page!;
    const place = { buffer, offset: this.#used, size: Math.ceil(words.byteLength / 16) * 16 };
    this.#gpu.queue.writeBuffer(buffer, this.#used, words);
    const step = this.#gpu.limits.minUniformBufferOffsetAlignment;
    this.#used += Math.ceil(place.size / step) * step;
    this.#places.set(key, place);
    return place;
  }
}
