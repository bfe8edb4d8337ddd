// Programs and plans on the references: slots, pooled tensors, host steps beside the device, and memory that comes
// back.

import { describe, expect, test } from 'vitest';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { NoDeviceError } from '../../src/base/errors.ts';
import { BufferPool, placeTensors } from '../../src/device/storage/pool.ts';
import { Program, readTensors } from '../../src/device/program.ts';
import type { PlanStep, Recorder } from '../../src/device/recorder.ts';
import type { Tensor } from '../../src/device/tensor.ts';
import { openGpu } from '../../src/device/webgpu.ts';
import { add } from '../../shaders/elementwise/add.ts';

function sum(r: Recorder, a: Tensor, b: Tensor): Tensor {
  const out = r.tensor(a.shape);
  r.launch(add, { a, b, out }, { N: 4, ALPHA: 1, BETA: 1 });
  return out;
}

describe('slots', () => {
  test('each slot keeps what it saved for a later plan', async () => {
    const program = new Program(createCpuDevice(), 2);
    const x = program.tensor([4]);
    const doubled = sum(program.recorder('F'), x, x);
    const out = sum(program.recorder('B'), doubled, x);
    program.keep(x, out);
    const plans = await program.finish();
    for (const slot of [0, 1]) {
      program.write(
        x,
        slot,
        Float32Array.from([1, 2, 3, 4], (v) => v * (slot + 1)),
      );
      await plans.get('F')!.run(slot);
    }
    for (const slot of [0, 1]) await plans.get('B')!.run(slot);
    expect([...(await readTensors(program, [out], 0))[0]]).toEqual([3, 6, 9, 12]);
    expect([...(await readTensors(program, [out], 1))[0]]).toEqual([6, 12, 18, 24]);
  });

  test('a tensor of one plan cannot be reached from outside', async () => {
    const program = new Program(createCpuDevice());
    const x = program.tensor([4]);
    const inner = sum(program.recorder('F'), x, x);
    const out = sum(program.recorder('F'), inner, x);
    program.keep(x, out);
    await program.finish();
    expect(() => program.range(inner)).toThrow('keep()');
  });
});

