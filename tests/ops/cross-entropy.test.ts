// The logits of a projection and its loss: how many columns are in memory at a time.

import { expect, test } from 'vitest';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { Program } from '../../src/device/program.ts';
import type { Tensor } from '../../src/device/tensor.ts';
import { columnsOf, linearCrossEntropy } from '../../src/ops/cross-entropy.ts';
import { Tape } from '../../src/ops/tape.ts';

test('a vocabulary in chunks never has its logits whole in memory', async () => {
  const rows = 512;
  const device = createCpuDevice();
  const program = new Program(device);
  const fixed = (label: string): Tensor => ({
    shape: [1000, 4],
    dtype: 'f32',
    label,
    offset: 0,
    storage: { kind: 'fixed', buffer: device.alloc(16_000, 'param', label) },
  });
  const [x, targets] = [program.tensor([rows, 4]), program.tensor([rows], 'i32')];
  const tape = new Tape(program.recorder('F'));
  const out = tape.apply(
    linearCrossEntropy,
    { x, targets },
    { w: { ...fixed('w'), name: 'w', grad: fixed('dw') } },
    { vStart: 0, vocab: 1000, chunk: 128 },
  );
  const dOut = program.tensor([rows], 'f32');
  const B = program.recorder('B');
  tape.backward([[out, dOut]], [x], B, B);
  await program.finish();
  const logits = rows * 1000 * 4;
  expect(device.memory.activation.peak).toBeLessThan(logits / 4);
  expect(device.memory.activation.peak).toBeGreaterThan(logits / 8);
});

test.each([
  ['short: whole', 512, 256, 256],
  ['4 MiB: whole', 128, 8192, 8192],
  ['more: an eighth', 256, 16_384, 2048],
  ['an eighth, but at least 1024', 1024, 2048, 1024],
  ['an eighth, but at most 8192', 256, 131_072, 8192],
  ['a multiple of 64', 256, 50_257, 6336],
])('columns of logits at a time, %s', (_, rows, vocabulary, columns) => {
  expect(columnsOf(rows, vocabulary)).toBe(columns);
});
