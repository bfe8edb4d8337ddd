// Planted data for a regression: x is drawn from a normal distribution, y is the answer of a network of the same shape
// whose weights nobody is told. So the best loss is 0. Every row is a function of (seed, step, row) alone.

import { erf } from '../../../base/erf.ts';
import { fillNormal } from '../../../base/random.ts';
import { fillInitialWeight } from '../../../model/weights.ts';
import { elements } from '../../../base/shape.ts';
import type { TaskData } from '../task.ts';
import type { RegressionNetwork } from './kind.ts';
import { linearsOf, Regression } from './regression.ts';
import type { Examples } from './regression.ts';

const EVAL_BATCHES = 4;

export interface PlantedOptions {
  readonly network: RegressionNetwork;
  /** Rows of a batch. */
  readonly batch: number;
  readonly seed: number;
}

export function plantedData({ network, batch, seed }: PlantedOptions): TaskData<Examples> {
  const answer = plantedAnswer(network, seed);
  const draw =
    (stream: string) =>
    (step: number): Examples => {
      const x = new Float32Array(batch * network.inputs);
      fillNormal(x, seed, stream, step * x.length, 1);
      const y = new Float32Array(batch * network.outputs);
      for (let row = 0; row < batch; row++)
        y.set(answer(x.subarray(row * network.inputs, (row + 1) * network.inputs)), row * network.outputs);
      return { x, y };
    };
  return {
    batch,
    steps: Infinity,
    batchAt: draw('data.planted.train'),
    evalBatches: EVAL_BATCHES,
    evalAt: draw('data.planted.eval'),
  };
}

/** In f64, from weights of another seed than those that a run begins with; biases are zero. */
export function plantedAnswer(network: RegressionNetwork, seed: number): (x: ArrayLike<number>) => number[] {
  const weights = new Map<string, Float32Array>();
  for (const spec of new Regression(network).weights) {
    const values = new Float32Array(elements(spec.shape));
    fillInitialWeight(values, { ...spec, name: `planted.${spec.name}` }, seed, 0);
    weights.set(spec.name, values);
  }
  const { input, layer, output } = linearsOf(network);
  const product = ({ name, rows, cols }: typeof input, x: ArrayLike<number>): number[] => {
    const w = weights.get(`${name}.weight`)!;
    return Array.from({ length: rows }, (_, r) => {
      let sum = 0;
      for (let c = 0; c < cols; c++) sum += w[r * cols + c]! * x[c]!;
      return sum;
    });
  };
  return (x) => {
    let h = product(input, x);
    for (let i = 0; i < network.layers; i++) {
      const { up, down } = layer(i);
      const bent = product(up, h).map((value) => (value / 2) * (1 + erf(value / Math.SQRT2)));
      h = product(down, bent).map((value, c) => h[c]! + value);
    }
    return product(output, h);
  };
}
