// Blocks of one WebAssembly memory, first fit, merged when they are freed. Addresses are multiples of ALIGNMENT, as
// offsets of bindings are.

import { InternalError, LimitError } from '../../base/errors.ts';

export const PAGE_BYTES = 65536;
const ALIGNMENT = 256;
/** The memory grows by at least this share, so that many small blocks grow it seldom. */
const GROWTH = 1 / 4;

interface Gap {
  at: number;
  bytes: number;
}

export class Heap {
  readonly memory: WebAssembly.Memory;
  readonly #gaps: Gap[] = [];
  readonly #taken = new Map<number, number>();
  readonly #mostBytes: number;
  #end: number;

  /** All of `memory` from `start` on, and what it can grow to: `mostBytes` at most. */
  constructor(memory: WebAssembly.Memory, start: number, mostBytes: number) {
    this.memory = memory;
    this.#mostBytes = mostBytes;
    this.#end = memory.buffer.byteLength;
    const at = roundUp(start, ALIGNMENT);
    if (this.#end > at) this.#gaps.push({ at, bytes: this.#end - at });
    else this.#end = at;
  }

  /** The address of `bytes` zeros. Throws LimitError when the memory cannot grow. */
  alloc(bytes: number, label: string): number {
    const size = roundUp(Math.max(bytes, 4), ALIGNMENT);
    let i = this.#gaps.findIndex((gap) => gap.bytes >= size);
    if (i < 0) {
      this.#grow(size, bytes, label);
      i = this.#gaps.length - 1;
    }
    const gap = this.#gaps[i]!;
    const { at } = gap;
    if (gap.bytes === size) this.#gaps.splice(i, 1);
    else {
      gap.at += size;
      gap.bytes -= size;
    }
    this.#taken.set(at, size);
    new Uint8Array(this.memory.buffer, at, size).fill(0);
    return at;
  }

  free(at: number): void {
    const bytes = this.#taken.get(at);
    if (bytes === undefined) throw new InternalError(`block ${at} is not taken`);
    this.#taken.delete(at);
    let i = this.#gaps.findIndex((gap) => gap.at > at);
    if (i < 0) i = this.#gaps.length;
    this.#gaps.splice(i, 0, { at, bytes });
    this.#join(i);
    if (i > 0) this.#join(i - 1);
  }

  /** With its successor, if they touch. */
  #join(i: number): void {
    const [gap, next] = [this.#gaps[i]!, this.#gaps[i + 1]];
    if (!next || gap.at + gap.bytes !== next.at) return;
    gap.bytes += next.bytes;
    this.#gaps.splice(i + 1, 1);
  }

  /** Leaves a gap of at least `size` bytes at the end. */
  #grow(size: number, bytes: number, label: string): void {
    const last = this.#gaps.at(-1);
    const open = last && last.at + last.bytes === this.#end ? last.bytes : 0;
    const least = size - open;
    for (const wanted of [Math.max(least, this.#end * GROWTH), least]) {
      const pages = Math.ceil(wanted / PAGE_BYTES);
      if (this.#end + pages * PAGE_BYTES > this.#mostBytes || !grown(this.memory, pages)) continue;
      if (open > 0) last!.bytes += pages * PAGE_BYTES;
      else this.#gaps.push({ at: this.#end, bytes: pages * PAGE_BYTES });
      this.#end += pages * PAGE_BYTES;
      return;
    }
    const taken = [...this.#taken.values()].reduce((sum, block) => sum + block, 0);
    throw new LimitError(
      `buffer ${label}: expected ${bytes} bytes beside ${taken} in use, got no more than ${this.#end} from this browser's WebAssembly; use a smaller model or more ranks`,
    );
  }
}

function grown(memory: WebAssembly.Memory, pages: number): boolean {
  try {
    memory.grow(pages);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function roundUp(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}
