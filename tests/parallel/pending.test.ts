// A pending product that is settled late: Ladder Residual, in which sublayer k reads the residual stream before
// sublayer k-1 is added to it, x_k = x_{k-1} + f_k(x_{k-2}) with f(x) = gelu(x U^T) W^T + b. On two tensor ranks the
// all-reduce of a sublayer is on its way while the next one computes; results and gradients are those of a reference in
// f64, and the bytes those of the ordinary order. Source: Zhang et al. 2025 (Ladder Residual).

import { expect, test } from 'vitest';
import { InternalError } from '../../src/base/errors.ts';
import { RandomStream } from '../../src/base/random.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { Program, readTensors } from '../../src/device/program.ts';
import type { Param, Tensor } from '../../src/device/tensor.ts';
import { singleRank } from '../../src/model/parallelism.ts';
import type { Parallelism, Pending } from '../../src/model/parallelism.ts';
import { gelu } from '../../src/ops/gelu.ts';
import { Tape } from '../../src/ops/tape.ts';
import { onTensorRanks } from '../support/tensor-ranks.ts';

const [R, D, F, LAYERS] = [3, 4, 8, 3];
type Wiring = 'ladder' | 'ordinary';
/** Row-major: x [R, D], d [R, D], and of each sublayer U [F, D], W [D, F], b [D]. */
type Values = Readonly<Record<string, readonly number[]>>;

const random = new RandomStream(11, 'ladder');
let drawn = 0;
const draw = (count: number): number[] => Array.from({ length: count }, () => Math.fround(random.normal(drawn++) / 2));
const VALUES: Values = {
  x: draw(R * D),
  d: draw(R * D),
  ...Object.fromEntries(
    Array.from({ length: LAYERS }, (_, k) => [
      [`U${k}`, draw(F * D)],
      [`W${k}`, draw(D * F)],
      [`b${k}`, draw(D)],
    ]).flat() as [string, number[]][],
  ),
};

/** The last x in f64. */
function reference(v: Values, wiring: Wiring): readonly number[] {
  const f = (x: readonly number[], k: number): readonly number[] => {
    const out: number[] = [];
    for (let r = 0; r < R; r++) {
      const hidden = Array.from({ length: F }, (_, j) => {
        let sum = 0;
        for (let i = 0; i < D; i++) sum += x[r * D + i] * v[`U${k}`][j * D + i];
        return (sum / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (sum + 0.044715 * sum ** 3)));
      });
      for (let i = 0; i < D; i++)
        out.push(hidden.reduce((sum, h, j) => sum + h * v[`W${k}`][i * F + j], v[`b${k}`][i]));
    }
    return out;
  };
  let [before, x] = [v['x'], v['x']];
  for (let k = 0; k < LAYERS; k++) {
    const y = f(wiring === 'ladder' ? before : x, k);
    before = x;
    x = x.map((value, i) => value + y[i]);
  }
  return x;
}

/** Gradient of sum(d * out) by `name`, by central differences of the reference. */
function gradientOf(name: string, wiring: Wiring): readonly number[] {
  const loss = (values: Values): number =>
    reference(values, wiring).reduce((sum, value, i) => sum + value * VALUES['d'][i], 0);
  const step = 1e-5;
  return VALUES[name].map((_, i) => {
    const moved = (by: number): Values => ({ ...VALUES, [name]: VALUES[name].with(i, VALUES[name][i] + by) });
    return (loss(moved(step)) - loss(moved(-step))) / (2 * step);
  });
}

/** What a tensor rank holds: rows of U, columns of W, all of the rest. */
function cut(name: string, values: readonly number[], { rank, size }: { rank: number; size: number }): Float32Array {
  const f = F / size;
  if (name.startsWith('U')) return Float32Array.from(values.slice(rank * f * D, (rank + 1) * f * D));
  if (name.startsWith('W')) return Float32Array.from(values.filter((_, i) => Math.floor((i % F) / f) === rank));
  return Float32Array.from(values);
}

/** Records the sublayers. `settle` says when a product is settled: before the next one begins, or after. */
function record(t: Tape, par: Parallelism, x: Tensor, param: (name: string) => Param, wiring: Wiring): Tensor {
  let waiting: { readonly product: Pending; readonly stream: Tensor } | undefined;
  let stream = x;
  for (let k = 0; k < LAYERS; k++) {
    if (wiring === 'ordinary' && waiting) stream = waiting.product.settle(stream);
    const hidden = par.columnLinear(t, stream, param(`U${k}`));
    const active = t.apply(gelu, { x: hidden }, {}, { tanh: true });
    // The next sublayer has computed its input and its hidden layer: now what came before joins the stream.
    const next = wiring === 'ladder' && waiting ? waiting.product.settle(stream) : stream;
    waiting = { product: par.rowLinear(t, active, param(`W${k}`), param(`b${k}`)), stream: next };
    stream = next;
  }
  return waiting!.product.settle(stream);
}

