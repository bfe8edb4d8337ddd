// The WebAssembly device: blocks of its memory, threads that give the same bits as one, and what happens when memory or
// a thread is missing.

import { afterAll, describe, expect, it, vi } from 'vitest';
import { DeviceLostError, LimitError } from '../../src/base/errors.ts';
import { RandomStream } from '../../src/base/random.ts';
import { realWorld } from '../../src/base/world.ts';
import type { Device, PlannedLaunch } from '../../src/device/device.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';
import { bindingAccess } from '../../src/device/kernel.ts';
import { createWasmDevice } from '../../src/device/wasm.ts';
import { compileKernels, kernelSources } from '../../src/device/wasm/plugin.mjs';
import { Heap, PAGE_BYTES } from '../../src/device/wasm/heap.ts';
import { spawnNodeThread } from '../../src/cli/machine/node-thread.ts';
import type { Thread } from '../../src/device/wasm/pool.ts';
import { add } from '../../shaders/elementwise/add.ts';
import { matmul } from '../../shaders/matmul/matmul.ts';
import { caseArrays } from '../support/kernel-contract.ts';
import { kernels } from '../support/kernels.ts';
import { alsoTest } from '../support/sample.ts';
import { wasmCases } from '../support/wasm-cases.ts';

/** The bytes of all outputs of one launch. */
async function outputs(device: Device, kernel: Kernel, params: Params): Promise<readonly Uint8Array[]> {
  const arrays = caseArrays(kernel, params);
  const io = Object.fromEntries(
    Object.entries(arrays).map(([name, array]) => {
      const buffer = device.alloc(array.byteLength, 'activation', name);
      device.write(buffer, 0, array);
      return [name, { buffer, offset: 0, bytes: array.byteLength }];
    }),
  );
  const written = Object.keys(io).filter((name) => bindingAccess(kernel.bindings[name]!) === 'read_write');
  const launch = await device.prepare(kernel, params, io);
  const parts = await device.submit(
    [launch],
    written.map((name) => io[name]!),
  );
  for (const { buffer } of Object.values(io)) device.free(buffer);
  return parts.map((part) => new Uint8Array(part));
}

describe('the heap', () => {
  it('gives disjoint zeroed blocks, joins what is freed, and grows no further than it may', () => {
    const heap = new Heap(new WebAssembly.Memory({ initial: 1 }), 1000, 8 * PAGE_BYTES);
    const random = new RandomStream(1, 'heap');
    const live = new Map<number, number>();
    for (let i = 0; i < 2000; i++) {
      const [first] = live.keys();
      if (first !== undefined && (live.size > 20 || random.uniform(2 * i) < 0.4)) {
        heap.free(first);
        live.delete(first);
        continue;
      }
      const bytes = 1 + Math.floor(random.uniform(2 * i + 1) * 5000);
      const at = heap.alloc(bytes, 'x');
      expect(at % 256).toBe(0);
      expect(at).toBeGreaterThanOrEqual(1000);
      for (const [other, size] of live) expect(at + bytes <= other || other + size <= at).toBe(true);
      const view = new Uint8Array(heap.memory.buffer, at, bytes);
      expect(view.every((byte) => byte === 0)).toBe(true);
      view.fill(7);
      live.set(at, bytes);
    }
    for (const at of live.keys()) heap.free(at);
    const whole = heap.memory.buffer.byteLength - 1024;
    heap.free(heap.alloc(whole, 'all'));
    expect(() => heap.alloc(9 * PAGE_BYTES, 'weights')).toThrow(LimitError);
    expect(() => heap.alloc(9 * PAGE_BYTES, 'weights')).toThrow(/buffer weights: expected 589824 bytes/);
  });
});

describe('threads', () => {
  // The cases of the contract are too small to be shared by default.
  const devices = Promise.all(
    [1, 2, 3].map((threads) => createWasmDevice({ threads, spawn: spawnNodeThread, leastSharedWork: 0 })),
  );
  afterAll(async () => (await devices).forEach((device) => device.destroy()));

  it('are as many as were asked for', async () => {
    expect((await devices).map(({ adapter }) => /\d threads?/.exec(adapter.description)?.[0])).toEqual([
      '1 thread',
      '2 threads',
      '3 threads',
    ]);
  });

  for (const kernel of kernels)
    it(`give the bits of one in ${kernel.name}`, async () => {
      for (const params of wasmCases(kernel)) {
        const [alone, ...others] = await Promise.all((await devices).map((device) => outputs(device, kernel, params)));
        for (const other of others)
          expect(
            other.every((part, i) => Buffer.compare(part, alone![i]!) === 0),
            JSON.stringify(params),
          ).toBe(true);
      }
    });
});

