// `tabmesh verify` on operator cases: what passes, what must be reported as failed, and what counts as skipped; on the
// references.

import { rmSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { AbortedError } from '../../src/base/errors.ts';
import { run } from '../../src/cli/main.ts';
import { compareElements, runCases } from '../../src/cli/verify/cases.ts';
import { Lab } from '../../src/cli/verify/lab.ts';
import { broadcastShape, broadcastTo, permute } from '../../src/cli/verify/rearrange.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { Device } from '../../src/device/device.ts';
import { MATMUL, failed, onnxFolder, runFolder, torchFolder, writeFolder } from '../support/case-folder.ts';
import type { CaseFolder, OnnxGiven, TorchGiven } from '../support/case-folder.ts';

const device = createCpuDevice();
const torch = (one: TorchGiven) => runFolder(device, torchFolder([one]));
const onnx = (one: OnnxGiven) => runFolder(device, onnxFolder([one]));
const range = (n: number) => Float32Array.from({ length: n }, (_, i) => ((7 * i) % 11) - 5 + i / 8);
const float = (
  shape: number[],
  values: readonly number[] | Float32Array = range(shape.reduce((a, b) => a * b, 1)),
) => ({ shape, values });

describe('a case by hand', () => {
  it('passes in outputs and gradients', async () => {
    const report = await torch(MATMUL);
    expect(report.checks.map(({ name, passed }) => [name, passed])).toEqual([
      ['product C', true],
      ['product dA', true],
      ['product dB', true],
    ]);
    expect(report.skipped).toBe(0);
  });

  it.each(['C', 'dA', 'dB'] as const)(
    'fails when the expected %s is spoiled in one element by 0.1 percent',
    async (name) => {
      const section = name === 'C' ? 'outputs' : 'grads';
      const given = MATMUL[section]![name];
      const values = [...given.values];
      values[2] *= 1.001;
      expect(
        failed(await torch({ ...MATMUL, [section]: { ...MATMUL[section], [name]: { ...given, values } } })),
      ).toEqual([`product ${name}`]);
    },
  );

  it('fails when a kernel is wrong', async () => {
    const wrong: Device = {
      ...device,
      prepare: (kernel, params, io) =>
        device.prepare(kernel, kernel.name === 'matmul' ? { ...params, SCALE: 1.001 } : params, io),
    };
    expect(failed(await runFolder(wrong, torchFolder([MATMUL])))).toEqual(['product C', 'product dA', 'product dB']);
  });

  it('fails when an output is wanted that is not computed', async () => {
    const report = await torch({ ...MATMUL, outputs: { ...MATMUL.outputs, D: { shape: [1], values: [0] } } });
    expect(failed(report)).toEqual(['product D']);
  });

  it('fails, and stops no other case, when it lacks an input', async () => {
    const { dC: _, ...inputs } = MATMUL.inputs;
    const report = await runFolder(device, torchFolder([{ ...MATMUL, name: 'broken', inputs }, MATMUL]));
    expect(failed(report)).toEqual(['broken']);
    expect(report.checks.filter(({ passed }) => passed)).toHaveLength(3);
  });
});

describe('what we do not have is skipped, never passed', () => {
  it('an unknown operator, by its name', async () => {
    const report = await runFolder(
      device,
      torchFolder([{ ...MATMUL, name: 'unknown', op: 'hyper_attention' }, MATMUL]),
    );
    expect(report.skipped).toBe(1);
    expect(report.checks).toHaveLength(3);
    expect(report.labels[0]).toContain('hyper_attention');
  });

  it.each<[string, OnnxGiven]>([
    [
      'attn_mask',
      {
        name: 'masked',
        op: 'Attention',
        inputs: [...Array(3).fill(float([1, 1, 2, 4])), float([2, 2])],
        outputs: [float([1, 1, 2, 4])],
      },
    ],
    [
      'softcap',
      {
        name: 'capped',
        op: 'Attention',
        attributes: { softcap: 2 },
        inputs: Array(3).fill(float([1, 1, 2, 4])),
        outputs: [float([1, 1, 2, 4])],
      },
    ],
    [
      'qk_matmul_output',
      {
        name: 'scores',
        op: 'Attention',
        inputs: Array(3).fill(float([1, 1, 2, 4])),
        outputs: [float([1, 1, 2, 4]), null, null, float([1, 1, 2, 2])],
      },
    ],
    [
      'moves nothing',
      {
        name: 'same',
        op: 'Transpose',
        attributes: { perm: [0, 1] },
        inputs: [float([2, 3])],
        outputs: [float([2, 3])],
      },
    ],
  ])('a variant: %s', async (reason, one) => {
    const report = await onnx(one);
    expect([report.skipped, report.checks.length]).toEqual([1, 0]);
    expect(report.status.join()).toContain(reason);
  });

  it('momentum without Nesterov', async () => {
    const report = await torch({
      name: 'plain',
      op: 'optimizer',
      attrs: { lr: 0.1, momentum: 0.9, nesterov: false },
      inputs: { w0: float([3]), g: float([2, 3]) },
      outputs: { w: float([2, 3]) },
    });
    expect(report.skipped).toBe(1);
  });
});

it('SGD with Nesterov momentum follows the formula, whatever its state is called', async () => {
  const [lr, momentum] = [0.7, 0.9];
  const [w0, g] = [range(5), range(20)];
  const [w, m] = [Float64Array.from(w0), new Float64Array(5)];
  const path: number[] = [];
  for (let s = 0; s < 4; s++) {
    for (let i = 0; i < 5; i++) {
      m[i] = s === 0 ? g[i] : momentum * m[i] + g[s * 5 + i];
      w[i] -= lr * (g[s * 5 + i] + momentum * m[i]);
    }
    path.push(...w);
  }
  const one: TorchGiven = {
    name: 'sgd',
    op: 'optimizer',
    attrs: { lr, momentum, nesterov: true, steps: 4 },
    inputs: { w0: float([5], w0), g: float([4, 5], g) },
    outputs: { w: float([4, 5], path), buf: float([5], [...m]) },
  };
  const report = await torch(one);
  expect(report.checks).toHaveLength(2);
  expect(failed(report)).toEqual([]);
  expect(failed(await torch({ ...one, attrs: { lr, momentum: 0.89 } }))).toEqual(['sgd w', 'sgd buf']);
});

describe('ONNX operators that rearrange', () => {
  /** c[i, j] of two matrices, naive. */
  const times = (a: Float32Array, b: Float32Array, M: number, K: number, N: number) =>
    Float32Array.from({ length: M * N }, (_, at) =>
      Array.from({ length: K }, (_unused, k) => a[Math.floor(at / N) * K + k] * b[k * N + (at % N)]).reduce(
        (x, y) => x + y,
        0,
      ),
    );

  it('MatMul broadcasts batches on both sides', async () => {
    const [a, b] = [float([3, 1, 2, 4]), float([2, 4, 5])];
    const values = [0, 1, 2].flatMap((i) =>
      [0, 1].flatMap((j) => [
        ...times(
          a.values.slice(i * 8, i * 8 + 8) as Float32Array,
          b.values.slice(j * 20, j * 20 + 20) as Float32Array,
          2,
          4,
          5,
        ),
      ]),
    );
    const one: OnnxGiven = { name: 'both', op: 'MatMul', inputs: [a, b], outputs: [float([3, 2, 2, 5], values)] };
    expect(failed(await onnx(one))).toEqual([]);
    expect(failed(await onnx({ ...one, outputs: [float([3, 2, 2, 5], values.toReversed())] }))).toEqual([
      'both output 0',
    ]);
  });

  it('Gemm adds beta c, broadcast from a column', async () => {
    const [a, b, c] = [range(6), range(12), Float32Array.of(10, 20)];
    const values = times(a, b, 2, 3, 4).map((x, i) => 0.5 * x + 3 * c[Math.floor(i / 4)]);
    expect(
      failed(
        await onnx({
          name: 'column',
          op: 'Gemm',
          attributes: { alpha: 0.5, beta: 3 },
          inputs: [float([2, 3], a), float([3, 4], b), float([2, 1], c)],
          outputs: [float([2, 4], values)],
        }),
      ),
    ).toEqual([]);
  });

  it('every permutation of four dimensions and every broadcast equal index arithmetic', async () => {
    const shape = [2, 3, 4, 5];
    const x = range(120);
    const strides = [60, 20, 5, 1];
    const orders = permutations([0, 1, 2, 3]);
    expect(orders).toHaveLength(24);
    for (const order of orders) {
      const lab = new Lab(device);
      const y = permute(lab, lab.data(x, shape), order);
      const to = order.map((dim) => shape[dim]);
      expect(y.shape).toEqual(to);
      expect((await lab.run({ y })).y).toEqual(
        gather(
          x,
          to,
          order.map((dim) => strides[dim]),
        ),
      );
      lab.dispose();
    }
    for (const from of [[1], [5], [4, 1], [3, 1, 5], [2, 1, 4, 1], [1, 3, 1, 1], [2, 3, 4, 5]]) {
      const lab = new Lab(device);
      expect(broadcastShape(from, shape)).toEqual(shape);
      const padded = [...Array<number>(4 - from.length).fill(1), ...from];
      const own = padded.map((extent, i) => (extent === 1 ? 0 : padded.slice(i + 1).reduce((n, e) => n * e, 1)));
      const data = range(from.reduce((a, b) => a * b, 1));
      expect((await lab.run({ y: broadcastTo(lab, lab.data(data, from), shape) })).y).toEqual(gather(data, shape, own));
      lab.dispose();
    }
    expect(() => broadcastShape([2, 3], [2, 4])).toThrow('do not fit');
  });
});

function permutations(items: readonly number[]): number[][] {
  return items.length === 0
    ? [[]]
    : items.flatMap((item) => permutations(items.filter((other) => other !== item)).map((rest) => [item, ...rest]));
}

function gather(x: Float32Array, shape: readonly number[], strides: readonly number[]): Float32Array {
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => {
    let [rest, at] = [i, 0];
    for (let d = shape.length - 1; d >= 0; d--) {
      at += (rest % shape[d]) * strides[d];
      rest = Math.floor(rest / shape[d]);
    }
    return x[at];
  });
}

