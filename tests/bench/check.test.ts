// The checks of the bench find wrong results, and the f64 computations behind them are right themselves.

import { describe, expect, it } from 'vitest';
import { attendHead } from '../../src/bench/check/attend-head.ts';
import { rowStatistics } from '../../src/bench/check/row-statistics.ts';
import { places, sampled, verify } from '../../src/bench/check/verify.ts';
import { swapHeads } from '../../src/bench/head-layout.ts';
import { numbers } from '../../src/bench/inputs.ts';
import { meterMemory } from '../../src/bench/memory-meter.ts';

describe('a sample', () => {
  const samples = { out: sampled('test', 1000, (i) => i / 10) };
  const right = () => Float32Array.from({ length: 1000 }, (_, i) => i / 10);
  it('is of distinct places with both ends', () => {
    const at = places('x', 1000);
    expect(new Set(at).size).toBe(64);
    expect(at).toEqual(expect.arrayContaining([0, 999]));
    expect(places('x', 3)).toHaveLength(3);
  });
  it('passes what is right', () => {
    expect(verify(samples, { out: right() })).toMatchObject({ correct: true, worst: expect.any(Number) });
  });
  it.each([
    [
      'a wrong sampled element',
      (out: Float32Array) => {
        out[999] += 0.02;
      },
      /^out\[999\] is 99\.91\d*, expected 99\.9$/,
    ],
    [
      'NaN where nobody looked',
      (out: Float32Array) => {
        out[out.findIndex((_, i) => !samples.out.at.includes(i))] = NaN;
      },
      /^out\[\d+\] is NaN$/,
    ],
    [
      'infinity',
      (out: Float32Array) => {
        out[0] = Infinity;
      },
      /^out\[0\] is Infinity$/,
    ],
    [
      'zeros',
      (out: Float32Array) => {
        out.fill(0);
      },
      /is 0, expected/,
    ],
  ])('finds %s', (_, spoil, text) => {
    const out = right();
    spoil(out);
    expect(verify(samples, { out })).toMatchObject({ correct: false, text: expect.stringMatching(text) });
  });
  it('finds what is missing or of another length', () => {
    expect(verify(samples, {})).toMatchObject({ correct: false, text: 'out is missing' });
    expect(verify(samples, { out: new Float32Array(999) })).toMatchObject({
      correct: false,
      text: 'out has 999 elements, expected 1000',
    });
  });
});

it('attention in f64 has the gradients of finite differences', () => {
  const [T, D] = [5, 3];
  const make = (name: string) => numbers(name, [T, D]).data as Float32Array;
  const given = { q: make('q'), k: make('k'), v: make('v'), dOut: make('dOut') };
  const results = attendHead(given, T, D);
  expect([...results.out.subarray(0, D)]).toEqual([...given.v.subarray(0, D)]);
  const value = (at: typeof given) => attendHead(at, T, D).out.reduce((sum, x, i) => sum + x * given.dOut[i], 0);
  for (const [name, gradient] of [
    ['q', results.dQ],
    ['k', results.dK],
    ['v', results.dV],
  ] as const) {
    for (const place of [0, 4, 14]) {
      const [up, down] = [0.01, -0.01].map((step) => {
        const moved = given[name].slice();
        moved[place] += step;
        return { at: moved[place], value: value({ ...given, [name]: moved }) };
      });
      expect((up.value - down.value) / (up.at - down.at), `d${name}[${place}]`).toBeCloseTo(gradient[place], 3);
    }
  }
});

it('losses in f64 follow the formula', () => {
  const { lse, loss } = rowStatistics(
    (r) =>
      [
        [Math.log(1), Math.log(3)],
        [5, 5],
      ][r],
    Int32Array.of(1, 0),
    2,
    2,
  );
  expect(lse[0]).toBeCloseTo(Math.log(4));
  expect(loss).toBeCloseTo((Math.log(4 / 3) + Math.log(2)) / 2);
});

it('seeded numbers have the deviation asked for', () => {
  const data = numbers('deviation', [100, 100], 3).data as Float32Array;
  const mean = data.reduce((sum: number, x: number) => sum + x, 0) / data.length;
  expect(Math.abs(mean)).toBeLessThan(0.1);
  expect(Math.sqrt(data.reduce((sum: number, x: number) => sum + x * x, 0) / data.length)).toBeCloseTo(3, 1);
  expect(numbers('deviation', [100, 100], 3).data).toEqual(data);
});

it('heads are swapped and swapped back', () => {
  const data = numbers('heads', [2, 3, 4]).data as Float32Array;
  const swapped = swapHeads(data, 2, 3, 4);
  expect([...swapped.subarray(4, 8)]).toEqual([...data.subarray(12, 16)]);
  expect(swapHeads(swapped, 3, 2, 4)).toEqual(data);
});

it('memory is counted from outside, reused buffers and freed ones too', () => {
  class FakeBuffer {
    size: number;
    usage: number;
    constructor(size: number, usage: number) {
      this.size = size;
      this.usage = usage;
    }
    destroy() {}
  }
  class FakeDevice {
    queue = new (class {
      writeBuffer() {}
    })();
    createBuffer({ size, usage }: { size: number; usage: number }) {
      return new FakeBuffer(size, usage);
    }
    createBindGroup() {}
  }
  const device = new FakeDevice();
  const before = device.createBuffer({ size: 1000, usage: 128 });
  const meter = meterMemory(device as unknown as GPUDevice);
  const first = device.createBuffer({ size: 10, usage: 128 });
  device.createBuffer({ size: 5000, usage: 1 });
  first.destroy();
  first.destroy();
  device.createBuffer({ size: 7, usage: 128 });
  expect(meter.peakBytes).toBe(10);
  (device.createBindGroup as (descriptor: unknown) => void)({
    entries: [{ resource: { buffer: before } }, { resource: { buffer: before } }],
  });
  expect(meter.peakBytes).toBe(1007);
  meter.stop();
  device.createBuffer({ size: 9999, usage: 128 });
  expect(meter.peakBytes).toBe(1007);
});
