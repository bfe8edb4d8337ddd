// Contract of every op in src/ops: B and W equal central differences of the forward, W adds to what is in w.grad, and
// W may run late (in a plan of its own, after another slot's forward and backward) but counts once; an addend that B
// takes is added and left as it is. Runs on the references and in WebAssembly; the kernels have a contract of their
// own.

import { describe, expect, test } from 'vitest';
import { RandomStream } from '../../src/base/random.ts';
import { elements } from '../../src/base/shape.ts';
import type { DType, Shape, TypedArray } from '../../src/base/shape.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { Device } from '../../src/device/device.ts';
import { Program, readTensors } from '../../src/device/program.ts';
import type { Recorder } from '../../src/device/recorder.ts';
import type { Param, Tensor } from '../../src/device/tensor.ts';
import { createWasmDevice } from '../../src/device/wasm.ts';
import { add } from '../../src/ops/add.ts';
import { attention } from '../../src/ops/attention.ts';
import { Tape } from '../../src/ops/tape.ts';
import { linearCrossEntropy } from '../../src/ops/cross-entropy.ts';
import { embedding } from '../../src/ops/embedding.ts';
import { experts } from '../../src/ops/experts.ts';
import { gelu } from '../../src/ops/gelu.ts';
import { squaredError } from '../../src/ops/squared-error.ts';
import { joinHeads } from '../../src/ops/join-heads.ts';
import { layerNorm } from '../../src/ops/layer-norm.ts';
import { linear } from '../../src/ops/linear.ts';
import type { Op } from '../../src/ops/op.ts';
import { positionEmbedding } from '../../src/ops/position-embedding.ts';
import { rmsNorm } from '../../src/ops/rms-norm.ts';
import { rope, rotaryTables } from '../../src/ops/rope.ts';
import { swiglu } from '../../src/ops/swiglu.ts';
import { takeHeads } from '../../src/ops/take-heads.ts';

// The contract erases the ops' own types: it treats inputs and weights by name.
type AnyOp = Op<Record<string, Tensor>, Record<string, Param>, unknown, unknown>;
interface Input {
  readonly shape: Shape;
  readonly dtype?: DType;
  readonly data?: TypedArray;
  readonly constant?: boolean;
}
/** `flat`: the weights lie one behind the other in one buffer, their gradients in another, as in a model. */
interface Case {
  readonly op: AnyOp;
  readonly inputs: Readonly<Record<string, Input>>;
  readonly weights?: Readonly<Record<string, Shape>>;
  readonly attrs?: unknown;
  readonly flat?: boolean;
}

const erase = (op: unknown): AnyOp => op as AnyOp;
const sevenths = (count: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length: count }, (_, i) => ((i * 5) % 7) / 7);
const { cos, sin } = rotaryTables([0, 1, 2], 4, 100);

