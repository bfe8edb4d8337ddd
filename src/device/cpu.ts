// The references as a device: every launch runs the kernel's f64 reference on host arrays. Plans, layouts and
// collectives run on it without a GPU, N ranks in one process; it is the truth, not a fast path.

import { DeviceLostError, InternalError, LimitError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import { typedView } from '../base/shape.ts';
import { nextTask } from '../base/world.ts';
import type { AdapterInfo, Device, DeviceBuffer, Launch, MemoryTag, Range } from './device.ts';
import { bindingDType } from './kernel.ts';
import type { DeviceFeatures, Kernel, Params } from './kernel.ts';
import { MemoryLedger } from './memory.ts';

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

export function createCpuDevice(): Device {
  const counters = { launches: 0, submits: 0, readbacks: 0, bytesRead: 0, bytesWritten: 0, pipelines: 0 };
  const memory = new MemoryLedger();
  const adapter: AdapterInfo = {
    vendor: 'tabmesh',
    architecture: 'reference',
    description: 'f64 references on the CPU',
    software: true,
  };
  const features: DeviceFeatures = {
    subgroupSize: 0,
    f16: false,
    reducedPrecision: false,
    software: true,
    maxWorkgroupStorageBytes: 16384,
    maxInvocations: 256,
  };
  let lose: (error: DeviceLostError) => void = () => {};
  const lost = new Promise<DeviceLostError>((resolve) => {
    lose = resolve;
  });
  let gone: DeviceLostError | undefined;

  const bytesOf = (buffer: DeviceBuffer): ArrayBuffer => {
    const data = (buffer as CpuBuffer).data;
    if (!data) throw new InternalError(`buffer ${buffer.label} was used after free`);
    return data;
  };
  const read = (range: Range): ArrayBuffer => bytesOf(range.buffer).slice(range.offset, range.offset + range.bytes);

  // A queue: what is written or submitted later sees all of what was submitted before, though that lets other tasks in
  // between.
  let current: Submission | undefined;
  let sinceBreath = 0;
  const runNext = (submission: Submission): void => {
    submission.launches[submission.next++].run();
    counters.launches++;
  };
  const finish = (submission: Submission): void => {
    if (submission.results) return;
    while (submission.next < submission.launches.length) runNext(submission);
    if (submission.readback.length) counters.readbacks++;
    submission.results = submission.readback.map((range) => {
      counters.bytesRead += range.bytes;
      return read(range);
    });
    if (current === submission) current = undefined;
  };
  const finishCurrent = (): void => {
    if (current) finish(current);
  };

  return {
    kind: 'cpu',
    adapter,
    features,
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
      finishCurrent();
      if (!(buffer as CpuBuffer).data) return;
      (buffer as CpuBuffer).data = undefined;
      memory.add(buffer.tag, -buffer.bytes);
    },
    write(buffer, offset, data) {
      finishCurrent();
      new Uint8Array(bytesOf(buffer)).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
      counters.bytesWritten += data.byteLength;
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
      if (gone) throw gone;
      counters.submits++;
      finishCurrent();
      const own: Submission = { launches: launches as readonly CpuLaunch[], next: 0, readback };
      current = own;
      // A GPU would leave this thread free to hear a stop, a pause or a signal.
      while (current === own && own.next < own.launches.length) {
        sinceBreath += own.launches[own.next].flops;
        runNext(own);
        if (sinceBreath < BREATH_FLOPS) continue;
        sinceBreath = 0;
        await nextTask();
        if (gone) throw gone;
      }
      finish(own);
      return own.results!;
    },
    async idle() {},
    destroy() {
      gone = new DeviceLostError('destroyed');
      lose(gone);
    },
  };
}
