// Mean softmax cross-entropy of given logits [256, V] and its gradient by them. tabmesh writes the gradient in place of
// the logits, so a run starts from what the last one left; the first run, which is checked, starts from the logits.

import { ceFinish } from '../../../shaders/loss/ce-finish.ts';
import { ceGrad } from '../../../shaders/loss/ce-grad.ts';
import { ceStats } from '../../../shaders/loss/ce-stats.ts';
import { reduceSum } from '../../../shaders/reduce/reduce-sum.ts';
import { indices, numbers } from '../inputs.ts';
import { launchRunner } from '../launches.ts';
import { rowStatistics } from '../check/row-statistics.ts';
import type { Dims, Problem, Runner, Workload } from '../problem.ts';
import { places, verify } from '../check/verify.ts';
import type { Sample } from '../check/verify.ts';

/** Of the scalar loss near log V. */
export const LOSS_TOLERANCE = 1e-5;

function problem(dims: Dims): Problem {
  const { R, V } = dims;
  const shape = `${R}x${V}`;
  const logits = numbers(`logits ${shape}`, [R, V], 2);
  const targets = indices(`targets ${shape}`, R, V);
  let samples: Record<string, Sample> | undefined;
  const expected = (): Record<string, Sample> => {
    const { lse, loss } = rowStatistics((r) => logits.data.subarray(r * V, (r + 1) * V), targets.data, R, V);
    // The targets' places have the largest gradients, and set the scale.
    const at = [...new Set([...places(shape, R * V), ...Array.from({ length: 8 }, (_, i) => i * V + targets.data[i])])];
    const gradient = (place: number): number => {
      const r = Math.floor(place / V);
      return (Math.exp(logits.data[place] - lse[r]) - (place % V === targets.data[r] ? 1 : 0)) / R;
    };
    return {
      loss: { length: 1, at: [0], expected: [loss], tolerance: LOSS_TOLERANCE },
      dLogits: { length: R * V, at, expected: at.map(gradient), tolerance: 1e-5 },
    };
  };
  return {
    // Read the logits for the statistics, read and write them for the gradient.
    workload: 'cross-entropy',
    shape,
    dims,
    inputs: { logits, targets },
    cost: { flops: 11 * R * V, bytes: 12 * R * V },
    check: (outputs) => verify((samples ??= expected()), outputs),
  };
}

/** Divides the sum of the row losses on the host. */
export function meanLoss(runner: Runner, R: number): Runner {
  return {
    peakBytes: runner.peakBytes,
    variants: runner.variants,
    run: (times) => runner.run(times),
    dispose: () => runner.dispose(),
    async read() {
      const { lossSum, ...rest } = await runner.read();
      return { loss: Float32Array.of(lossSum[0] / R), ...rest };
    },
  };
}

export const workload: Workload = {
  name: 'cross-entropy',
  about: 'mean softmax cross-entropy of given logits and its gradient, rows x vocabulary',
  shapes: [
    { dims: { R: 256, V: 8192 }, scope: 'quick' },
    { dims: { R: 256, V: 50257 }, scope: 'default' },
    { dims: { R: 256, V: 50304 }, scope: 'default' },
  ],
  tiny: { R: 5, V: 33 },
  problem,
  async prepare(device, made) {
    const { R, V } = made.dims;
    const shard = { R, COLS: V, COL_START: 0, VOCAB: V };
    const rows = ['rowMax', 'rowSum', 'targetLogit', 'logitSum', 'lse', 'rowLoss'];
    const same = (...names: string[]) => Object.fromEntries(names.map((name) => [name, name]));
    return meanLoss(
      await launchRunner(device, made, {
        scratch: { ...Object.fromEntries(rows.map((name) => [name, R])), lossSum: 1 },
        launches: [
          {
            kernel: ceStats,
            params: { ...shard, MERGE: 0 },
            io: same('logits', 'targets', 'rowMax', 'rowSum', 'targetLogit', 'logitSum'),
          },
          {
            kernel: ceFinish,
            params: { R, VOCAB: V, SMOOTHING: 0 },
            io: same('rowMax', 'rowSum', 'targetLogit', 'logitSum', 'targets', 'lse', 'rowLoss'),
          },
          { kernel: reduceSum, params: { N: R, SQUARE: 0, PARTS: 1 }, io: { x: 'rowLoss', partials: 'lossSum' } },
          {
            kernel: ceGrad,
            params: { ...shard, SMOOTHING: 0, SCALE: 1 / R, HAS_ROW_SCALE: 0 },
            io: { ...same('logits', 'rowMax', 'rowSum', 'targets'), rowScale: 'rowLoss' },
          },
        ],
        outputs: { lossSum: 'lossSum', dLogits: 'logits' },
      }),
      R,
    );
  },
};