const CASES: Readonly<Record<string, Case>> = {
  add: { op: erase(add), inputs: { a: { shape: [3, 5] }, b: { shape: [3, 5] } }, attrs: null },
  linear: {
    op: erase(linear),
    inputs: { x: { shape: [4, 3] }, residual: { shape: [4, 5] } },
    weights: { w: [5, 3], b: [5] },
    attrs: null,
  },
  // The second of two key heads, with its two query heads.
  'take-heads': {
    op: erase(takeHeads),
    inputs: { qkv: { shape: [3, 24] } },
    attrs: { heads: 4, kvHeads: 2, headDim: 3, from: 2, count: 2 },
  },
  'join-heads': { op: erase(joinHeads), inputs: { a: { shape: [3, 2] }, b: { shape: [3, 5] } }, attrs: null },
  'layer-norm': {
    op: erase(layerNorm),
    inputs: { x: { shape: [3, 6] } },
    weights: { w: [6], b: [6] },
    attrs: { eps: 1e-5 },
  },
  'layer-norm in flat buffers': {
    op: erase(layerNorm),
    inputs: { x: { shape: [3, 6] } },
    weights: { w: [6], b: [6] },
    attrs: { eps: 1e-5 },
    flat: true,
  },
  'rms-norm': { op: erase(rmsNorm), inputs: { x: { shape: [3, 6] } }, weights: { w: [6] }, attrs: { eps: 1e-5 } },
  'gelu tanh': { op: erase(gelu), inputs: { x: { shape: [7] } }, attrs: { tanh: true } },
  'gelu erf': { op: erase(gelu), inputs: { x: { shape: [7] } }, attrs: { tanh: false } },
  'squared-error': {
    op: erase(squaredError),
    inputs: { x: { shape: [4, 3] }, y: { shape: [4, 3], data: sevenths(12), constant: true } },
    attrs: null,
  },
  swiglu: { op: erase(swiglu), inputs: { gateUp: { shape: [3, 8] } }, attrs: null },
  embedding: {
    op: erase(embedding),
    inputs: { ids: { shape: [6], dtype: 'u32', data: new Uint32Array([1, 0, 3, 1, 4, 1]), constant: true } },
    weights: { table: [5, 3] },
    attrs: { vStart: 0 },
  },
  'embedding shard': {
    op: erase(embedding),
    inputs: { ids: { shape: [4], dtype: 'u32', data: new Uint32Array([1, 5, 6, 5]), constant: true } },
    weights: { table: [3, 2] },
    attrs: { vStart: 4 },
  },
  'position-embedding': {
    op: erase(positionEmbedding),
    inputs: { x: { shape: [6, 4] } },
    weights: { table: [5, 4] },
    attrs: { T: 3, posStart: 1 },
  },
  rope: {
    op: erase(rope),
    attrs: { T: 3, heads: 3, rotaryHeads: 2, headDim: 4, rotaryDim: 4, interleaved: false },
    inputs: {
      x: { shape: [6, 12] },
      cos: { shape: [3, 2], data: cos, constant: true },
      sin: { shape: [3, 2], data: sin, constant: true },
    },
  },
  'attention causal, grouped heads': {
    op: erase(attention),
    inputs: { qkv: { shape: [10, 24] } },
    attrs: { B: 2, T: 5, heads: 4, kvHeads: 2, headDim: 3, causal: true, scale: 0.6 },
  },
  'attention full': {
    op: erase(attention),
    inputs: { qkv: { shape: [4, 12] } },
    attrs: { B: 1, T: 4, heads: 2, kvHeads: 2, headDim: 2, causal: false, scale: 1 },
  },
  'linear-cross-entropy': {
    op: erase(linearCrossEntropy),
    inputs: {
      x: { shape: [4, 3] },
      targets: { shape: [4], dtype: 'i32', data: new Int32Array([2, 0, -100, 4]), constant: true },
    },
    weights: { w: [6, 3] },
    attrs: { vStart: 0, vocab: 5 },
  },
  'linear-cross-entropy in chunks': {
    op: erase(linearCrossEntropy),
    inputs: {
      x: { shape: [4, 4] },
      targets: { shape: [4], dtype: 'i32', data: new Int32Array([2, 66, -100, 64]), constant: true },
    },
    weights: { w: [70, 4] },
    attrs: { vStart: 0, vocab: 69, chunk: 64 },
  },
  experts: {
    op: erase(experts),
    inputs: { x: { shape: [5, 4] }, residual: { shape: [5, 4] } },
    weights: { gate: [3, 4], gateUp: [3, 6, 4], down: [3, 4, 3] },
    attrs: { experts: 3, perToken: 2, renormalise: true },
  },
};

const DEVICES: readonly (readonly [string, () => Promise<Device>])[] = [
  ['the references', async () => createCpuDevice()],
  ['WebAssembly', () => createWasmDevice()],
];
type MakeDevice = (typeof DEVICES)[number][1];

interface Built {
  readonly program: Program;
  readonly run: (slot: number, plans: readonly string[]) => Promise<void>;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly weights: ReadonlyMap<string, Param>;
  readonly out: Tensor;
  readonly dOut: Tensor;
  readonly dInputs: ReadonlyMap<string, Tensor>;
  readonly addends: ReadonlyMap<string, Tensor>;
}

