// A Tape records the forward of a network op by op, then its backward into other recorders: B (gradients of inputs) and
// W (gradients of weights), which may be the same recorder. Gradients are keyed by storage: a tensor used twice gets
// the sum of both, added in reverse order of use, by the op of the earlier use itself if it can.

import { InternalError } from '../base/errors.ts';
import { elements } from '../base/shape.ts';
import type { Recorder } from '../device/recorder.ts';
import type { Storage, Tensor } from '../device/tensor.ts';
import { add } from '../../shaders/elementwise/add.ts';
import type { Inputs, Op, Weights } from './op.ts';

interface Node {
  readonly name: string;
  readonly out: Tensor;
  readonly inputs: readonly Tensor[];
  readonly trains: boolean;
  /** Inputs that are wanted, their gradients, and whether what `known` has is part of it already. */
  backward(
    dOut: Tensor,
    B: Recorder,
    W: Recorder,
    needs: ReadonlySet<Storage>,
    known: ReadonlyMap<Storage, Tensor>,
  ): readonly InputGradient[];
}

interface InputGradient {
  readonly input: Tensor;
  readonly gradient: Tensor;
  readonly complete: boolean;
}

export class Tape {
  readonly recorder: Recorder;
  readonly #nodes: Node[] = [];

  constructor(recorder: Recorder) {
    this.recorder = recorder;
  }

  apply<I extends Inputs, W extends Weights, A, S>(op: Op<I, W, A, S>, x: I, w: W, attrs: A): Tensor {
    const { out, saved } = op.forward(this.recorder, x, w, attrs);
    const keys = (Object.keys(x) as (keyof I)[]).filter((key) => x[key] !== undefined);
    this.#nodes.push({
      name: op.name,
      out,
      inputs: keys.map((key) => x[key]!),
      trains: op.backwardWeight !== undefined && Object.values(w).some(Boolean),
      backward(dOut, B, W, needs, known) {
        const wanted = Object.fromEntries(keys.map((key) => [key, needs.has(x[key]!.storage)])) as {
          [K in keyof I]?: boolean;
        };
        const together = B === W ? op.backward?.(B, dOut, saved, w, attrs, wanted) : undefined;
        const addends: { [K in keyof I]?: Tensor } = {};
        // An input that this op uses twice has no single gradient to add to.
        const once = (key: keyof I): boolean =>
          keys.every((other) => other === key || x[other]!.storage !== x[key]!.storage);
        for (const key of together ? [] : (op.adds ?? []))
          if (wanted[key] && once(key)) addends[key] = known.get(x[key]!.storage);
        const gradients: { [K in keyof I]?: Tensor } =
          together ??
          (keys.some((key) => wanted[key])
            ? (op.backwardInput?.(B, dOut, saved, w, attrs, wanted, addends) ?? {})
            : {});
        if (!together) op.backwardWeight?.(W, dOut, saved, w, attrs);
        return keys
          .filter((key) => wanted[key] && gradients[key])
          .map((key) => ({ input: x[key]!, gradient: gradients[key]!, complete: addends[key] !== undefined }));
      },
    });
    return out;
  }

  /**
   * Records the backward of everything so far. `seeds` are pairs of an output and its gradient; returns the gradients
   * of `inputs` (undefined where no path leads to a seed). May be called once.
   */
  backward(
    seeds: readonly (readonly [Tensor, Tensor])[],
    inputs: readonly Tensor[],
    B: Recorder,
    W: Recorder,
  ): readonly (Tensor | undefined)[] {
    const needs = new Set<Storage>(inputs.map((tensor) => tensor.storage));
    for (const node of this.#nodes)
      if (node.trains || node.inputs.some((tensor) => needs.has(tensor.storage))) needs.add(node.out.storage);
    const gradients = new Map<Storage, Tensor>();
    const accumulate = (tensor: Tensor, gradient: Tensor, complete = false): void => {
      const before = complete ? undefined : gradients.get(tensor.storage);
      gradients.set(tensor.storage, before ? sum(B, before, gradient) : gradient);
    };
    for (const [out, gradient] of seeds) accumulate(out, gradient);
    for (const node of this.#nodes.splice(0).reverse()) {
      const dOut = gradients.get(node.out.storage);
      if (!dOut) continue;
      if (elements(dOut.shape) !== elements(node.out.shape))
        throw new InternalError(`${node.name}: gradient of ${dOut.shape} for an output of ${node.out.shape}`);
      for (const { input, gradient, complete } of node.backward(dOut, B, W, needs, gradients))
        accumulate(input, gradient, complete);
    }
    return inputs.map((tensor) => gradients.get(tensor.storage));
  }
}

function sum(r: Recorder, a: Tensor, b: Tensor): Tensor {
  const out = r.tensor(a.shape, 'f32', 'dsum');
  r.launch(add, { a, b, out }, { N: elements(a.shape), ALPHA: 1, BETA: 1 });
  return out;
}
