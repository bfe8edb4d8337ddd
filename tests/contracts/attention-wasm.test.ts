// Attention in WebAssembly beyond the contract's small cases: several blocks of keys and of queries, heads of any size,
// and threads, whose results are the same bits for any number.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileKernels, kernelSources } from '../../src/device/wasm/plugin.mjs';
import { createWasmDevice } from '../../src/device/wasm.ts';
import { openInstance } from '../../src/device/wasm/instance.ts';
import type { WasmInstance } from '../../src/device/wasm/instance.ts';
import { wasmBuild } from '../../src/device/wasm/module.ts';
import { bindingAccess } from '../../src/device/kernel.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';
import { attention, denseAttention, packedAttention } from '../../shaders/attention/attention.ts';
import type { AttentionParams } from '../../shaders/attention/attention.ts';
import { attentionBackwardKeyValue, denseKeyValue } from '../../shaders/attention/attention-backward-key-value.ts';
import { attentionBackwardQuery } from '../../shaders/attention/attention-backward-query.ts';
import { attentionDelta } from '../../shaders/attention/attention-delta.ts';
import { attentionIntervals } from '../../shaders/attention/attention-intervals.ts';
import { attentionIntervalsBackwardKeyValue } from '../../shaders/attention/attention-intervals-backward-key-value.ts';
import { attentionIntervalsBackwardQuery } from '../../shaders/attention/attention-intervals-backward-query.ts';
import { attentionMerge } from '../../shaders/attention/attention-merge.ts';
import { rope } from '../../shaders/attention/rope.ts';
import { caseArrays, checkKernel, compare, contractTarget, expectedArrays } from '../support/kernel-contract.ts';
import type { ContractTarget } from '../support/kernel-contract.ts';

/** A block has 192 rows for up to 32 entries, fewer for larger heads: 12 from 512 on. */
const shapes: readonly AttentionParams[] = [
  denseAttention({ HQ: 2, HKV: 1, TQ: 70, TK: 230, D: 64, CAUSAL: 1, Q_START: 160 }),
  packedAttention({ B: 2, HQ: 3, HKV: 1, TQ: 150, D: 48, CAUSAL: 1 }),
  denseAttention({ TQ: 300, TK: 13, D: 20, DV: 7 }),
  denseAttention({ TQ: 33, TK: 80, D: 130, CAUSAL: 1, Q_START: 3, K_START: 5 }),
  denseAttention({ B: 2, TQ: 9, TK: 30, D: 600, DV: 2, CAUSAL: 1, Q_START: 21 }),
  denseAttention({ HQ: 2, HKV: 1, TQ: 1, TK: 1031, D: 16, DV: 38, CAUSAL: 1, Q_START: 1029 }),
  denseAttention({ B: 2, HQ: 3, TQ: 1, TK: 7, D: 5, DV: 3 }),
  denseAttention({ HQ: 3, TQ: 1, TK: 30, D: 24, CAUSAL: 1, K_START: 2 }),
];
const gradients = shapes.map((p, i) => denseKeyValue(p, i % 2));

/** Without what only some kernels take. */
function pick(kernel: Kernel, params: Params): Params {
  return Object.fromEntries(Object.keys(kernel.params).map((name) => [name, params[name] ?? 0]));
}

const checked: readonly Kernel[] = [
  attention,
  attentionBackwardQuery,
  attentionBackwardKeyValue,
  attentionIntervals,
  attentionIntervalsBackwardQuery,
  attentionIntervalsBackwardKeyValue,
] as readonly Kernel[];
const others = [attentionDelta, attentionMerge, rope] as readonly Kernel[];

let target: ContractTarget;
let instance: WasmInstance;
beforeAll(async () => {
  target = await contractTarget(() => createWasmDevice());
  instance = await openInstance(await wasmBuild(false), 1);
});
afterAll(() => target.device.destroy());

/** The outputs of one launch in `parts` parts, one after the other: none of these kernels meets. */
function outputs(
  { memory, kernels, heapStart }: WasmInstance,
  kernel: Kernel,
  params: Params,
  parts: number,
  inputs = caseArrays(kernel, params),
) {
  const arrays = Object.entries(inputs);
  const starts: number[] = [];
  let end = heapStart;
  for (const [, array] of arrays) {
    starts.push(end);
    end += Math.ceil(array.byteLength / 256) * 256;
  }
  const missing = Math.ceil((end - memory.buffer.byteLength) / 65536);
  if (missing > 0) memory.grow(missing);
  arrays.forEach(([, array], i) => new Uint8Array(memory.buffer, starts[i]).set(new Uint8Array(array.buffer)));
  const values = Object.keys(kernel.params).map((name) => params[name]!);
  for (let part = 0; part < parts; part++) kernels[kernel.name]!(...starts, ...values, part, parts);
  const written = arrays.flatMap(([name, { length }], i) =>
    bindingAccess(kernel.bindings[name]!) === 'read'
      ? []
      : [[name, new Float32Array(memory.buffer.slice(starts[i], starts[i]! + 4 * length))] as const],
  );
  return Object.fromEntries(written);
}