async function build(
  make: MakeDevice,
  { op, inputs, weights = {}, attrs, flat }: Case,
  {
    broken = false,
    together = false,
    addends = [],
  }: { broken?: boolean; together?: boolean; addends?: readonly string[] } = {},
): Promise<Built> {
  const device = await make();
  const program = new Program(device, 2);
  const tensors = new Map(
    Object.entries(inputs).map(([name, { shape, dtype }]) => [name, program.tensor(shape, dtype, name)]),
  );
  const fixed = (shape: Shape, label: string): Tensor => ({
    shape,
    dtype: 'f32',
    label,
    offset: 0,
    storage: { kind: 'fixed', buffer: device.alloc(elements(shape) * 4, 'param', label) },
  });
  const shared = Object.keys(weights).length
    ? [fixed([1024], 'weights'), fixed([1024], 'grads')].map(({ storage }) => storage)
    : [];
  const params = new Map(
    Object.entries(weights).map(([name, shape], i): [string, Param] => {
      const [value, grad] = [fixed(shape, name), fixed(shape, `d.${name}`)].map((own, which) =>
        flat ? { ...own, storage: { ...shared[which] }, offset: 256 * i } : own,
      );
      return [name, { ...value, name, grad }];
    }),
  );
  const [F, B, W] = ['F', 'B', 'W'].map((name) => program.recorder(name));
  const [x, w] = [Object.fromEntries(tensors), Object.fromEntries(params)];
  const { out, saved } = op.forward(F, x, w, attrs);
  const dOut = program.tensor(out.shape, 'f32', 'dOut');
  const needs = Object.fromEntries(Object.entries(inputs).map(([name, { constant }]) => [name, !constant]));
  const added = new Map(addends.map((name) => [name, program.tensor(inputs[name].shape, 'f32', `${name} addend`)]));
  const gradients =
    (together
      ? op.backward!(B, dOut, saved, w, attrs, needs)
      : op.backwardInput?.(B, dOut, saved, w, attrs, needs, Object.fromEntries(added))) ?? {};
  if (!together) op.backwardWeight?.(broken ? twice(W) : W, dOut, saved, w, attrs);
  const dInputs = new Map(
    Object.entries(gradients).filter(([name, tensor]) => tensor && needs[name]) as [string, Tensor][],
  );
  program.keep(...tensors.values(), out, dOut, ...dInputs.values(), ...added.values());
  const plans = await program.finish();
  return {
    program,
    inputs: tensors,
    weights: params,
    out,
    dOut,
    dInputs,
    addends: added,
    run: async (slot, names) => {
      for (const name of names) await plans.get(name)?.run(slot);
    },
  };
}

/** The seeded defect: every launch of W is recorded twice. */
function twice(r: Recorder): Recorder {
  return {
    ...r,
    launch(kernel, io, params) {
      r.launch(kernel, io, params);
      r.launch(kernel, io, params);
    },
  };
}

function fill(built: Built, { inputs, weights = {} }: Case, slot: number, stream: string): Map<string, TypedArray> {
  const random = new RandomStream(7, stream);
  let drawn = 0;
  const values = new Map<string, TypedArray>();
  const draw = (shape: Shape): Float32Array<ArrayBuffer> =>
    Float32Array.from({ length: elements(shape) }, () => random.normal(drawn++));
  for (const [name, { shape, data }] of Object.entries(inputs)) values.set(name, data ?? draw(shape));
  for (const [name, shape] of Object.entries(weights)) values.set(name, draw(shape));
  values.set('dOut', draw(built.dOut.shape));
  for (const [name, tensor] of built.inputs) built.program.write(tensor, slot, values.get(name)!);
  for (const [name, param] of built.weights) built.program.write(param, slot, values.get(name)!);
  built.program.write(built.dOut, slot, values.get('dOut')!);
  return values;
}