describe('elements', () => {
  const one = (got: number, want: number, allowed = 0.5) => compareElements('x', [got], [want], () => allowed).passed;
  it('pass inside the tolerance only', () =>
    expect([one(1.5, 1), one(1.51, 1), one(2, 2, 0), one(2, 3, 0)]).toEqual([true, false, true, false]));
  it('treat NaN and infinities as values', () =>
    expect([
      one(NaN, NaN),
      one(NaN, 1),
      one(1, NaN),
      one(Infinity, Infinity),
      one(Infinity, -Infinity),
      one(1, Infinity),
      one(-Infinity, 1),
    ]).toEqual([true, false, false, true, false, false, false]));
  it('count their number', () => expect(compareElements('x', [1, 2], [1], () => 1).passed).toBe(false));
});

describe('a broken folder is an error with the place', () => {
  const reject = (
    change: (manifest: {
      format: string;
      cases: { file: string; inputs: Record<string, { shape: number[]; tensor: string }> }[];
    }) => void,
  ) => {
    const folder = torchFolder([MATMUL]);
    const manifest = structuredClone(folder.manifest) as Parameters<typeof change>[0];
    change(manifest);
    return runFolder(device, { ...folder, manifest } as CaseFolder);
  };
  it('format', () =>
    expect(
      reject((m) => {
        m.format = 'torch-golden/9';
      }),
    ).rejects.toThrow(/format: expected torch-golden\/1 or onnx-node-cases\/1, got "torch-golden\/9"/));
  it('file outside of the folder', () =>
    expect(
      reject((m) => {
        m.cases[0].file = '../ops.safetensors';
      }),
    ).rejects.toThrow('no name of a safetensors file'));
  it('a shape that is not the file’s fails its case', async () =>
    expect(
      (
        await reject((m) => {
          m.cases[0].inputs['A'].shape = [4, 1];
        })
      ).checks,
    ).toMatchObject([{ name: 'product', passed: false }]));
});

