// Dynamic params on Dawn: one pipeline serves all their values, with the bits of pipelines made for each of them.

import { afterAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { bindingAccess } from '../../src/device/kernel.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';
import { nodeGpu } from '../../src/device/node-gpu.ts';
import { deviceOf, openGpu } from '../../src/device/webgpu.ts';
import type { GpuContext } from '../../src/device/webgpu.ts';
import { attention, denseAttention } from '../../shaders/attention/attention.ts';
import { attentionBackwardKeyValue, denseKeyValue } from '../../shaders/attention/attention-backward-key-value.ts';
import { attentionBackwardQuery } from '../../shaders/attention/attention-backward-query.ts';
import { caseArrays, compare, expectedArrays } from '../support/kernel-contract.ts';

const contexts: GpuContext[] = [];
afterAll(() => {
  for (const { device } of contexts) device.destroy();
});

/** A device whose context has compiled nothing yet. */
async function freshDevice(): Promise<Device> {
  const context = await openGpu(await nodeGpu());
  contexts.push(context);
  return deviceOf(context);
}

/** What a launch makes of the seeded arrays of its params, by binding. */
async function outputs(
  device: Device,
  kernel: Kernel,
  params: Params,
): Promise<Record<string, Float32Array<ArrayBuffer>>> {
  const io = Object.fromEntries(
    Object.entries(caseArrays(kernel, params)).map(([name, array]) => {
      const buffer = device.alloc(array.byteLength, 'activation', name);
      device.write(buffer, 0, array);
      return [name, { buffer, offset: 0, bytes: array.byteLength }];
    }),
  );
  const launch = await device.prepare(kernel, params, io);
  const names = Object.keys(io).filter((name) => bindingAccess(kernel.bindings[name]) === 'read_write');
  const bytes = await device.submit(
    [launch],
    names.map((name) => io[name]),
  );
  for (const { buffer } of Object.values(io)) device.free(buffer);
  return Object.fromEntries(names.map((name, i) => [name, new Float32Array(bytes[i])]));
}

/** The kernel with every dynamic param in its pipelines. */
function fixed(kernel: Kernel): Kernel {
  const fixes = Object.keys(kernel.dynamic!);
  return { ...kernel, variants: kernel.variants.map((variant) => ({ ...variant, fixes })) };
}

/** One query at the end of a cache of 24 keys, of which TK are filled. */
const LENGTHS = [1, 2, 5, 8, 16, 23, 24];
function cached(TK: number): Params {
  const capacity = denseAttention({ HQ: 4, HKV: 2, TQ: 1, TK: 24, D: 8, CAUSAL: 1 });
  return { ...capacity, TK, Q_START: TK - 1 };
}

test('a cache of keys grows without a new pipeline', async () => {
  const device = await freshDevice();
  const kernel = attention as unknown as Kernel;
  for (const TK of LENGTHS) {
    const params = cached(TK);
    const want = expectedArrays(kernel, params, caseArrays(kernel, params));
    const got = await outputs(device, kernel, params);
    for (const [name, array] of Object.entries(got)) expect(compare(want[name], array, 1e-5).text).toBeUndefined();
  }
  expect(device.counters.pipelines).toBe(1);
});

test('with a length that is part of the pipeline it does not: the count would see it', async () => {
  const device = await freshDevice();
  for (const TK of LENGTHS.slice(0, 3)) await outputs(device, fixed(attention as unknown as Kernel), cached(TK));
  expect(device.counters.pipelines).toBe(3);
});

test('the bits are those of pipelines with constants', async () => {
  const device = await freshDevice();
  const blocks = [
    denseAttention({ HQ: 2, HKV: 1, TQ: 24, D: 8, CAUSAL: 1 }),
    denseAttention({ HQ: 2, HKV: 1, TQ: 24, D: 8, CAUSAL: 1, Q_START: 24, K_START: 10 }),
    denseAttention({ HQ: 2, HKV: 1, TQ: 24, TK: 22, D: 8 }),
    denseAttention({ HQ: 2, TQ: 5, TK: 7, D: 3, CAUSAL: 1, K_START: 2 }),
  ];
  const launches = blocks.flatMap((params): [Kernel, Params][] => [
    [attention as unknown as Kernel, params],
    [attentionBackwardQuery as unknown as Kernel, { ...params, ACCUMULATE: 1 }],
    [attentionBackwardKeyValue as unknown as Kernel, denseKeyValue(params)],
  ]);
  for (const [kernel, params] of launches)
    expect(await outputs(device, kernel, params)).toEqual(await outputs(device, fixed(kernel), params));
});

test('launches with equal params share a place of the uniform, others have their own', async () => {
  const device = await freshDevice();
  const { uniforms } = contexts.at(-1)!;
  const [a, b, again] = [
    [1, 2],
    [1, 3],
    [1, 2],
  ].map((words) => uniforms.place(new Uint32Array(words)));
  expect(again).toBe(a);
  expect(b.buffer).toBe(a.buffer);
  expect(b.offset! - a.offset!).toBe(256);
  // A page is full some time.
  const many = Array.from({ length: 100 }, (_, i) => uniforms.place(new Uint32Array([2, i])));
  expect(new Set(many.map(({ buffer }) => buffer)).size).toBe(2);
  expect(many.every(({ offset, size }) => offset! % 256 === 0 && offset! + size! <= 16_384)).toBe(true);
  device.destroy();
});