/** sum of out * dOut with one element moved by `by`. */
async function objective(
  built: Built,
  tensor: Tensor,
  values: TypedArray,
  dOut: TypedArray,
  at: number,
  by: number,
): Promise<number> {
  const moved = values.slice() as Float32Array<ArrayBuffer>;
  moved[at] += by;
  built.program.write(tensor, 0, moved);
  await built.run(0, ['F']);
  const [out] = await readTensors(built.program, [built.out]);
  built.program.write(tensor, 0, values);
  return (out as Float32Array).reduce((sum, value, i) => sum + value * dOut[i], 0);
}

async function worstGradient(make: MakeDevice, c: Case, broken = false): Promise<number> {
  const built = await build(make, c, { broken });
  const values = fill(built, c, 0, 'first');
  await built.run(0, ['F', 'B', 'W']);
  const names = [...built.dInputs.keys(), ...built.weights.keys()];
  const got = await readTensors(
    built.program,
    names.map((name) => built.dInputs.get(name) ?? built.weights.get(name)!.grad),
  );
  const step = 1e-2;
  let worst = 0;
  for (const [n, name] of names.entries()) {
    const tensor = built.inputs.get(name) ?? built.weights.get(name)!;
    const own = values.get(name)!;
    const most = (got[n] as Float32Array).reduce((a, b) => Math.max(a, Math.abs(b)), 0.1);
    for (let i = 0; i < own.length; i++) {
      const difference =
        (await objective(built, tensor, own, values.get('dOut')!, i, step)) -
        (await objective(built, tensor, own, values.get('dOut')!, i, -step));
      worst = Math.max(worst, Math.abs(difference / (2 * step) - got[n][i]) / most);
    }
  }
  return worst;
}

describe.each(DEVICES)('on %s', (_device, make) => {
  test.each(Object.entries(CASES))('%s: B and W equal central differences', async (_name, c) => {
    expect(await worstGradient(make, c)).toBeLessThan(2e-3);
  });

  test.each(Object.entries(CASES).filter(([, { weights }]) => weights))(
    '%s: W may run late, and adds',
    async (_name, c) => {
      const [early, late] = [await build(make, c), await build(make, c)];
      for (const built of [early, late]) {
        fill(built, c, 0, 'first');
        fill(built, c, 1, 'second');
      }
      await early.run(0, ['F', 'B', 'W']);
      await early.run(1, ['F', 'B', 'W']);
      await late.run(0, ['F', 'B']);
      await late.run(1, ['F', 'B', 'W']);
      await late.run(0, ['W']);
      const grads = async (built: Built) =>
        (
          await readTensors(
            built.program,
            [...built.weights.values()].map(({ grad }) => grad),
          )
        ).map((grad) => [...grad]);
      const [a, b] = [await grads(early), await grads(late)];
      a.flat().forEach((value, i) => expect(b.flat()[i]).toBeCloseTo(value, 4));
      expect(Math.max(...a.flat().map(Math.abs))).toBeGreaterThan(0);
    },
  );

  test.each(Object.entries(CASES).filter(([, { op }]) => op.adds))('%s: B adds what it is given', async (_name, c) => {
    const names = c.op.adds!;
    const [alone, adding] = [await build(make, c), await build(make, c, { addends: names })];
    for (const built of [alone, adding]) fill(built, c, 0, 'first');
    const given = names.map((name) => Float32Array.from({ length: elements(c.inputs[name].shape) }, (_, i) => i - 3));
    names.forEach((name, i) => adding.program.write(adding.addends.get(name)!, 0, given[i]));
    for (const built of [alone, adding]) await built.run(0, ['F', 'B']);
    const read = (built: Built, tensors: ReadonlyMap<string, Tensor>): Promise<readonly TypedArray[]> =>
      readTensors(
        built.program,
        names.map((name) => tensors.get(name)!),
      );
    const [before, after, left] = [
      await read(alone, alone.dInputs),
      await read(adding, adding.dInputs),
      await read(adding, adding.addends),
    ];
    names.forEach((_, n) => given[n].forEach((value, i) => expect(after[n][i]).toBeCloseTo(before[n][i] + value, 5)));
    expect(left).toEqual(given);
  });
});