describe.each(checked.map((kernel) => [kernel.name, kernel] as const))('%s in WebAssembly', (_, kernel) => {
  const cases = gradients.map((params) => pick(kernel, params));

  it('equals its reference over several blocks', async () => {
    const report = await checkKernel(target, kernel, cases);
    expect(report.failures).toEqual([]);
    expect(report.runs).toBe(cases.length);
  });
});

it.each([...checked, ...others].map((kernel) => [kernel.name, kernel] as const))(
  '%s gives the same bits for any number of threads',
  (_, kernel) => {
    const cases = checked.includes(kernel) ? gradients.map((params) => pick(kernel, params)) : kernel.cases;
    for (const params of cases) {
      const one = outputs(instance, kernel, params, 1);
      for (const parts of [2, 3, 7]) expect(outputs(instance, kernel, params, parts)).toEqual(one);
    }
  },
);

it('a query that sees one key has a gradient of exactly 0', () => {
  const p = denseAttention({ TQ: 40, TK: 1, D: 11 });
  const io = caseArrays(attentionBackwardQuery as Kernel, { ...p, ACCUMULATE: 0 });
  const { memory, kernels, heapStart } = instance;
  const at = Object.fromEntries(
    ['q', 'k', 'v', 'dOut', 'lse', 'delta', 'out', 'dQ'].map((name, i) => [name, heapStart + 4096 * i]),
  );
  for (const name of ['q', 'k', 'v', 'dOut']) new Float32Array(memory.buffer, at[name]).set(io[name]!);
  const call = (kernel: Kernel, names: readonly string[], params: Params): void =>
    kernels[kernel.name]!(
      ...names.map((name) => at[name]!),
      ...Object.keys(kernel.params).map((name) => params[name]!),
      0,
      1,
    );
  call(attention as Kernel, ['q', 'k', 'v', 'out', 'lse'], p);
  call(attentionDelta as Kernel, ['out', 'dOut', 'delta'], p);
  call(attentionBackwardQuery as Kernel, ['q', 'k', 'v', 'dOut', 'lse', 'delta', 'dQ'], { ...p, ACCUMULATE: 0 });
  expect(new Float32Array(memory.buffer, at['delta'], 40).some((value) => value !== 0)).toBe(true);
  expect(new Float32Array(memory.buffer, at['dQ'], 440).every((value) => value === 0)).toBe(true);
});

it.each([
  ['q', 4 * 16 + 3, NaN],
  ['k', 9 * 16, NaN],
  ['k', 12 * 16 + 1, Infinity],
  ['lse', 5, NaN],
  ['partLse', 6, NaN],
])('what sees %s[%i] = %f becomes NaN where it does in the reference, and only there', (name, at, value) => {
  const kernel = (name.endsWith('se') ? attentionMerge : attention) as Kernel;
  const params = name.endsWith('se') ? kernel.cases[2]! : { ...denseAttention({ TQ: 21, D: 16, CAUSAL: 1 }) };
  const arrays = caseArrays(kernel, params);
  arrays[name]![at] = value;
  const got = outputs(instance, kernel, params, 1, arrays);
  kernel.reference(arrays, params);
  for (const output of ['out', 'lse']) {
    const nan = Array.from(arrays[output]!, Number.isNaN);
    expect(nan).toContain(true);
    expect(nan).toContain(false);
    expect(Array.from(got[output]!, Number.isNaN)).toEqual(nan);
  }
});

it('sums that are not rescaled with a new largest score are seen', async () => {
  const path = 'attention/weights.as';
  const sources = new Map(kernelSources());
  const text = sources.get(path)!;
  sources.set(path, text.replace('if (!v128.any_true(', 'if (v128.any_true('));
  expect(sources.get(path)).not.toBe(text);
  const module = await WebAssembly.compile(await compileKernels('plain', undefined, sources));
  const broken = await openInstance({ module, relaxed: false }, 1);
  const kernel = attention as Kernel;
  const params = pick(kernel, gradients[0]!);
  const expected = expectedArrays(kernel, params, caseArrays(kernel, params));
  expect(compare(expected['out']!, outputs(instance, kernel, params, 1)['out']!, 1e-5).text).toBeUndefined();
  expect(compare(expected['out']!, outputs(broken, kernel, params, 1)['out']!, 1e-5).text).toContain('expected');
});
