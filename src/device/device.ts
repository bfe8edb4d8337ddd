// What a plan needs from a machine: buffers, compiled launches, one submit per plan segment, packed readbacks.
// Three implementations: webgpu.ts (browser worker; Node through the `webgpu` package), wasm.ts, and cpu.ts (the
// kernels' references).

import type { DeviceLostError } from '../base/errors.ts';
import type { DeviceFeatures, Kernel, Params } from './kernel.ts';
import type { Certificate } from './tune/certificate.ts';
import type { ChosenVariant } from './variant.ts';

export type MemoryTag = 'param' | 'grad' | 'optimizer' | 'activation' | 'input' | 'staging';

export interface DeviceBuffer {
  readonly bytes: number;
  readonly tag: MemoryTag;
  readonly label: string;
}

/** A run of bytes of one buffer. `offset` must be a multiple of 256 where it is bound to a kernel, of 4 elsewhere. */
export interface Range {
  readonly buffer: DeviceBuffer;
  readonly offset: number;
  readonly bytes: number;
}

/** A compiled kernel with its bind group; made once, submitted many times. */
export interface Launch {
  readonly kernel: string;
  readonly variant: string;
  readonly flops: number;
}

/** A launch that a plan will make, and how often. */
export interface PlannedLaunch {
  readonly kernel: Kernel;
  readonly params: Params;
  readonly count: number;
}

export interface AdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly description: string;
  /** True for SwiftShader, lavapipe, WARP and for the cpu device: correct, but slow. */
  readonly software: boolean;
  /** WebAssembly: threads that compute. */
  readonly threads?: number;
}

export interface DeviceCounters {
  launches: number;
  submits: number;
  readbacks: number;
  bytesRead: number;
  bytesWritten: number;
  pipelines: number;
}

/** Pipelines of a GPUDevice, over all ranks that share it. */
export interface CompileProgress {
  readonly asked: number;
  readonly done: number;
}

/** What is left to do on a device that began at once, with variants that compile quickly. */
export interface Later {
  /**
   * A slice of checking and measuring, between two steps. Rejects with ComputedWronglyError when a variant that ran
   * until now is wrong, with DeviceLostError after a loss.
   */
  work(): Promise<void>;
  /** Nothing is left to check or measure, and what should run from now on is compiled. */
  readonly settled: boolean;
  /**
   * Makes that run. The ranks of a run call it between the same two steps. Returns how many kinds of launches changed.
   */
  swap(): number;
}

export interface Device {
  readonly kind: 'webgpu' | 'cpu' | 'wasm';
  readonly adapter: AdapterInfo;
  readonly features: DeviceFeatures;
  /** Counted since the device was made; a plan's cost is a difference of two snapshots. */
  readonly counters: Readonly<DeviceCounters>;
  /** Bytes alive now and at the peak, by tag. */
  readonly memory: Readonly<Record<MemoryTag, { readonly now: number; readonly peak: number }>>;
  /** Zero-filled. Throws LimitError above the adapter's limits. The caller frees it. */
  alloc(bytes: number, tag: MemoryTag, label: string): DeviceBuffer;
  free(buffer: DeviceBuffer): void;
  /** Copies `data` into `buffer` at byte `offset`, ordered with submits. */
  write(buffer: DeviceBuffer, offset: number, data: ArrayBufferView): void;
  /** Copies `from` to `to`, as long and of another buffer, ordered with submits and writes. */
  copy(pairs: readonly { readonly from: Range; readonly to: Range }[]): void;
  /**
   * Compiles (cached by kernel, params and constants) and binds. Resolves when the pipeline is ready. With `choice`,
   * that variant instead of the device's own.
   */
  prepare(kernel: Kernel, params: Params, io: Readonly<Record<string, Range>>, choice?: ChosenVariant): Promise<Launch>;
  /**
   * Checks and tunes the variants of launches that are about to be prepared; absent on devices without a qualifier.
   * Resolves to what was found out since the device was made (with no launches: without new work). Rejects with
   * SelfCheckError where no variant is right.
   */
  qualify?(launches: readonly PlannedLaunch[]): Promise<Certificate>;
  /** Absent on devices that check and measure before they train, or not at all. */
  readonly later?: Later;
  /**
   * Calls `listener` whenever a pipeline was asked for or is done, until the returned function is called. Absent where
   * nothing is compiled.
   */
  onCompile?(listener: (progress: CompileProgress) => void): () => void;
  /**
   * Runs `launch` `repetitions` times in one pass; resolves when it is done, to the GPU's own ms if it has timestamps.
   * One call at a time.
   */
  time?(launch: Launch, repetitions: number): Promise<number | undefined>;
  /**
   * Runs launches in order in one submit. With `readback`, resolves to the bytes of those ranges after the launches
   * (one staging buffer, one map); without, resolves at once with an empty list. Rejects with DeviceLostError after a
   * loss.
   */
  submit(launches: readonly Launch[], readback?: readonly Range[]): Promise<readonly ArrayBuffer[]>;
  /** Resolves when all submitted work is done. */
  idle(): Promise<void>;
  /** Resolves (never rejects) when the GPU goes away. */
  readonly lost: Promise<DeviceLostError>;
  destroy(): void;
}