test('a tape lets a norm add the gradient of the residual, and adds itself where an op cannot', async () => {
  const device = createCpuDevice();
  const program = new Program(device);
  const fixed = (label: string): Tensor => ({
    shape: [4],
    dtype: 'f32',
    label,
    offset: 0,
    storage: { kind: 'fixed', buffer: device.alloc(16, 'param', label) },
  });
  const w: Param = { ...fixed('w'), name: 'w', grad: fixed('dw') };
  const [x, dOut] = [program.tensor([2, 4], 'f32', 'x'), program.tensor([2, 4], 'f32', 'dOut')];
  const gradientOf = (name: string, apply: (tape: Tape, x: Tensor) => Tensor): Tensor => {
    const tape = new Tape(program.recorder(`${name} F`));
    const out = tape.apply(add, { a: x, b: apply(tape, x) }, {}, null);
    const B = program.recorder(`${name} B`);
    const dX = tape.backward([[out, dOut]], [x], B, B)[0]!;
    program.keep(out, dX);
    return dX;
  };
  const apart = gradientOf('gelu', (tape, y) => tape.apply(gelu, { x: y }, {}, { tanh: true }));
  const joined = gradientOf('norm', (tape, y) => tape.apply(rmsNorm, { x: y }, { w }, { eps: 1e-5 }));
  program.keep(x, dOut);
  const plans = await program.finish();
  expect(plans.get('gelu B')!.toString()).toContain('\nadd (');
  expect(plans.get('norm B')!.toString()).not.toContain('\nadd (');
  program.write(w, 0, Float32Array.of(1, 1, 1, 1));
  program.write(x, 0, Float32Array.of(2, 2, 2, 2, 0, 0, 0, 0));
  program.write(dOut, 0, Float32Array.of(1, 1, 1, 1, 1, 2, 3, 4));
  for (const name of ['gelu F', 'gelu B', 'norm F', 'norm B']) await plans.get(name)!.run(0);
  const [geluX, normX] = await readTensors(program, [apart, joined]);
  // gelu'(0) is 1/2. A norm has no slope along x itself, and 1 / sqrt(eps) at zero.
  [1, 2, 3, 4].forEach((value, i) => expect(geluX[4 + i]).toBeCloseTo(1.5 * value, 5));
  [0, 1, 2, 3].forEach((i) => expect(normX[i]).toBeCloseTo(1, 4));
  [1, 2, 3, 4].forEach((value, i) => expect(normX[4 + i] / (value * (1 + 1 / Math.sqrt(1e-5)))).toBeCloseTo(1, 4));
});

describe.each(DEVICES)('on %s', (_device, make) => {
  test.each(Object.entries(CASES).filter(([, { op }]) => op.backward))(
    '%s: both in one equal B and then W',
    async (_name, c) => {
      const [apart, together] = [await build(make, c), await build(make, c, { together: true })];
      const results = await Promise.all(
        [apart, together].map(async (built) => {
          fill(built, c, 0, 'first');
          await built.run(0, ['F', 'B', 'W']);
          return (
            await readTensors(built.program, [
              ...built.dInputs.values(),
              ...[...built.weights.values()].map(({ grad }) => grad),
            ])
          ).map((values) => [...values]);
        }),
      );
      expect(results[1]).toEqual(results[0]);
      expect(results[0].flat().some((value) => value !== 0)).toBe(true);
    },
  );
});

test.each(DEVICES)('a W that counts twice is caught on %s', async (_device, make) => {
  expect(await worstGradient(make, CASES.linear, true)).toBeGreaterThan(0.4);
});

test('every op file has a case', () => {
  const files = Object.keys(import.meta.glob('../../src/ops/*.ts')).map((path) => path.replace(/^.*\/(.*)\.ts$/, '$1'));
  const recordings = ['op', 'tape', 'matmul', 'collective', 'add-row', 'copy-columns', 'transfer'];
  const tested = new Set(Object.values(CASES).map(({ op }) => op.name));
  expect(
    files.filter(
      (name) => !recordings.includes(name) && !tested.has(name === 'cross-entropy' ? 'linear-cross-entropy' : name),
    ),
  ).toEqual([]);
});
