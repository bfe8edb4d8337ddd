// The WebGPU device on Dawn: readbacks, errors that reach the next submit, memory, and a lost GPU.

import { afterAll, expect, test } from 'vitest';
import { DeviceLostError, LimitError } from '../../src/base/errors.ts';
import { nodeGpu } from '../../src/device/node-gpu.ts';
import { createWebGpuDevice, deviceOf, openGpu } from '../../src/device/webgpu.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import { add } from '../../shaders/elementwise/add.ts';

const context = await openGpu(await nodeGpu());
console.log(`adapter: ${context.adapter.vendor} ${context.adapter.architecture} ${context.adapter.description}`);
afterAll(() => context.device.destroy());

test('runs a kernel and packs several readbacks into one', async () => {
  const device = deviceOf(context);
  const [a, b, out] = ['a', 'b', 'out'].map((label) => device.alloc(16, 'input', label));
  const whole = (buffer: typeof a) => ({ buffer, offset: 0, bytes: 16 });
  device.write(a, 0, new Float32Array([1, 2, 3, 4]));
  device.write(b, 0, new Float32Array([10, 20, 30, 40]));
  const launch = await device.prepare(
    add,
    { N: 4, ALPHA: 1, BETA: 0.5 },
    { a: whole(a), b: whole(b), out: whole(out) },
  );
  const [sum, first] = await device.submit([launch], [whole(out), { buffer: a, offset: 4, bytes: 8 }]);
  expect([...new Float32Array(sum)]).toEqual([6, 12, 18, 24]);
  expect([...new Float32Array(first)]).toEqual([2, 3]);
  expect(device.counters).toMatchObject({ launches: 1, submits: 1, readbacks: 1, bytesRead: 24 });
  expect(device.memory.input.now).toBe(48);
  device.destroy();
  expect(device.memory.input.now).toBe(0);
});

test('copies between buffers in the order of writes and submits', async () => {
  const device = deviceOf(context);
  const [a, b] = ['a', 'b'].map((label) => device.alloc(16, 'input', label));
  device.write(a, 0, new Float32Array([1, 2, 3, 4]));
  device.copy([
    { from: { buffer: a, offset: 4, bytes: 8 }, to: { buffer: b, offset: 0, bytes: 8 } },
    { from: { buffer: a, offset: 0, bytes: 4 }, to: { buffer: b, offset: 12, bytes: 4 } },
  ]);
  device.write(a, 0, new Float32Array([9, 9, 9, 9]));
  const [bytes] = await device.submit([], [{ buffer: b, offset: 0, bytes: 16 }]);
  expect([...new Float32Array(bytes!)]).toEqual([2, 3, 0, 1]);
  device.destroy();
});

test('several readbacks in flight do not mix', async () => {
  const device = deviceOf(context);
  const buffer = device.alloc(256, 'input', 'x');
  const reads = Array.from({ length: 8 }, (_, i) => {
    device.write(buffer, 0, new Float32Array([i]));
    return device.submit([], [{ buffer, offset: 0, bytes: 4 }]);
  });
  expect((await Promise.all(reads)).map(([bytes]) => new Float32Array(bytes)[0])).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  device.destroy();
});

test('a buffer beyond the limits is a LimitError with numbers', () => {
  const device = deviceOf(context);
  expect(() => device.alloc(2 ** 45, 'param', 'huge')).toThrow(LimitError);
});

test('a kernel that does not compile says where', async () => {
  const own = deviceOf(await openGpu(await nodeGpu()), { owned: true });
  const broken = defineKernel({
    name: 'broken',
    bindings: { out: 'read_write' },
    params: { N: 'elements' },
    variants: [{ name: 'only', source: 'fn main( {', grid: () => [1, 1, 1] }],
    cost: () => ({ flops: 0, bytes: 0 }),
    sizes: () => ({ out: 1 }),
    reference() {
      /* never runs */
    },
    cases: [{ N: 1 }],
  });
  await expect(own.prepare(broken, { N: 1 }, {})).rejects.toThrow(/broken\/only does not compile/);
  own.destroy();
});

test('after a loss everything in flight and later rejects with DeviceLostError', async () => {
  const device = await createWebGpuDevice(await nodeGpu());
  const buffer = device.alloc(16, 'input', 'x');
  device.destroy();
  expect(await device.lost).toBeInstanceOf(DeviceLostError);
  await expect(device.submit([])).rejects.toThrow(DeviceLostError);
  expect(buffer.bytes).toBe(16);
});
