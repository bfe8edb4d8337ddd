// WebAssembly with 128-bit vectors, for machines without a GPU: every buffer of a rank is a block of one memory, and a
// launch is one call with the addresses of its bindings and its params. A kernel without WebAssembly (x.as.ts) runs its
// reference on the same memory. With threads, those of a launch share its rows, and give the same bits as one.

import { DeviceLostError, InternalError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import { typedView } from '../base/shape.ts';
import { CPU_FEATURES } from './cpu.ts';
import type { AdapterInfo, Device, DeviceBuffer, MemoryTag, Range } from './device.ts';
import { HostQueue } from './host-queue.ts';
import type { HostLaunch } from './host-queue.ts';
import { bindingDType } from './kernel.ts';
import type { Kernel, Params } from './kernel.ts';
import { MemoryLedger, newCounters } from './memory.ts';
import { Heap } from './wasm/heap.ts';
import { openInstance } from './wasm/instance.ts';
import type { WasmInstance } from './wasm/instance.ts';
import { wasmBuild } from './wasm/module.ts';

interface WasmBuffer extends DeviceBuffer {
  /** 0 when it is freed. */
  at: number;
}

/** Operations in some milliseconds; a byte that crosses memory counts as WORK_PER_BYTE. */
const BREATH_WORK = 2e8;
const WORK_PER_BYTE = 4;

export interface WasmOptions {
  /** Bytes that the memory may grow to; 4 GiB by default, as much as there is. */
  readonly mostBytes?: number;
}

const MOST_BYTES = 2 ** 32;

/** Throws NoDeviceError where the engine has no vectors. */
export async function createWasmDevice({ mostBytes = MOST_BYTES }: WasmOptions = {}): Promise<Device> {
  const build = await wasmBuild(false);
  const instance = await openInstance(build);
  return deviceOf(instance, adapterOf(build.relaxed, 1), mostBytes);
}

function adapterOf(relaxed: boolean, threads: number): AdapterInfo {
  return {
    vendor: 'tabmesh',
    architecture: relaxed ? 'wasm-relaxed-simd' : 'wasm-simd',
    description: `WebAssembly SIMD${relaxed ? ' with fused multiply-add' : ''}, ${threads === 1 ? '1 thread' : `${threads} threads`}`,
    software: true,
  };
}

function deviceOf(instance: WasmInstance, adapter: AdapterInfo, mostBytes: number): Device {
  const counters = newCounters();
  const ledger = new MemoryLedger();
  const heap = new Heap(instance.memory, instance.heapStart, mostBytes);
  const addressOf = ({ buffer, offset }: Range): number => {
    const { at } = buffer as WasmBuffer;
    if (at === 0) throw new InternalError(`buffer ${buffer.label} was used after free`);
    return at + offset;
  };
  const bytesOf = (range: Range): Uint8Array => new Uint8Array(heap.memory.buffer, addressOf(range), range.bytes);
  // A copy that is not of the shared memory.
  const read = (range: Range): ArrayBuffer => bytesOf(range).slice().buffer as ArrayBuffer;
  const queue = new HostQueue(counters, BREATH_WORK, read);
  let lose: (error: DeviceLostError) => void = () => {};
  const lost = new Promise<DeviceLostError>((resolve) => {
    lose = resolve;
  });
  let gone: DeviceLostError | undefined;
  const checkAlive = (): void => {
    if (gone) throw gone;
  };

  return {
    kind: 'wasm',
    adapter,
    features: CPU_FEATURES,
    counters,
    memory: ledger.byTag,
    lost,
    alloc(bytes, tag: MemoryTag, label) {
      const buffer: WasmBuffer = { bytes, tag, label, at: heap.alloc(bytes, label) };
      ledger.add(tag, bytes);
      return buffer;
    },
    free(buffer) {
      queue.finish();
      const { at } = buffer as WasmBuffer;
      if (at === 0) return;
      heap.free(at);
      (buffer as WasmBuffer).at = 0;
      ledger.add(buffer.tag, -buffer.bytes);
    },
    write(buffer, offset, data) {
      queue.finish();
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      bytesOf({ buffer, offset, bytes: bytes.length }).set(bytes);
      counters.bytesWritten += bytes.length;
    },
    copy(pairs) {
      queue.finish();
      for (const { from, to } of pairs) bytesOf(to).set(bytesOf(from));
    },
    async prepare(kernel: Kernel, params: Params, io: Readonly<Record<string, Range>>) {
      const { flops, bytes } = kernel.cost(params);
      const work = flops + WORK_PER_BYTE * bytes;
      const own = instance.kernels[kernel.name];
      const ranges = Object.keys(kernel.bindings).map((name) => {
        const range = io[name];
        if (!range) throw new InternalError(`${kernel.name}: binding ${name} is missing`);
        return range;
      });
      const call = own && [...ranges.map(addressOf), ...Object.keys(kernel.params).map((name) => params[name]!)];
      const run = call ? () => own(...call, 0, 1) : () => kernel.reference(viewsOf(kernel, ranges), params);
      const launch: HostLaunch = { kernel: kernel.name, variant: own ? 'wasm' : 'reference', flops, work, run };
      return launch;
    },
    async submit(launches, readback = []) {
      checkAlive();
      counters.submits++;
      return queue.run(launches as readonly HostLaunch[], readback, checkAlive);
    },
    async idle() {},
    destroy() {
      gone ??= new DeviceLostError('destroyed');
      lose(gone);
    },
  };

  function viewsOf(kernel: Kernel, ranges: readonly Range[]): Record<string, TypedArray> {
    return Object.fromEntries(
      Object.entries(kernel.bindings).map(([name, spec], i) => [
        name,
        typedView(bindingDType(spec), heap.memory.buffer as ArrayBuffer, addressOf(ranges[i]!), ranges[i]!.bytes / 4),
      ]),
    );
  }
}
