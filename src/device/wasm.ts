// WebAssembly with 128-bit vectors, for machines without a GPU: every buffer of a rank is a block of one memory, and a
// launch is one call with the addresses of its bindings and its params. A kernel without WebAssembly (x.as.ts) runs its
// reference on the same memory. With threads, those of a launch share its rows, and give the same bits as one.

import { DeviceLostError, InternalError, LimitError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import { typedView } from '../base/shape.ts';
import type { World } from '../base/world.ts';
import { CPU_FEATURES } from './cpu.ts';
import type { AdapterInfo, Device, DeviceBuffer, MemoryTag, PlannedLaunch, Range } from './device.ts';
import { HostQueue } from './host-queue.ts';
import type { HostLaunch } from './host-queue.ts';
import { bindingDType } from './kernel.ts';
import type { Kernel, Params } from './kernel.ts';
import { MemoryLedger, newCounters } from './memory.ts';
import { Heap } from './wasm/heap.ts';
import { openInstance } from './wasm/instance.ts';
import type { WasmInstance } from './wasm/instance.ts';
import { wasmBuild } from './wasm/module.ts';
import type { WasmBuild } from './wasm/module.ts';
import { ThreadPool } from './wasm/pool.ts';
import type { SpawnThread } from './wasm/pool.ts';
import { WasmSelfCheck } from './wasm/self-check.ts';
import { gflopsOf, ThreadGain } from './wasm/thread-gain.ts';

interface WasmBuffer extends DeviceBuffer {
  /** 0 when it is freed. */
  at: number;
}

/** Operations in some milliseconds; a byte that crosses memory counts as WORK_PER_BYTE. */
const BREATH_WORK = 2e8;
const WORK_PER_BYTE = 4;
/** Below it, waking the threads costs more than they save: some 25 microseconds of one. */
const LEAST_SHARED_WORK = 1e6;
const MOST_BYTES = 2 ** 32;
/** What an error says is lost with this device. */
const WHAT = 'the WebAssembly device';

export interface WasmOptions {
  /** Bytes that the memory may grow to; 4 GiB by default, as much as there is. */
  readonly mostBytes?: number;
  /** Threads that compute, this one included; 1 by default. More need `spawn` and shared memory, or it stays at one. */
  readonly threads?: number;
  readonly spawn?: SpawnThread;
  /**
   * With it, threads are used only while they are measured to help, the adapter's description tells the speed of
   * products, and kernels are checked before they train.
   */
  readonly world?: World;
  /** Operations from which on a launch is shared; by default what pays. */
  readonly leastSharedWork?: number;
  /** The compiled kernels, for shared memory or one thread's; by default the package's. */
  readonly build?: (shared: boolean) => Promise<WasmBuild>;
}

/** Throws NoDeviceError where the engine has no vectors. */
export async function createWasmDevice(options: WasmOptions = {}): Promise<Device> {
  const { mostBytes = MOST_BYTES, threads = 1, spawn, world, build: open = wasmBuild } = options;
  const { leastSharedWork = LEAST_SHARED_WORK } = options;
  const wanted = spawn && canShare() ? Math.max(1, Math.floor(threads)) : 1;
  let lose: (error: DeviceLostError) => void = () => {};
  const lost = new Promise<DeviceLostError>((resolve) => {
    lose = resolve;
  });
  if (wanted > 1) {
    const build = await open(true);
    const instance = await openInstance(build, wanted);
    // Where no thread can be started (a policy of the page, no memory for its stack) one computes alone.
    const pool = await ThreadPool.open(build, instance, wanted, spawn!, lose).catch((error: unknown) => String(error));
    if (typeof pool !== 'string') {
      const gain = world && new ThreadGain(pool, instance, world);
      const adapter = adapterOf(build.relaxed, wanted, gain?.gflops);
      return deviceOf({ instance, pool, gain, adapter, mostBytes, leastSharedWork, world, lost, lose });
    }
  }
  const build = await open(false);
  const instance = await openInstance(build, 1);
  const adapter = adapterOf(build.relaxed, 1, world && gflopsOf(instance, world));
  return deviceOf({ instance, adapter, mostBytes, leastSharedWork, world, lost, lose });
}

/** Pages must be isolated (COOP and COEP), or their memory cannot be posted to a worker. */
function canShare(): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && (globalThis.crossOriginIsolated ?? true);
}

