// The edges of WebAssembly's memory: kernels give above 2 GiB, up to the last byte of 4, the bits that they give below,
// and what does not fit into the scratch memory of a thread is refused by name.

import { beforeAll, describe, expect, it } from 'vitest';
import { attention, denseAttention, MOST_WASM_ENTRIES } from '../../shaders/attention/attention.ts';
import { attentionBackwardKeyValue, denseKeyValue } from '../../shaders/attention/attention-backward-key-value.ts';
import { attentionBackwardQuery } from '../../shaders/attention/attention-backward-query.ts';
import { attentionIntervals } from '../../shaders/attention/attention-intervals.ts';
import { attentionIntervalsBackwardKeyValue } from '../../shaders/attention/attention-intervals-backward-key-value.ts';
import { attentionIntervalsBackwardQuery } from '../../shaders/attention/attention-intervals-backward-query.ts';
import { LimitError } from '../../src/base/errors.ts';
import type { TypedArray } from '../../src/base/shape.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';
import { createWasmDevice } from '../../src/device/wasm.ts';
import { PAGE_BYTES } from '../../src/device/wasm/heap.ts';
import { openInstance } from '../../src/device/wasm/instance.ts';
import type { WasmInstance } from '../../src/device/wasm/instance.ts';
import { wasmBuild } from '../../src/device/wasm/module.ts';
import { caseArrays, checkKernel, contractTarget } from '../support/kernel-contract.ts';
import { kernels } from '../support/kernels.ts';
import { wasmCases } from '../support/wasm-cases.ts';

const MEMORY_BYTES = 2 ** 32;

/** All arrays of a launch after it, in blocks whose last ends at `end`, or close before it. */
function launched(
  { memory, kernels: functions }: WasmInstance,
  kernel: Kernel,
  params: Params,
  inputs: Readonly<Record<string, TypedArray>>,
  end: number,
): readonly Buffer[] {
  let at = end;
  const places = Object.values(inputs)
    .toReversed()
    .map((array) => {
      at -= Math.ceil(array.byteLength / 256) * 256;
      const place = Buffer.from(memory.buffer, at, array.byteLength);
      place.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
      return place;
    })
    .toReversed();
  const values = Object.keys(kernel.params).map((name) => params[name]!);
  functions[kernel.name]!(...places.map(({ byteOffset }) => byteOffset), ...values, 0, 1);
  return places.map((place) => Buffer.from(place));
}

describe('the last bytes of 4 GiB', () => {
  let instance: WasmInstance;
  beforeAll(async () => {
    instance = await openInstance(await wasmBuild(false), 1);
    // Pages that nobody writes cost no memory.
    instance.memory.grow((MEMORY_BYTES - instance.memory.buffer.byteLength) / PAGE_BYTES);
  });

  it.each(kernels.map((kernel) => [kernel.name, kernel] as const))('serve %s as the first do', (name, kernel) => {
    if (!instance.kernels[name]) return;
    for (const params of wasmCases(kernel)) {
      const inputs = caseArrays(kernel, params);
      const low = launched(instance, kernel, params, inputs, instance.heapStart + 2 ** 26);
      const high = launched(instance, kernel, params, inputs, MEMORY_BYTES);
      for (const [i, bytes] of low.entries())
        expect(bytes.equals(high[i]!), `${Object.keys(inputs)[i]} of ${JSON.stringify(params)}`).toBe(true);
    }
  });
});

describe('heads of thousands of entries', () => {
  const all = [
    attention,
    attentionBackwardQuery,
    attentionBackwardKeyValue,
    attentionIntervals,
    attentionIntervalsBackwardQuery,
    attentionIntervalsBackwardKeyValue,
  ] as readonly Kernel[];
  const paramsOf = (kernel: Kernel, D: number, DV: number): Params => {
    const params: Params = denseKeyValue(denseAttention({ TQ: 9, TK: 13, D, DV }), 1);
    return Object.fromEntries(Object.keys(kernel.params).map((name) => [name, params[name] ?? 0]));
  };
  const splits = [1, MOST_WASM_ENTRIES / 2, MOST_WASM_ENTRIES - 1];

  it.each(all.map((kernel) => [kernel.name, kernel] as const))('%s: computed up to the limit', async (_, kernel) => {
    const target = await contractTarget(() => createWasmDevice());
    const cases = splits.map((D) => paramsOf(kernel, D, MOST_WASM_ENTRIES - D));
    expect((await checkKernel(target, kernel, cases)).failures).toEqual([]);
    target.device.destroy();
  });

  it.each(all.map((kernel) => [kernel.name, kernel] as const))('%s: refused above it', async (name, kernel) => {
    const device = await createWasmDevice();
    const params = paramsOf(kernel, 2000, 2000);
    const io = Object.fromEntries(
      Object.entries(caseArrays(kernel, params)).map(([binding, { byteLength }]) => {
        return [binding, { buffer: device.alloc(byteLength, 'activation', binding), offset: 0, bytes: byteLength }];
      }),
    );
    const prepared = device.prepare(kernel, params, io);
    await expect(prepared).rejects.toThrow(LimitError);
    await expect(prepared).rejects.toThrow(
      `${name}: expected heads of at most ${MOST_WASM_ENTRIES} entries of a key and a value together in WebAssembly, got 4000`,
    );
    device.destroy();
  });
});
