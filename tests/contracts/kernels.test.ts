// What can be known of a kernel without a GPU: its WGSL and its contract agree, its reference keeps to its arrays and
// runs on the cpu device, its cases cover every variant, its grids fit WebGPU.

import { describe, expect, it } from 'vitest';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';
import { constantsOf, isSupported } from '../../src/device/variant.ts';
import { add } from '../../shaders/elementwise/add.ts';
import { matmul } from '../../shaders/matmul/matmul.ts';
import {
  caseArrays,
  checkKernel,
  compare,
  contractTarget,
  expectedArrays,
  tunings,
} from '../support/kernel-contract.ts';
import { DEFECTS, mutate } from '../support/kernel-defects.ts';
import { kernels, wgslFiles } from '../support/kernels.ts';
import { disagreements, leftovers } from '../support/wgsl-shape.ts';

// Every text is checked, whatever it needs.
const FEATURES = { ...createCpuDevice().features, subgroupSize: 4, f16: true };

describe('every kernel', () => {
  it('is found', () => expect(kernels.length).toBeGreaterThan(0));

  it('has a name of its own', () => expect(new Set(kernels.map((kernel) => kernel.name)).size).toBe(kernels.length));

  it('uses every .wgsl file', () => {
    const used = new Set(kernels.flatMap((kernel) => kernel.variants.map((variant) => variant.source)));
    expect(Object.keys(wgslFiles).filter((name) => !used.has(wgslFiles[name]))).toEqual([]);
  });
});

for (const kernel of kernels) {
  describe(kernel.name, () => {
    it('has WGSL that agrees with the contract', () => {
      expect(kernel.variants.flatMap((variant) => disagreements(kernel, variant))).toEqual([]);
    });

    it('specialises completely, for every case and tuning', () => {
      const found = kernel.cases.flatMap((params) =>
        supporting(kernel, params).flatMap((variant) =>
          tunings(variant).flatMap((constants) =>
            leftovers(kernel, variant, constantsOf(variant, params, FEATURES, constants)),
          ),
        ),
      );
      expect(found).toEqual([]);
    });

    it('has cases that name every param, and run every variant', () => {
      for (const params of kernel.cases) expect(Object.keys(params).sort()).toEqual(Object.keys(kernel.params).sort());
      const run = new Set(kernel.cases.flatMap((params) => supporting(kernel, params).map((variant) => variant.name)));
      expect(kernel.variants.map((variant) => variant.name).filter((name) => !run.has(name))).toEqual([]);
      for (const params of kernel.cases) expect(supporting(kernel, params).length).toBeGreaterThan(0);
    });

    it('fits WebGPU: whole grids up to 65535, at most 256 threads and 10 storage buffers', () => {
      expect(Object.keys(kernel.bindings).length).toBeLessThanOrEqual(10);
      for (const params of kernel.cases) {
        for (const variant of supporting(kernel, params)) {
          for (const constants of tunings(variant)) {
            for (const n of variant.grid(params, constantsOf(variant, params, FEATURES, constants)))
              expect(
                Number.isInteger(n) && n >= 1 && n <= 65535,
                `${variant.name} ${JSON.stringify(params)}: ${n}`,
              ).toBe(true);
          }
        }
      }
    });

    it('has sizes and costs that are whole and not negative', () => {
      for (const params of kernel.cases) {
        const { flops, bytes } = kernel.cost(params);
        expect(Number.isFinite(flops) && flops >= 0 && bytes > 0).toBe(true);
        expect(Object.keys(kernel.sizes(params)).sort()).toEqual(Object.keys(kernel.bindings).sort());
        for (const size of Object.values(kernel.sizes(params))) expect(Number.isInteger(size) && size > 0).toBe(true);
      }
    });

    it('runs its reference on the cpu device', async () => {
      const device = createCpuDevice();
      const report = await checkKernel(await contractTarget(() => device), kernel);
      expect(report.failures).toEqual([]);
      expect(report.runs).toBeGreaterThan(0);
      device.destroy();
    });
  });
}

/** Variants for `params`. */
function supporting(kernel: Kernel, params: Params): Kernel['variants'] {
  return kernel.variants.filter((variant) => isSupported(variant, params, FEATURES));
}

