// An op is one file: forward, backwardInput (B) and backwardWeight (W) as recordings of launches. `saved` is whatever B
// and W need; the program keeps those tensors alive per slot. B returns fresh tensors (or passes dOut through); it
// never writes into dOut or an addend, which other ops may share.
// W adds to w.grad and may be recorded any time after B's inputs exist, exactly once. Shapes are checked in forward
// with a ShapeError.

import type { Recorder } from '../device/recorder.ts';
import type { Param, Tensor } from '../device/tensor.ts';

export type Inputs = Readonly<Record<string, Tensor | undefined>>;
export type Weights = Readonly<Record<string, Param | undefined>>;

export interface Op<I extends Inputs, W extends Weights, A, S> {
  readonly name: string;
  forward(r: Recorder, x: I, w: W, attrs: A): { out: Tensor; saved: S };
  /**
   * The inputs to whose gradient B can add another tensor at no launch of its own: a residual that passes by a norm,
   * say.
   */
  readonly adds?: readonly (keyof I)[];
  /**
   * Gradients of the inputs; an absent key means none is defined (token ids). `needs` says which are wanted. `addends`
   * holds, for keys of `adds` only, tensors of the input's shape that must be part of the sum.
   */
  backwardInput?(
    r: Recorder,
    dOut: Tensor,
    saved: S,
    w: W,
    attrs: A,
    needs: { readonly [K in keyof I]?: boolean },
    addends?: { readonly [K in keyof I]?: Tensor },
  ): { [K in keyof I]?: Tensor };
  backwardWeight?(r: Recorder, dOut: Tensor, saved: S, w: W, attrs: A): void;
  /**
   * B and W in one, for a caller that records both into the same plan; absent: the one after the other. Gives what
   * backwardInput gives.
   */
  backward?(
    r: Recorder,
    dOut: Tensor,
    saved: S,
    w: W,
    attrs: A,
    needs: { readonly [K in keyof I]?: boolean },
  ): { [K in keyof I]?: Tensor };
}

export function defineOp<I extends Inputs, W extends Weights, A, S>(op: Op<I, W, A, S>): Op<I, W, A, S> {
  return op;
}