it('stops when it is told to', async () => {
  const { manifest, bytes } = torchFolder([MATMUL]);
  await expect(
    runCases({
      device,
      manifest,
      file: async () => bytes,
      signal: { aborted: true },
      onStatus: () => {},
      onGroup: () => {},
    }),
  ).rejects.toThrow(AbortedError);
});

describe('the command', () => {
  const folders: string[] = [];
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true });
  });
  const verify = async (cases: readonly TorchGiven[], ...args: string[]) => {
    const folder = writeFolder(torchFolder(cases));
    folders.push(folder);
    const [out, err]: [string[], string[]] = [[], []];
    const code = await run(['verify', folder, '--backend', 'cpu', ...args], {
      out: (line) => out.push(line),
      err: (line) => err.push(line),
      signal: new AbortController().signal,
      interactive: false,
      columns: 120,
    });
    return { code, last: out.at(-1), err: err.join('\n') };
  };

  it('passes, names the adapter and counts', async () => {
    const { code, last, err } = await verify([MATMUL, { ...MATMUL, name: 'other', op: 'unheard_of' }]);
    expect({ code, last }).toEqual({ code: 0, last: '3 passed, 0 failed, 1 skipped' });
    expect(err).toContain('torch-golden/1 on cpu: f64 references on the CPU');
  });
  it('fails on a spoiled value', async () =>
    expect(await verify([{ ...MATMUL, outputs: { C: { shape: [2, 2], values: [19, 22, 43, 51] } } }])).toMatchObject({
      code: 1,
      last: '2 passed, 1 failed, 0 skipped',
    }));
  it('is no success when everything was skipped', async () =>
    expect(await verify([{ ...MATMUL, op: 'unheard_of' }])).toMatchObject({
      code: 1,
      last: '0 passed, 0 failed, 1 skipped',
    }));
  it('runs a part', async () =>
    expect(await verify([MATMUL, { ...MATMUL, name: 'second' }], '--only', 'sec')).toMatchObject({
      code: 0,
      last: '3 passed, 0 failed, 0 skipped',
    }));
});