function adapterOf(relaxed: boolean, threads: number, gflops?: number): AdapterInfo {
  return {
    vendor: 'tabmesh',
    architecture: relaxed ? 'wasm-relaxed-simd' : 'wasm-simd',
    description: `WebAssembly SIMD${relaxed ? ' with fused multiply-add' : ''}, ${threads === 1 ? '1 thread' : `${threads} threads`}${gflops === undefined ? '' : `, ${gflops.toFixed(0)} GFLOP/s`}`,
    software: false,
    threads,
  };
}

interface Parts {
  readonly instance: WasmInstance;
  readonly pool?: ThreadPool;
  readonly gain?: ThreadGain | undefined;
  readonly adapter: AdapterInfo;
  readonly mostBytes: number;
  readonly leastSharedWork: number;
  readonly world?: World | undefined;
  readonly lost: Promise<DeviceLostError>;
  readonly lose: (error: DeviceLostError) => void;
}

function deviceOf(parts: Parts): Device {
  const { instance, adapter, mostBytes, lost } = parts;
  const counters = newCounters();
  const ledger = new MemoryLedger();
  const heap = new Heap(instance.memory, instance.heapStart, mostBytes);
  const bytesOf = (range: Range): Uint8Array => new Uint8Array(heap.memory.buffer, addressOf(range), range.bytes);
  // A copy that is not of the shared memory.
  const queue = new HostQueue(counters, BREATH_WORK, (range) => bytesOf(range).slice().buffer as ArrayBuffer);
  let gone: DeviceLostError | undefined;
  void lost.then((error) => {
    gone ??= error;
    queue.drop();
  });
  const checkAlive = (): void => {
    if (gone) throw gone;
  };

  const device: Device = {
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
      return launchOf(parts, kernel, params, io);
    },
    async submit(launches, readback = []) {
      checkAlive();
      counters.submits++;
      return queue.run(launches as readonly HostLaunch[], readback, checkAlive);
    },
    async idle() {},
    destroy() {
      gone ??= new DeviceLostError('destroyed', WHAT);
      // Threads that are gone would be waited for.
      queue.drop();
      parts.lose(gone);
      parts.pool?.end();
    },
  };
  if (!parts.world) return device;
  const check = new WasmSelfCheck(device, parts.world, (kernel) => instance.kernels[kernel] !== undefined);
  return Object.assign(device, { qualify: (launches: readonly PlannedLaunch[]) => check.qualify(launches) });
}

function addressOf({ buffer, offset }: Range): number {
  const { at } = buffer as WasmBuffer;
  if (at === 0) throw new InternalError(`buffer ${buffer.label} was used after free`);
  return at + offset;
}

function launchOf(
  { instance, pool, gain, leastSharedWork }: Parts,
  kernel: Kernel,
  params: Params,
  io: Readonly<Record<string, Range>>,
): HostLaunch {
  const { flops, bytes } = kernel.cost(params);
  const work = flops + WORK_PER_BYTE * bytes;
  const ranges = Object.keys(kernel.bindings).map((name) => {
    const range = io[name];
    if (!range) throw new InternalError(`${kernel.name}: binding ${name} is missing`);
    return range;
  });
  const own = instance.kernels[kernel.name];
  const about = { kernel: kernel.name, variant: own ? 'wasm' : 'reference', flops, work };
  if (!own) return { ...about, run: () => kernel.reference(viewsOf(instance.memory, kernel, ranges), params) };
  const refusal = kernel.wasmRefuses?.(params);
  if (refusal !== undefined) throw new LimitError(`${kernel.name}: ${refusal}`);
  const args = [...ranges.map(addressOf), ...Object.keys(kernel.params).map((name) => params[name]!)];
  const alone = (): void => own(...args, 0, 1);
  if (!pool || work < leastSharedWork) return { ...about, run: alone };
  const number = pool.numberOf(kernel.name);
  return {
    ...about,
    run: () => {
      if (gain?.helps(work) ?? true) pool.run(number, own, args);
      else alone();
    },
  };
}

function viewsOf(memory: WebAssembly.Memory, kernel: Kernel, ranges: readonly Range[]): Record<string, TypedArray> {
  return Object.fromEntries(
    Object.entries(kernel.bindings).map(([name, spec], i) => [
      name,
      typedView(bindingDType(spec), memory.buffer as ArrayBuffer, addressOf(ranges[i]!), ranges[i]!.bytes / 4),
    ]),
  );
}
