// Regression by a small network on planted data: rows x [inputs] and answers y [outputs], half the squared distance as
// loss. h = x W_in^T + b_in; per layer h += gelu(h W_up^T + b_up) W_down^T + b_down; answer = h W_out^T + b_out. Rows
// of a batch are divided over dp, layers over pp; nothing else is cut.

import { InternalError } from '../../../base/errors.ts';
import type { Shape } from '../../../base/shape.ts';
import type { Tensor } from '../../../device/tensor.ts';
import type { ParamSpec, StageRange } from '../../../model/param-spec.ts';
import type { StageRecording, StageScene } from '../../../model/task.ts';
import type { WeightSpec } from '../../../model/weight.ts';
import { gelu } from '../../../ops/gelu.ts';
import { linear } from '../../../ops/linear.ts';
import { squaredError } from '../../../ops/squared-error.ts';
import type { Cut, RankTask, Task } from '../task.ts';
import type { RegressionNetwork } from './kind.ts';

type F32 = Float32Array<ArrayBuffer>;

/** F32 [rows, inputs] and [rows, outputs]. */
export interface Examples {
  readonly x: F32;
  readonly y: F32;
}

interface Linear {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
}

/** The products of a network by where they stand. */
export function linearsOf({ inputs, outputs, hidden, layers }: RegressionNetwork) {
  return {
    input: { name: 'input', rows: hidden, cols: inputs },
    layer: (i: number): { readonly up: Linear; readonly down: Linear } => {
      if (i < 0 || i >= layers) throw new InternalError(`layer ${i} of ${layers}`);
      return {
        up: { name: `layers.${i}.up`, rows: hidden, cols: hidden },
        down: { name: `layers.${i}.down`, rows: hidden, cols: hidden },
      };
    },
    output: { name: 'output', rows: outputs, cols: hidden },
  };
}

function weightsOf({ name, rows, cols }: Linear): readonly WeightSpec[] {
  return [
    { name: `${name}.weight`, shape: [rows, cols], init: { kind: 'normal', std: 1 / Math.sqrt(cols) }, decays: true },
    { name: `${name}.bias`, shape: [rows], init: { kind: 'zeros' }, decays: false },
  ];
}

/** A parameter that is the whole weight of its name. */
function paramOf({ name, shape, decays }: WeightSpec): ParamSpec {
  const part = { weight: name, row: 0, rows: shape[0], sourceRow: 0, sourceCol: 0, transposed: false };
  return { name, shape, segment: 'tensor', decays, parts: [part] };
}

export class Regression implements Task<Examples> {
  readonly network: RegressionNetwork;
  readonly layers: number;
  readonly weights: readonly WeightSpec[];
  readonly squareGroup = 1;

  constructor(network: RegressionNetwork) {
    this.network = network;
    this.layers = network.layers;
    this.weights = this.#linears({ firstLayer: 0, endLayer: network.layers, first: true, last: true }).flatMap(
      weightsOf,
    );
  }

  params(range: StageRange): readonly ParamSpec[] {
    return this.#linears(range).flatMap(weightsOf).map(paramOf);
  }

  onRank(_mesh: unknown, rows: number): RankTask<Examples, Examples> {
    return new RankRegression(this, rows);
  }

  #linears(range: StageRange): readonly Linear[] {
    const { input, layer, output } = linearsOf(this.network);
    const layers = Array.from({ length: range.endLayer - range.firstLayer }, (_, i) => layer(range.firstLayer + i));
    return [
      ...(range.first ? [input] : []),
      ...layers.flatMap(({ up, down }) => [up, down]),
      ...(range.last ? [output] : []),
    ];
  }
}

class RankRegression implements RankTask<Examples, Examples> {
  readonly between: Shape;
  readonly #task: Regression;
  readonly #rows: number;

  constructor(task: Regression, rows: number) {
    this.#task = task;
    this.#rows = rows;
    this.between = [rows, task.network.hidden];
  }

  params(range: StageRange): readonly ParamSpec[] {
    return this.#task.params(range);
  }

  record({ tape, range, received, param, input }: StageScene): StageRecording<Examples> {
    const { inputs, outputs } = this.#task.network;
    const linears = linearsOf(this.#task.network);
    const apply = ({ name }: Linear, x: Tensor, residual?: Tensor): Tensor =>
      tape.apply(
        linear,
        { x, ...(residual ? { residual } : {}) },
        { w: param(`${name}.weight`), b: param(`${name}.bias`) },
        null,
      );
    const given: StageRecording<Examples>['inputs'][number][] = [];
    let h: Tensor;
    if (received) h = received;
    else {
      const x = input([this.#rows, inputs], 'f32', 'x');
      given.push({ tensors: [x], values: (rows) => [rows.x] });
      h = apply(linears.input, x);
    }
    for (let i = range.firstLayer; i < range.endLayer; i++) {
      const { up, down } = linears.layer(i);
      h = apply(down, tape.apply(gelu, { x: apply(up, h) }, {}, { tanh: false }), h);
    }
    if (!range.last) return { inputs: given, out: h };
    const y = input([this.#rows, outputs], 'f32', 'y');
    given.push({ tensors: [y], values: (rows) => [rows.y] });
    return { inputs: given, out: tape.apply(squaredError, { x: apply(linears.output, h), y }, {}, null) };
  }

  cut({ x, y }: Examples): (microbatch: number) => Cut<Examples> {
    const { inputs, outputs } = this.#task.network;
    const rows = this.#rows;
    const part = (all: F32, width: number, i: number): F32 => all.slice(i * rows * width, (i + 1) * rows * width);
    return (i) => ({ data: { x: part(x, inputs, i), y: part(y, outputs, i) }, counts: () => true });
  }
}
