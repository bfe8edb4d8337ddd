// The references as a device keep the order of a queue although they let other tasks of the thread in between.

import { expect, test } from 'vitest';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { Kernel } from '../../src/device/kernel.ts';

/** out += 1, said to be expensive. */
const increment = {
  name: 'increment',
  bindings: { out: 'rw' },
  cost: () => ({ flops: 1e9, bytes: 4 }),
  reference: ({ out }: Record<string, Float32Array>) => {
    out[0]++;
  },
} as unknown as Kernel;

async function counter() {
  const device = createCpuDevice();
  const buffer = device.alloc(4, 'param', 'counter');
  const range = { buffer, offset: 0, bytes: 4 };
  const launch = await device.prepare(increment, {}, { out: range });
  return { device, buffer, range, launches: Array.from({ length: 10 }, () => launch) };
}
const value = ([bytes]: readonly ArrayBuffer[]): number => new Float32Array(bytes)[0];

test('a long submit lets other tasks of the thread in', async () => {
  const { device, launches, range } = await counter();
  let tasks = 0;
  let over = false;
  const count = (): void => {
    tasks++;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  expect(value(await device.submit(launches, [range]))).toBe(10);
  over = true;
  expect(tasks).toBeGreaterThan(5);
});

test('what comes later sees all of what came before, and nothing more', async () => {
  const { device, buffer, launches, range } = await counter();
  const first = device.submit(launches, [range]);
  const second = device.submit(launches, [range]);
  device.write(buffer, 0, new Float32Array([100]));
  const third = device.submit(launches, [range]);
  expect([value(await first), value(await second), value(await third)]).toEqual([10, 20, 110]);
});

test('a device that is destroyed in between rejects', async () => {
  const { device, launches } = await counter();
  const submitted = device.submit(launches);
  device.destroy();
  await expect(submitted).rejects.toThrow('destroyed');
});
