// Which targets the statistics of the loss call predicted, against the definition in f64. The inputs are small whole
// numbers: their logits are exact on every device and often equal, within a chunk of the vocabulary and across chunks;
// columns of padding would be the largest if they counted.

import { expect } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { Program, readTensors } from '../../src/device/program.ts';
import type { Tensor } from '../../src/device/tensor.ts';
import { linearCrossEntropy, lossStatistics } from '../../src/ops/cross-entropy.ts';
import { dice } from '../support/dice.ts';

const [R, D, ROWS, VOCAB] = [96, 8, 192, 170];

/** `chunk`: columns of a chunk of the vocabulary. */
export async function expectPredicted(device: Device, chunk: number): Promise<void> {
  const { below } = dice(7);
  const x = Float32Array.from({ length: R * D }, () => below(3) - 1);
  const w = Float32Array.from({ length: ROWS * D }, (_, i) => (i < VOCAB * D ? below(3) - 1 : 5 * (below(3) - 1)));
  const rows = Array.from({ length: R }, (_, r) =>
    Array.from({ length: VOCAB }, (_, v) => {
      let logit = 0;
      for (let i = 0; i < D; i++) logit += x[r * D + i]! * w[v * D + i]!;
      return logit;
    }),
  );
  const largest = rows.map((logits) => Math.max(...logits));
  const tied = rows.filter((logits, r) => logits.filter((logit) => logit === largest[r]).length > 1).length;
  expect(tied, 'rows with a tie').toBeGreaterThan(R / 4);
  // By turns the first and the last of the largest, any token, and one that is ignored.
  const targets = Int32Array.from(
    rows,
    (logits, r) => [logits.indexOf(largest[r]!), logits.lastIndexOf(largest[r]!), below(VOCAB), -100][r % 4]!,
  );
  const want = rows.map((logits, r) => logits[targets[r]!] === largest[r]);

  const program = new Program(device);
  const recorder = program.recorder('F');
  const given: readonly (readonly [Tensor, Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>])[] = [
    [program.tensor([R, D], 'f32', 'x'), x],
    [program.tensor([ROWS, D], 'f32', 'w'), w],
    [program.tensor([R], 'i32', 'targets'), targets],
  ];
  const [[hidden], [head], [wanted]] = given as [(typeof given)[0], (typeof given)[0], (typeof given)[0]];
  const statistics = lossStatistics(recorder, R);
  const weights = { w: { ...head, name: 'w', grad: head } };
  const attributes = { vStart: 0, vocab: VOCAB, chunk, statistics };
  linearCrossEntropy.forward(recorder, { x: hidden, targets: wanted }, weights, attributes);
  program.keep(hidden, head, wanted, statistics.rowMax, statistics.targetLogit);
  const plans = await program.finish();
  for (const [tensor, data] of given) program.write(tensor, 0, data);
  await plans.get('F')!.run();
  const [rowMax, targetLogit] = await readTensors(program, [statistics.rowMax, statistics.targetLogit]);
  const got = rows.map((_, r) => (targets[r] === -100 ? false : rowMax![r] === targetLogit![r]));
  program.dispose();
  expect(got).toEqual(want);
}

export const CHUNKS = [64, 128, 192] as const;
