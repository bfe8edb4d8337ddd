// A task to add: y = W x of points x whose W nobody is told, by half the squared distance. One layer, which dp divides.

import { fillNormal } from '../../../../src/base/random.ts';
import { initialWeight } from '../../../../src/model/weights.ts';
import type { WeightSpec } from '../../../../src/model/weight.ts';
import type { ParamSpec } from '../../../../src/model/param-spec.ts';
import type { StageRecording, StageScene } from '../../../../src/model/task.ts';
import { linear } from '../../../../src/ops/linear.ts';
import { squaredError } from '../../../../src/ops/squared-error.ts';
import type { PrepareTask } from '../../../../src/train/tasks/prepared.ts';
import type { RankTask, Task, TaskData } from '../../../../src/train/tasks/task.ts';
import { kind } from './kind.ts';

const [INPUTS, OUTPUTS] = [4, 2];
const WEIGHT: WeightSpec = {
  name: 'line.weight',
  shape: [OUTPUTS, INPUTS],
  init: { kind: 'normal', std: 0.1 },
  decays: true,
};
const PARAM: ParamSpec = {
  name: WEIGHT.name,
  shape: WEIGHT.shape,
  segment: 'tensor',
  decays: true,
  parts: [{ weight: WEIGHT.name, row: 0, rows: OUTPUTS, sourceRow: 0, sourceCol: 0, transposed: false }],
};

interface Points {
  readonly x: Float32Array<ArrayBuffer>;
  readonly y: Float32Array<ArrayBuffer>;
}

const task: Task<Points> = {
  layers: 1,
  weights: [WEIGHT],
  squareGroup: 1,
  params: () => [PARAM],
  onRank: (_mesh, rows): RankTask<Points, Points> => ({
    between: [rows, OUTPUTS],
    params: () => [PARAM],
    record({ tape, param, input }: StageScene): StageRecording<Points> {
      const [x, y] = [input([rows, INPUTS], 'f32', 'x'), input([rows, OUTPUTS], 'f32', 'y')];
      const answer = tape.apply(linear, { x }, { w: param(WEIGHT.name) }, null);
      return {
        inputs: [
          { tensors: [x], values: (points) => [points.x] },
          { tensors: [y], values: (points) => [points.y] },
        ],
        out: tape.apply(squaredError, { x: answer, y }, {}, null),
      };
    },
    cut: ({ x, y }) => {
      const part = (all: Points['x'], width: number, i: number): Points['x'] =>
        all.slice(i * rows * width, (i + 1) * rows * width);
      return (i) => ({ data: { x: part(x, INPUTS, i), y: part(y, OUTPUTS, i) }, counts: () => true });
    },
  }),
};

function points(batch: number, seed: number): TaskData<Points> {
  const planted = new Float32Array(OUTPUTS * INPUTS);
  fillNormal(planted, seed, 'data.points.planted', 0, 1);
  const batchAt = (step: number): Points => {
    const x = new Float32Array(batch * INPUTS);
    fillNormal(x, seed, 'data.points.train', step * x.length, 1);
    const y = Float32Array.from({ length: batch * OUTPUTS }, (_, i) => {
      const [row, out] = [Math.floor(i / OUTPUTS), i % OUTPUTS];
      return planted.subarray(out * INPUTS, (out + 1) * INPUTS).reduce((sum, w, c) => sum + w * x[row * INPUTS + c], 0);
    });
    return { x, y };
  };
  return { batch, steps: Infinity, batchAt, evalBatches: 0, evalAt: batchAt };
}

export const prepare: PrepareTask = (config) => {
  kind.check(config);
  return {
    task,
    dataset: points(config.batch, config.seed),
    weights: () => ({ shape: WEIGHT.shape, data: initialWeight(WEIGHT, config.seed) }),
    modelConfig: JSON.stringify({ model_type: 'line' }),
    dataIdentity: 'points:1',
    notes: [],
  };
};
