// Programs and plans on the references: slots, pooled tensors, host steps beside the device, and memory that comes
// back.

import { describe, expect, test } from 'vitest';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { NoDeviceError } from '../../src/base/errors.ts';
import { placeTensors } from '../../src/device/storage/pool.ts';
import { Program, readTensors } from '../../src/device/program.ts';
import type { Recorder, Step } from '../../src/device/recorder.ts';
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

describe('pool', () => {
  test('tensors take turns, but never while both live', () => {
    const steps: Step[] = [];
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
    const ticket = { id: 99, name: 'ring' };
    const { pool } = placeTensors(
      new Map([
        [
          'F',
          [
            { kind: 'host', ticket, reads: [x], writes: [received], run: async () => {} },
            { kind: 'launch', kernel: add as never, io: { a: x, b: x, out: a }, params: {} },
            { kind: 'launch', kernel: add as never, io: { a, b: a, out: b }, params: {} },
            { kind: 'wait', ticket },
            { kind: 'launch', kernel: add as never, io: { a: received, b, out: b }, params: {} },
          ] satisfies Step[],
        ],
      ]),
      new Set(),
    );
    const own = pool.get(received.storage);
    for (const other of [a, b]) expect(pool.get(other.storage)).not.toBe(own);
  });
});

describe('host steps', () => {
  test('start in order, run beside the device, and are waited for', async () => {
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
