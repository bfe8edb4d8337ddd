// Readbacks are packed into buffers that the adapter can make.

import { describe, expect, it } from 'vitest';
import type { DeviceBuffer } from '../../src/device/device.ts';
import { bytesOf, packReadbacks, stagingBytes } from '../../src/device/webgpu/staging.ts';

const buffer: DeviceBuffer = { bytes: 2 ** 31, tag: 'param', label: 'x' };
const ranges = (...sizes: number[]) => sizes.map((bytes) => ({ buffer, offset: 0, bytes }));

describe('stagingBytes', () => {
  it('is a power of two below the limit of the adapter, and never less than what is read', () => {
    expect([4, 256, 257, 1000].map((bytes) => stagingBytes(bytes, 2 ** 28))).toEqual([256, 256, 512, 1024]);
    // 200 MiB would round up to 256 MiB, and 3 GiB to 4 GiB, which no such adapter has.
    expect(stagingBytes(200 * 2 ** 20, 250 * 2 ** 20)).toBe(250 * 2 ** 20);
    expect(stagingBytes(3 * 2 ** 30, 4 * 2 ** 30 - 4)).toBe(4 * 2 ** 30 - 4);
    expect(stagingBytes(1000, 1000)).toBe(1000);
  });
});

describe('packReadbacks', () => {
  it('keeps the order, loses nothing, and makes no run larger than a buffer can be', () => {
    const sizes = [60, 40, 100, 0, 1, 99, 1, 30];
    const runs = packReadbacks(ranges(...sizes), 100);
    expect(runs.map((run) => run.map(({ bytes }) => bytes))).toEqual([
      [60, 40],
      [100, 0],
      [1, 99],
      [1, 30],
    ]);
    expect(Math.max(...runs.map(bytesOf))).toBeLessThanOrEqual(100);
    expect(packReadbacks(ranges(1, 2, 3), 2 ** 28)).toHaveLength(1);
  });
});