describe('the self-check', () => {
  const launches = [
    { kernel: add, params: add.cases[0]!, count: 1 },
    { kernel: matmul, params: matmul.cases[0]!, count: 1 },
  ] as unknown as readonly PlannedLaunch[];

  it('lists what it checked, and what has no WebAssembly', async () => {
    const device = await createWasmDevice({ world: realWorld });
    expect(device.adapter.description).toMatch(/\d GFLOP\/s$/);
    const unknown = { ...add, name: 'unknown' };
    const all = [...launches, { kernel: unknown as unknown as Kernel, params: add.cases[0]!, count: 1 }];
    const { checks, unchecked } = await device.qualify!(all);
    expect(checks.map(({ kernel, variant }) => [kernel, variant])).toEqual([
      ['add', 'wasm'],
      ['matmul', 'wasm'],
    ]);
    expect(checks.every(({ error }) => error <= 1)).toBe(true);
    expect(unchecked.map(({ kernel, variant }) => [kernel, variant])).toEqual([['unknown', 'reference']]);
    device.destroy();
  });

  it('refuses a kernel that is wrong', async () => {
    const sources = kernelSources();
    const text = sources.get('elementwise/add.as')!;
    const broken = text.replace(/f32x4\.mul\(beta, /g, 'f32x4.sub(beta, ');
    expect(broken).not.toBe(text);
    const module = await WebAssembly.compile(
      await compileKernels('plain', undefined, new Map([...sources, ['elementwise/add.as', broken]])),
    );
    const device = await createWasmDevice({ world: realWorld, build: async () => ({ module, relaxed: false }) });
    await expect(device.qualify!(launches)).rejects.toThrow(/computes add wrongly/);
    device.destroy();
  });
});

describe('what is missing', () => {
  it('a thread that dies loses the device, and nothing hangs', async () => {
    const threads: (Thread & { kill(): void })[] = [];
    const device = await createWasmDevice({
      threads: 2,
      spawn: async (setup) => {
        const thread = await spawnNodeThread(setup);
        threads.push({ ...thread, kill: thread.end });
        return thread;
      },
    });
    threads[0]!.kill();
    const error = await device.lost;
    expect(error).toBeInstanceOf(DeviceLostError);
    expect(error.message).toMatch(/a thread was lost \(thread 1 of 2: it ended/);
    await expect(device.submit([])).rejects.toBe(error);
    device.destroy();
  });

  it('a device that is given back in the middle of its work waits for nobody', async () => {
    const device = await createWasmDevice({ threads: 2, spawn: spawnNodeThread, leastSharedWork: 0 });
    const params = { ...matmul.cases[0]!, M: 512, N: 512, K: 512 };
    const arrays = caseArrays(matmul as unknown as Kernel, params);
    const buffers = Object.entries(arrays).map(([name, { byteLength }]) =>
      device.alloc(byteLength, 'activation', name),
    );
    const io = Object.fromEntries(
      Object.keys(arrays).map((name, i) => [name, { buffer: buffers[i]!, offset: 0, bytes: buffers[i]!.bytes }]),
    );
    const launch = await device.prepare(matmul as unknown as Kernel, params, io);
    const submitted = device.submit(Array.from({ length: 20 }, () => launch));
    device.destroy();
    await expect(submitted).rejects.toThrow(/lost \(destroyed\)/);
    const before = performance.now();
    for (const buffer of buffers) device.free(buffer);
    expect(performance.now() - before).toBeLessThan(5000);
  });

  it('without threads one computes alone', async () => {
    const device = await createWasmDevice({ threads: 2, spawn: () => Promise.reject(new Error('no workers here')) });
    expect(device.adapter.description).toMatch(/1 thread/);
    expect(await outputs(device, matmul, matmul.cases[0]!)).toHaveLength(1);
    device.destroy();
  });

  it('a tab that has 2 GB at most computes in them, and refuses what is more with the number', async () => {
    // What an engine says that reserves no more.
    const { Memory } = WebAssembly;
    const most = 2 ** 31 / PAGE_BYTES;
    const asked: (number | undefined)[] = [];
    vi.stubGlobal('WebAssembly', {
      ...Object.fromEntries(
        Object.getOwnPropertyNames(WebAssembly).map((name) => [name, Reflect.get(WebAssembly, name)]),
      ),
      Memory: function (given: WebAssembly.MemoryDescriptor) {
        asked.push(given.maximum);
        if ((given.maximum ?? 0) > most) throw new RangeError('could not allocate memory');
        return new Memory(given);
      },
    });
    try {
      const device = await createWasmDevice({ threads: 2, spawn: spawnNodeThread });
      expect(asked).toEqual(expect.arrayContaining([2 * most, most]));
      expect(device.adapter.threads).toBe(2);
      expect(await outputs(device, matmul, matmul.cases[0]!)).toHaveLength(1);
      expect(() => device.alloc(2 ** 31, 'param', 'weights')).toThrow(
        /^buffer weights: expected 2147483648 bytes beside \d+ in use, got no more than \d+ from this browser/,
      );
      device.destroy();
    } finally {
      vi.unstubAllGlobals();
    }
  });

  alsoTest('addresses beyond 2 GiB compute as others', async () => {
    const device = await createWasmDevice();
    const filler = device.alloc(2 ** 31, 'param', 'filler');
    expect(await outputs(device, matmul, matmul.cases.at(-1)!)).toHaveLength(1);
    const above = await outputs(device, matmul, matmul.cases[1]!);
    device.free(filler);
    const below = await outputs(device, matmul, matmul.cases[1]!);
    expect(above).toEqual(below);
    device.destroy();
  });

  it('a model that needs more memory is refused with the number', async () => {
    const device = await createWasmDevice({ mostBytes: 2 ** 25 });
    expect(() => device.alloc(2 ** 26, 'param', 'weights')).toThrow(/buffer weights: expected 67108864 bytes/);
    device.destroy();
  });
});
