// Dynamic params: what the text of a pipeline becomes, which launches share a pipeline, and what the uniform holds.

import { describe, expect, test } from 'vitest';
import { createMesh } from '../../src/collectives/mesh.ts';
import { realWorld } from '../../src/base/world.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { dynamicWords, pipelineConstants, pipelineText } from '../../src/device/params/dynamic.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';
import { Program } from '../../src/device/program.ts';
import { checkKey } from '../../src/device/tune/store.ts';
import { chooseVariant, constantsOf } from '../../src/device/variant.ts';
import type { Tensor } from '../../src/device/tensor.ts';
import { sequenceStrategies } from '../../src/parallel/sequence/registry.ts';
import { makeLayout } from '../../src/train/layout.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';
import { attention } from '../../shaders/attention/attention.ts';
import { matmul } from '../../shaders/matmul/matmul.ts';
import { disagreements } from '../support/wgsl-shape.ts';

const { features: cpu } = createCpuDevice();
const squeeze = (text: string): string => text.replace(/\s+/g, ' ').trim();

/** A kernel of one text. */
function kernelOf(source: string, more: Partial<Kernel> = {}): Kernel {
  return {
    name: 'small',
    bindings: { x: 'read', out: 'read_write' },
    params: { N: 'elements', SHIFT: 'added', SCALE: 'factor', FLAG: 'switch' },
    dynamic: { N: 'u32', SHIFT: 'i32', SCALE: 'f32' },
    variants: [{ name: 'only', source, grid: () => [1, 1, 1] }],
    cost: () => ({ flops: 0, bytes: 4 }),
    sizes: () => ({ x: 1, out: 1 }),
    reference() {
      /* not run here */
    },
    cases: [],
    ...more,
  };
}
const textOf = (kernel: Kernel, constants: Params): string => pipelineText(kernel, kernel.variants[0], constants);

const SOURCE = `// Of N elements.
const N: u32 = 1u;
const SHIFT: i32 = 0i;
const SCALE: f32 = 1.0;
const FLAG: u32 = 0u;
const COUNT: u32 = N / 4u;
const LAST: u32 = COUNT - 1u;
const TWO: u32 = 2u;
fn plain(x: f32) -> f32 { return x; }
fn at(i: u32) -> u32 { return min(i, LAST); }
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>) { if (group.x >= COUNT) { return; } if (FLAG == 1u) { f(N); } }
`;

describe('the text of a pipeline', () => {
  test('reads each dynamic param once per function that needs it, with what is made of it', () => {
    expect(squeeze(textOf(kernelOf(SOURCE), { N: 8, SHIFT: 1, SCALE: 2, FLAG: 1 }))).toBe(
      squeeze(`// Of N elements.
      const FLAG: u32 = 1u;
      const TWO: u32 = 2u;
      fn plain(x: f32) -> f32 { return x; }
      fn at(i: u32) -> u32 { let N = launch_params.N; let COUNT: u32 = N / 4u; let LAST: u32 = COUNT - 1u; return min(i, LAST); }
      @compute @workgroup_size(64)
      fn main(@builtin(workgroup_id) group: vec3<u32>) { let N = launch_params.N; let COUNT: u32 = N / 4u; if (group.x >= COUNT) { return; } { f(N); } }
      struct LaunchParams { N: u32, SHIFT: i32, SCALE: f32 }
      @group(0) @binding(2) var<uniform> launch_params: LaunchParams;`),
    );
  });

  test('of a variant that fixes all of them is what it was', () => {
    const kernel = kernelOf(SOURCE);
    const fixed = { ...kernel.variants[0], fixes: ['N', 'SHIFT', 'SCALE'] };
    const text = pipelineText(kernel, fixed, { N: 8, SHIFT: -1, SCALE: 2, FLAG: 0 });
    expect(text).toContain('const N: u32 = 8u;\nconst SHIFT: i32 = -1i;\nconst SCALE: f32 = 2.0;');
    expect(text).not.toContain('uniform');
  });

  test('a size of an array, and a loop that is to be unrolled, cannot be dynamic', () => {
    const array = kernelOf(`${SOURCE}var<workgroup> tile: array<f32, COUNT>;`);
    expect(() => textOf(array, { N: 8, SHIFT: 1, SCALE: 2, FLAG: 1 })).toThrow('COUNT is dynamic, but used outside');
    const loop = kernelOf(SOURCE.replace('f(N);', 'for (var i = 0u; i < N; i++) { // unroll\n f(i); }'));
    expect(() => textOf(loop, { N: 8, SHIFT: 1, SCALE: 2, FLAG: 1 })).toThrow('unroll: bounds');
  });

  test('a type that differs from the one of the text is a disagreement', () => {
    const wrong = { ...attention, dynamic: { ...attention.dynamic, TK: 'i32' } } as unknown as Kernel;
    expect(disagreements(wrong, wrong.variants[0])).toEqual([
      `attention/${wrong.variants[0].name}: TK is a dynamic i32, the WGSL has a u32`,
    ]);
  });
});