async function run(par: Parallelism, wiring: Wiring) {
  const device = createCpuDevice();
  const program = new Program(device);
  const fixed = (label: string, data: Float32Array): Tensor => {
    const buffer = device.alloc(data.byteLength, 'param', label);
    device.write(buffer, 0, data);
    return { shape: [data.length], dtype: 'f32', label, offset: 0, storage: { kind: 'fixed', buffer } };
  };
  const shapes: Readonly<Record<string, readonly number[]>> = {
    U: [F / par.tp.size, D],
    W: [D, F / par.tp.size],
    b: [D],
  };
  const params = new Map<string, Param>();
  for (const name of Object.keys(VALUES)) {
    const shape = shapes[name[0]];
    if (!shape) continue;
    const own = cut(name, VALUES[name], par.tp);
    const grad = { ...fixed(`d.${name}`, new Float32Array(own.length)), shape };
    params.set(name, { ...fixed(name, own), shape, name, grad });
  }
  const [x, d] = [program.tensor([R, D], 'f32', 'x'), program.tensor([R, D], 'f32', 'd')];
  const tape = new Tape(program.recorder('F'));
  const out = record(tape, par, x, (name) => params.get(name)!, wiring);
  const B = program.recorder('B');
  const [dX] = tape.backward([[out, d]], [x], B, B);
  program.keep(x, d, out, dX!);
  const plans = await program.finish();
  program.write(x, 0, Float32Array.from(VALUES['x']));
  program.write(d, 0, Float32Array.from(VALUES['d']));
  await plans.get('F')!.run();
  await plans.get('B')!.run();
  const [result, gradient] = await readTensors(program, [out, dX!]);
  const gradients = new Map<string, ArrayLike<number>>([['x', gradient]]);
  for (const [name, { grad }] of params) {
    const { buffer } = grad.storage as { buffer: Parameters<typeof device.write>[0] };
    const [bytes] = await device.submit([], [{ buffer, offset: 0, bytes: buffer.bytes }]);
    gradients.set(name, new Float32Array(bytes));
  }
  return { result, gradients, plan: String(plans.get('F')), traffic: plans.get('F')!.traffic };
}

const onTwo = (wiring: Wiring) => onTensorRanks((parallelism) => run(parallelism, wiring));

const worst = (got: ArrayLike<number>, want: readonly number[]): number => {
  expect(got.length).toBe(want.length);
  return want.reduce((most, value, i) => Math.max(most, Math.abs(got[i] - value)), 0);
};

test.each<Wiring>(['ladder', 'ordinary'])('%s on two tensor ranks and on one is the reference', async (wiring) => {
  const ranks = [...(await onTwo(wiring)), await run(singleRank, wiring)];
  for (const [i, { result, gradients }] of ranks.entries()) {
    const place = i < 2 ? { rank: i, size: 2 } : { rank: 0, size: 1 };
    expect(worst(result, reference(VALUES, wiring))).toBeLessThan(2e-6);
    for (const [name, values] of gradients)
      expect(worst(values, [...cut(name, gradientOf(name, wiring), place)]), name).toBeLessThan(5e-6);
  }
});

test('the two wirings are different networks, so that the one is not taken for the other', async () => {
  const [{ result }] = await onTwo('ordinary');
  expect(worst(result, reference(VALUES, 'ladder'))).toBeGreaterThan(0.05);
});

test('the all-reduce of a sublayer begins before the next one computes, and ends after it', async () => {
  const [ladder] = await onTwo('ladder');
  const [ordinary] = await onTwo('ordinary');
  const steps = (plan: string): string =>
    plan
      .split('\n')
      .flatMap((line) => /^\s*(?:\d+\s+)?(matmul|gelu|host|wait|addPosition)/.exec(line)?.[1] ?? [])
      .join(' ');
  const first = 'matmul gelu matmul host';
  expect(steps(ladder.plan)).toBe(
    `${first} matmul gelu wait addPosition matmul host matmul gelu wait addPosition matmul host wait addPosition`,
  );
  expect(steps(ordinary.plan)).toBe(Array.from({ length: LAYERS }, () => `${first} wait addPosition`).join(' '));
  expect(ladder.traffic).toEqual(ordinary.traffic);
});

test('a product is settled once, with or without a residual', async () => {
  const program = new Program(createCpuDevice());
  const x = program.tensor([1, 2], 'f32', 'x');
  const w = { ...program.tensor([2, 2], 'f32', 'w'), name: 'w', grad: program.tensor([2, 2], 'f32', 'dw') };
  const tape = new Tape(program.recorder('F'));
  const product = singleRank.rowLinear(tape, x, w);
  const out = product.settle();
  program.keep(x, w, out);
  expect(() => product.settle(x)).toThrow(InternalError);
  const plans = await program.finish();
  program.write(x, 0, Float32Array.of(1, 2));
  program.write(w, 0, Float32Array.of(1, 10, 100, 1000));
  await plans.get('F')!.run();
  expect([...(await readTensors(program, [out]))[0]]).toEqual([21, 2100]);
});