describe('classes of slots', () => {
  /** F makes `early` for B alone and `kept` for both; B makes `late` for W. */
  const record = (program: Program) => {
    const [F, B, W] = ['F', 'B', 'W'].map((name) => program.recorder(name)) as [Recorder, Recorder, Recorder];
    const x = program.tensor([4]);
    const early = sum(F, x, x);
    const kept = sum(F, early, x);
    const late = sum(B, early, kept);
    const out = sum(W, late, kept);
    program.keep(x, out);
    return { x, early, kept, late, out };
  };
  const CLASSES = (counts: readonly [number, number, number]) => [
    { name: 'F to B', plans: ['F', 'B'], count: counts[0] },
    { name: 'F to W', plans: ['F', 'B', 'W'], count: counts[1] },
    { name: 'B to W', plans: ['B', 'W'], count: counts[2] },
  ];

  test('what dies early needs fewer buffers, and every microbatch keeps its own', async () => {
    const device = createCpuDevice();
    // Three microbatches wait for W, one at a time is between F and B: F0 B0 F1 B1 F2 B2 W0 W1 W2.
    const at = (microbatch: number) => ({ 'F to B': 0, 'F to W': microbatch, 'B to W': microbatch });
    const all = [0, 1, 2].map(at);
    const program = new Program(device, {
      classes: CLASSES([1, 3, 3]),
      sets: new Map([
        ['F', all],
        ['B', all],
        ['W', all],
      ]),
    });
    const { x, out } = record(program);
    const plans = await program.finish();
    // x and `early` once, `kept` and `late` three times, `out` (of W alone, read after it) three times.
    expect(device.memory.activation.now).toBe(16 * (1 + 1 + 3 + 3 + 3));
    for (const [microbatch, slot] of all.entries()) {
      program.write(
        x,
        slot,
        Float32Array.from([1, 2, 3, 4], (v) => v * (microbatch + 1)),
      );
      for (const name of ['F', 'B']) await plans.get(name)!.run(slot);
    }
    for (const slot of all) await plans.get('W')!.run(slot);
    for (const [microbatch, slot] of all.entries()) {
      // early 2x, kept 3x, late 5x, out 8x.
      expect([...(await readTensors(program, [out], slot))[0]]).toEqual(
        [8, 16, 24, 32].map((v) => v * (microbatch + 1)),
      );
    }
  });

  test('a plan runs only in slots that it was bound to, and a slot of each of its classes', async () => {
    const slot = { 'F to B': 0, 'F to W': 1, 'B to W': 0 };
    const program = new Program(createCpuDevice(), {
      classes: CLASSES([1, 2, 1]),
      sets: new Map(['F', 'B', 'W'].map((name) => [name, [slot]])),
    });
    record(program);
    const plans = await program.finish();
    await expect(plans.get('W')!.run({ ...slot, 'F to W': 0 })).rejects.toThrow(
      'plan W is not bound to slot B to W 0, F to W 0',
    );
    await expect(plans.get('B')!.run({ 'F to B': 0, 'F to W': 1 })).rejects.toThrow(
      'a tensor of class B to W is used where no slot of it is held',
    );
  });

  test('a tensor that outlives every class is an error', async () => {
    const program = new Program(createCpuDevice(), {
      classes: [{ name: 'F to B', plans: ['F', 'B'], count: 1 }],
      sets: new Map(),
    });
    record(program);
    await expect(program.finish()).rejects.toThrow('no class of slots lives through the plans F, B, W');
  });

  test('launches that cannot tell two slots apart are one', async () => {
    let prepared = 0;
    const device = createCpuDevice();
    const prepare = device.prepare.bind(device);
    device.prepare = (...given) => {
      prepared++;
      return prepare(...given);
    };
    const sets = [0, 1, 2].map((slot) => ({ 'F to B': 0, 'F to W': slot, 'B to W': 0 }));
    const program = new Program(device, {
      classes: CLASSES([1, 3, 1]),
      sets: new Map(['F', 'B', 'W'].map((name) => [name, sets])),
    });
    record(program);
    await program.finish();
    // early in one slot; kept, late and out touch `kept` and so have three each.
    expect(prepared).toBe(1 + 3 + 3 + 3);
  });
});