describe('the uniform', () => {
  const kernel = kernelOf(SOURCE);

  test('holds the bits in the order of the fields', () => {
    expect([...dynamicWords(kernel, { FLAG: 1, SCALE: 1.5, SHIFT: -2, N: 7 })]).toEqual([7, 0xfffffffe, 0x3fc00000]);
  });

  test.each([
    { N: -1, SHIFT: 0, SCALE: 0 },
    { N: 0.5, SHIFT: 0, SCALE: 0 },
    { N: 2 ** 32, SHIFT: 0, SCALE: 0 },
    { N: 1, SHIFT: 2 ** 31, SCALE: 0 },
    { N: 1, SHIFT: 0, SCALE: NaN },
    { SHIFT: 0, SCALE: 0 } as unknown as Params,
  ])('refuses %j', (params) => {
    expect(() => dynamicWords(kernel, params)).toThrow(/small: \w+ is a \w+, got/);
  });
});

test('a check counts for other sizes, and only for the dynamic switches with which it ran', () => {
  const kernel = matmul as unknown as Kernel;
  const variant = kernel.variants.find(({ name }) => name === 'quick-4x4')!;
  const params = { ...matmul.cases[2], M: 65, TRANS_A: 0 };
  const keyOf = (more: Params): string => checkKey(kernel, variant, constantsOf(variant, { ...params, ...more }, cpu));
  expect(keyOf({ M: 99, N: 130 })).toBe(keyOf({}));
  expect(keyOf({ TRANS_A: 1 })).not.toBe(keyOf({}));
  expect(keyOf({ BIAS: 1 })).not.toBe(keyOf({}));
});

/** Pipelines of each kernel that the plan of rank `rank` of a ring of P takes, over forward and backward. */
async function ringPipelines(P: number, causal: boolean, change = (kernel: Kernel): Kernel => kernel) {
  const found = new Map<string, Set<string>>();
  for (const { rank, links, leave } of loopbackMesh(P, realWorld)) {
    const group = createMesh({ layout: makeLayout({ sp: P }), rank, links, ledger: createLedger() }).axis('sp');
    const attrs = { B: 1, T: 16, heads: 2, kvHeads: 1, headDim: 8, causal, scale: 0.3 };
    const device = createCpuDevice();
    const program = new Program(device);
    const r = program.recorder('both');
    const op = sequenceStrategies.get('ring')!.attention(group);
    const { saved } = op.forward(r, { qkv: program.tensor([16, 32]) }, {}, attrs);
    op.backwardInput!(r, program.tensor([16, 16]) as Tensor, saved, {}, attrs, { qkv: true });
    for (const launch of program.launches()) {
      const kernel = change(launch.kernel);
      const { variant, constants } = chooseVariant(kernel, launch.params, device.features);
      const key = `${variant.name} ${JSON.stringify(pipelineConstants(kernel, variant, constants))}`;
      found.set(kernel.name, (found.get(kernel.name) ?? new Set()).add(key));
    }
    leave();
  }
  return found;
}

const KERNELS = ['attention', 'attentionBackwardQuery', 'attentionBackwardKeyValue'];

describe('a ring of attention', () => {
  test.each([2, 4, 8])('of %i ranks takes one pipeline for the diagonal and one for full blocks', async (P) => {
    const found = await ringPipelines(P, true);
    for (const kernel of KERNELS) expect([kernel, found.get(kernel)!.size]).toEqual([kernel, 2]);
    // A full block pays no mask.
    for (const kernel of ['attention', 'attentionBackwardQuery'])
      expect([...found.get(kernel)!].map((key) => /"MASKED":(\d)/.exec(key)![1]).sort()).toEqual(['0', '1']);
  });

  test('without a mask the first block and those that add to it are the only ones', async () => {
    const found = await ringPipelines(4, false);
    expect(KERNELS.map((kernel) => found.get(kernel)!.size)).toEqual([1, 2, 1]);
  });

  test('with offsets that are part of the pipeline there are more with every rank: the count would see it', async () => {
    const found = await ringPipelines(4, true, (kernel) => ({ ...kernel, dynamic: undefined }) as Kernel);
    for (const kernel of KERNELS) expect(found.get(kernel)!.size).toBeGreaterThan(4);
  });
});