describe('the checks catch', () => {
  const broken = (edit: (text: string) => string): Kernel => ({
    ...matmul,
    variants: matmul.variants.map((variant) => ({ ...variant, source: edit(variant.source) })),
  });
  const small = matmul.cases[0];

  it('two bindings that changed places', () => {
    expect(
      disagreements(
        matmul,
        broken((text) =>
          text
            .replace('@binding(0)', '@binding(9)')
            .replace('@binding(1)', '@binding(0)')
            .replace('@binding(9)', '@binding(1)'),
        ).variants[0],
      ),
    ).not.toEqual([]);
  });

  it('an integer where the contract has floats', () => {
    expect(
      disagreements(
        matmul,
        broken((text) => text.replace('bias: array<vec4<f32>>', 'bias: array<vec4<u32>>')).variants[0],
      ),
    ).not.toEqual([]);
  });

  it('a param that the WGSL does not have', () => {
    expect(
      disagreements(matmul, broken((text) => text.replace('const SCALE: f32', 'const FACTOR: f32')).variants[0]),
    ).toEqual(['matmul/registers-vec4-8x8: no line "const SCALE: u32 = 1u;" to replace']);
  });

  it('a text without the lines that four lanes turn', () => {
    const [vec4] = add.variants;
    expect(disagreements(add, vec4)).toEqual([]);
    const fixed = { ...vec4, source: vec4.source.replace('alias Value = f32;', 'alias Value = vec4<f32>;') };
    expect(disagreements(add, fixed)).toEqual([
      'add/vec4: no lines "const LANES: u32 = 1u;" and "alias Value = f32;" to turn',
    ]);
  });

  it('a register array that is indexed by a rolled loop', () => {
    const [variant] = broken((text) => text.replace('i++) { // unroll', 'i++) {')).variants;
    expect(leftovers(matmul, variant, { ...small, ...tunings(variant)[0] })).toEqual([
      expect.stringMatching(/registers: \w+\[.*\] has an index that is not constant/),
    ]);
  });

  it('a loop that is marked to be unrolled but has another form', () => {
    const [variant] = broken((text) =>
      text.replace(/i < (\w+); i\+\+\) \{ \/\/ unroll/, 'i != $1; i++) { // unroll'),
    ).variants;
    expect(leftovers(matmul, variant, { ...small, ...tunings(variant)[0] })).toEqual([
      expect.stringContaining('internal: unroll: expected a loop'),
    ]);
  });

  it('a reference that reads past its arrays', () => {
    const short: Kernel = {
      ...matmul,
      sizes: (params) => ({ ...matmul.sizes(params), a: Math.max(1, params['M'] * params['K'] - 1) }),
    };
    const params = matmul.cases.find(({ M, K }) => M * K === 4)!;
    expect(() => expectedArrays(short, params, caseArrays(short, params))).toThrow('a[3] is outside 3 elements');
  });

  it('a reference that changes an input', () => {
    const greedy: Kernel = {
      ...matmul,
      reference: ({ a }) => {
        a[0] += 1;
      },
    };
    expect(() => expectedArrays(greedy, small, caseArrays(greedy, small))).toThrow('changed an input');
  });

  it('NaN, an error above the tolerance, and minus infinity where a number belongs', () => {
    const expected = new Float32Array([1, 100]);
    expect(compare(expected, new Float32Array([1.0009, 100]), 1e-5).text).toBeUndefined();
    expect(compare(expected, new Float32Array([1.0011, 100]), 1e-5).text).toContain('[0]: expected 1');
    expect(compare(expected, new Float32Array([NaN, 100]), 1e-5).text).toContain('NaN');
    expect(compare(expected, new Float32Array([-1e30, 100]), 1e-5).text).toBeDefined();
    expect(compare(new Float32Array([-1e30, 100]), new Float32Array([-Infinity, 100]), 1e-5).text).toBeUndefined();
    expect(compare(new Float32Array([0]), new Float32Array([1e-30]), 1e-5).text).toBeDefined();
    expect(compare(new Uint32Array([7]), new Uint32Array([8]), 1e-5).text).toBeDefined();
  });

  it('mutations of text that is there: every seeded defect still applies', () => {
    for (const defect of DEFECTS)
      expect(mutate(defect).variants[0].source).not.toBe(
        defect.kernel.variants.find((variant) => variant.name === defect.variant)!.source,
      );
  });
});