describe('pool', () => {
  test('programs of a rank share it, and its owner frees it', async () => {
    const device = createCpuDevice();
    const pool = new BufferPool(device);
    const make = async (shared?: BufferPool): Promise<Program> => {
      const program = new Program(device, 1, shared);
      const r = program.recorder('F');
      const x = program.tensor([4]);
      const out = sum(r, sum(r, sum(r, x, x), x), x);
      program.keep(x, out);
      await program.finish();
      return program;
    };
    const first = await make(pool);
    const one = device.memory.activation.now;
    const second = await make(pool);
    // x and out of the second, and nothing pooled.
    expect(device.memory.activation.now - one).toBe(2 * 16);
    const third = await make();
    expect(device.memory.activation.now - one - 2 * 16).toBe(one);
    for (const program of [first, second, third]) program.dispose();
    expect(device.memory.activation.now).toBe(one - 2 * 16);
    pool.dispose();
    expect(device.memory.activation.now).toBe(0);
  });

  test('tensors take turns, but never while both live', () => {
    const steps: PlanStep[] = [];
    let id = 0;
    const tensor = (): Tensor => ({
      shape: [64],
      dtype: 'f32',
      label: 't',
      offset: 0,
      storage: { kind: 'auto', id: id++, bytes: 256, label: 't' },
    });
    const chain = Array.from({ length: 6 }, tensor);
    for (let i = 0; i + 1 < chain.length; i++)
      steps.push({
        kind: 'launch',
        kernel: add as never,
        io: { a: chain[i], b: chain[i], out: chain[i + 1] },
        params: {},
      });
    const { pool, poolSizes, perSlot } = placeTensors(new Map([['F', steps]]), new Set());
    expect(perSlot.size).toBe(0);
    expect(poolSizes).toEqual([256, 256]);
    for (let i = 0; i + 1 < chain.length; i++)
      expect(pool.get(chain[i].storage)).not.toBe(pool.get(chain[i + 1].storage));
  });

  test('what a host step writes is not given away before its wait', () => {
    let id = 0;
    const tensor = (): Tensor => ({
      shape: [64],
      dtype: 'f32',
      label: 't',
      offset: 0,
      storage: { kind: 'auto', id: id++, bytes: 256, label: 't' },
    });
    const [x, received, a, b] = [tensor(), tensor(), tensor(), tensor()];
    const ticket = { id: 99, name: 'ring', traffic: [] };
    const { pool } = placeTensors(
      new Map([
        [
          'F',
          [
            { kind: 'host', ticket, reads: [x], writes: [received], run: async () => {}, issue: () => undefined },
            { kind: 'launch', kernel: add as never, io: { a: x, b: x, out: a }, params: {} },
            { kind: 'launch', kernel: add as never, io: { a, b: a, out: b }, params: {} },
            { kind: 'wait', ticket },
            { kind: 'launch', kernel: add as never, io: { a: received, b, out: b }, params: {} },
          ] satisfies PlanStep[],
        ],
      ]),
      new Set(),
    );
    const own = pool.get(received.storage);
    for (const other of [a, b]) expect(pool.get(other.storage)).not.toBe(own);
  });
});

describe('host steps', () => {
  test('run beside the device, and are waited for', async () => {
    const program = new Program(createCpuDevice());
    const x = program.tensor([4]);
    const r = program.recorder('F');
    const seen: string[] = [];
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const [first, second] = [program.tensor([4]), program.tensor([4])];
    const slow = r.host('slow', [x], [first], async ([data], [out]) => {
      seen.push('slow starts');
      await gate;
      out.set(data);
      seen.push('slow ends');
    });
    const quick = r.host('quick', [x], [second], async ([data], [out]) => {
      seen.push('quick');
      out.set(data);
      release();
    });
    r.wait(quick);
    r.wait(slow);
    const out = sum(r, first, second);
    program.keep(x, out);
    const plans = await program.finish();
    program.write(x, 0, new Float32Array([1, 2, 3, 4]));
    await plans.get('F')!.run();
    expect(seen).toEqual(['slow starts', 'quick', 'slow ends']);
    expect([...(await readTensors(program, [out]))[0]]).toEqual([2, 4, 6, 8]);
  });

  test('an error of a host step ends the run', async () => {
    const program = new Program(createCpuDevice());
    const x = program.tensor([4]);
    const r = program.recorder('F');
    r.wait(
      r.host('broken', [x], [], async () => {
        throw new Error('the link is down');
      }),
    );
    program.keep(x);
    const plans = await program.finish();
    await expect(plans.get('F')!.run()).rejects.toThrow('the link is down');
  });
});

test('memory is counted by tag and comes back', async () => {
  const device = createCpuDevice();
  const program = new Program(device, 3);
  const x = program.tensor([1000]);
  program.keep(x);
  program.recorder('F');
  await program.finish('activation');
  expect(device.memory.activation.now).toBe(3 * 4000);
  program.dispose();
  expect(device.memory.activation).toEqual({ now: 0, peak: 3 * 4000 });
});

test.each([
  ['no WebGPU at all', undefined, 'no WebGPU'],
  ['no adapter', { requestAdapter: async () => null } as unknown as GPU, 'no adapter'],
])('%s is a sentence that says what to do', async (_what, gpu, sentence) => {
  const opening = openGpu(gpu);
  await expect(opening).rejects.toThrow(NoDeviceError);
  await expect(openGpu(gpu)).rejects.toThrow(sentence);
});
