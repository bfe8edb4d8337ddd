// The references as a device: every launch runs the kernel's f64 reference on host arrays. Plans, layouts and
// collectives run on it without a GPU, N ranks in one process; it is the truth, not a fast path.

import { DeviceLostError, InternalError, LimitError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import { typedView } from '../base/shape.ts';
import type { AdapterInfo, Device, DeviceBuffer, MemoryTag, Range } from './device.ts';
import { HostQueue } from './host-queue.ts';
import type { HostLaunch } from './host-queue.ts';
import { bindingDType } from './kernel.ts';
import type { DeviceFeatures, Kernel, Params } from './kernel.ts';
import { MemoryLedger, newCounters } from './memory.ts';

interface CpuBuffer extends DeviceBuffer {
  data: ArrayBuffer | undefined;
}
/** Some milliseconds of references. */
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

export function createCpuDevice(): Device {
  const counters = newCounters();
  const memory = new MemoryLedger();
  const queue = new HostQueue(counters, BREATH_FLOPS, read);
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
      const { flops } = kernel.cost(params);
      const launch: HostLaunch = {
        kernel: kernel.name,
        variant: 'reference',
        flops,
        work: flops,
        run: () => kernel.reference(views, params),
      };
      return launch;
    },
    async submit(launches, readback = []) {
      checkAlive();
      counters.submits++;
      return queue.run(launches as readonly HostLaunch[], readback, checkAlive);
    },
    async idle() {},
    destroy() {
      gone = new DeviceLostError('destroyed', 'the device of references');
      lose(gone);
    },
  };
}
