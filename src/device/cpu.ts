// The references as a device: every launch runs the kernel's f64 reference on host arrays. Plans, layouts and
// collectives run on it without a GPU, N ranks in one process; it is the truth, not a fast path.

import { DeviceLostError, InternalError, LimitError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import { typedView } from '../base/shape.ts';
import { nextTask } from '../base/world.ts';
import type { AdapterInfo, Device, DeviceBuffer, DeviceCounters, Launch, MemoryTag, Range } from './device.ts';
import { bindingDType } from './kernel.ts';
import type { DeviceFeatures, Kernel, Params } from './kernel.ts';
import { MemoryLedger, newCounters } from './memory.ts';

interface CpuBuffer extends DeviceBuffer {
  data: ArrayBuffer | undefined;
}
interface CpuLaunch extends Launch {
  run(): void;
}

interface Submission {
  readonly launches: readonly CpuLaunch[];
  next: number;
  readonly readback: readonly Range[];
  results?: ArrayBuffer[];
}

/** Some milliseconds of references between two tasks of the thread, counted over submits. */
const BREATH_FLOPS = 2_000_000;
const MAX_BUFFER_BYTES = 2 ** 31 - 1;

const ADAPTER: AdapterInfo = {
  vendor: 'tabmesh',
  architecture: 'reference',
  description: 'f64 references on the CPU',
  software: true,
};
/** Of a device that has no GPU: what a kernel's variants may ask for. */
export const CPU_FEATURES: DeviceFeatures = {
  subgroupSize: 0,
  f16: false,
  reducedPrecision: false,
  software: true,
  maxWorkgroupStorageBytes: 16384,
  maxInvocations: 256,
};

function bytesOf(buffer: DeviceBuffer): ArrayBuffer {
  const data = (buffer as CpuBuffer).data;
  if (!data) throw new InternalError(`buffer ${buffer.label} was used after free`);
  return data;
}

function read(range: Range): ArrayBuffer {
  return bytesOf(range.buffer).slice(range.offset, range.offset + range.bytes);
}

/**
 * What is written or submitted later sees all of what was submitted before, though a submission lets other tasks of the
 * thread in between.
 */
class Queue {
  readonly #counters: DeviceCounters;
  #current: Submission | undefined;
  #sinceBreath = 0;

  constructor(counters: DeviceCounters) {
    this.#counters = counters;
  }

  /** Of what is under way, all that is left, now. */
  finish(): void {
    if (this.#current) this.#finish(this.#current);
  }

  /** `check` throws when the device is gone. */
  async run(
    launches: readonly CpuLaunch[],
    readback: readonly Range[],
    check: () => void,
  ): Promise<readonly ArrayBuffer[]> {
    this.finish();
    const own: Submission = { launches, next: 0, readback };
    this.#current = own;
    // A GPU would leave this thread free to hear a stop, a pause or a signal.
    while (this.#current === own && own.next < launches.length) {
      this.#sinceBreath += launches[own.next].flops;
      this.#runNext(own);
      if (this.#sinceBreath < BREATH_FLOPS) continue;
      this.#sinceBreath = 0;
      await nextTask();
      check();
    }
    this.#finish(own);
    return own.results!;
  }

  #runNext(submission: Submission): void {
    submission.launches[submission.next++].run();
    this.#counters.launches++;
  }

  #finish(submission: Submission): void {
    if (submission.results) return;
    while (submission.next < submission.launches.length) this.#runNext(submission);
    if (submission.readback.length) this.#counters.readbacks++;
    submission.results = submission.readback.map((range) => {
      this.#counters.bytesRead += range.bytes;
      return read(range);
    });
    if (this.#current === submission) this.#current = undefined;
  }
}

export function createCpuDevice(): Device {
  const counters = newCounters();
  const memory = new MemoryLedger();
  const queue = new Queue(counters);
  let lose: (error: DeviceLostError) => void = () => {};
  const lost = new Promise<DeviceLostError>((resolve) => {
    lose = resolve;
  });
  let gone: DeviceLostError | undefined;
  const checkAlive = (): void => {
    if (gone) throw gone;
  };

  return {
    kind: 'cpu',
    adapter: ADAPTER,
    features: CPU_FEATURES,
    counters,
    memory: memory.byTag,
    lost,
    alloc(bytes, tag: MemoryTag, label) {
      if (bytes > MAX_BUFFER_BYTES)
        throw new LimitError(
          `buffer ${label}: ${bytes} bytes, at most ${MAX_BUFFER_BYTES} fit; use a smaller model or more ranks`,
        );
      memory.add(tag, bytes);
      const buffer: CpuBuffer = { bytes, tag, label, data: new ArrayBuffer(bytes) };
      return buffer;
    },
    free(buffer) {
      queue.finish();
      if (!(buffer as CpuBuffer).data) return;
      (buffer as CpuBuffer).data = undefined;
      memory.add(buffer.tag, -buffer.bytes);
    },
    write(buffer, offset, data) {
      queue.finish();
      new Uint8Array(bytesOf(buffer)).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
      counters.bytesWritten += data.byteLength;
    },
    copy(pairs) {
      queue.finish();
      for (const { from, to } of pairs) new Uint8Array(bytesOf(to.buffer)).set(new Uint8Array(read(from)), to.offset);
    },
    async prepare(kernel: Kernel, params: Params, io: Readonly<Record<string, Range>>) {
      const views: Record<string, TypedArray> = {};
      for (const [name, spec] of Object.entries(kernel.bindings)) {
        const range = io[name];
        if (!range) throw new InternalError(`${kernel.name}: binding ${name} is missing`);
        views[name] = typedView(bindingDType(spec), bytesOf(range.buffer), range.offset, range.bytes / 4);
      }
      const launch: CpuLaunch = {
        kernel: kernel.name,
        variant: 'reference',
        flops: kernel.cost(params).flops,
        run: () => kernel.reference(views, params),
      };
      return launch;
    },
    async submit(launches, readback = []) {
      checkAlive();
      counters.submits++;
      return queue.run(launches as readonly CpuLaunch[], readback, checkAlive);
    },
    async idle() {},
    destroy() {
      gone = new DeviceLostError('destroyed');
      lose(gone);
    },
  };
}
