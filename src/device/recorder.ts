// What an op sees while it records: make tensors, launch kernels, run host steps. Replayed later as a Plan (see
// program.ts).

import type { DType, Shape, TypedArray } from '../base/shape.ts';
import type { BindingSpec, Kernel, Params } from './kernel.ts';
import type { Tensor } from './tensor.ts';

/**
 * Host code between two plan segments: gets copies of the read tensors and fills the written ones before it resolves.
 * `issued` is what the step's `issue` gave when this run of the plan was issued.
 */
export type HostFn<I = unknown> = (
  reads: readonly TypedArray[],
  writes: readonly TypedArray[],
  issued: I,
) => Promise<void>;

/** Payload bytes that this rank sends in one run of a host step; what depends on the data comes on top. */
export interface Traffic {
  /** The kind of the messages, as the ledger counts them. */
  readonly kind: string;
  readonly bytes: number;
}

export interface Ticket {
  readonly id: number;
  readonly name: string;
  readonly traffic: readonly Traffic[];
}

export interface Recorder {
  /** A new tensor, undefined until a launch or host step writes it. */
  tensor(shape: Shape, dtype?: DType, label?: string): Tensor;
  launch<B extends Readonly<Record<string, BindingSpec>>, P extends Params>(
    kernel: Kernel<B, P>,
    io: { readonly [K in keyof B]: Tensor },
    params: P,
  ): void;
  /**
   * Starts host work here: everything recorded before it is done when `run` is called. `traffic`: what it sends.
   * `issue` is called when a run of the plan is issued, in recorded order, and takes there what all ranks must take
   * alike: the numbers of operations. Steps start when what they read is there, of several runs in any order.
   */
  host<I = undefined>(
    name: string,
    reads: readonly Tensor[],
    writes: readonly Tensor[],
    run: HostFn<I>,
    traffic?: readonly Traffic[],
    issue?: () => I,
  ): Ticket;
  /** Blocks here until the host work is done and its `writes` are on the device. Issue early, wait late. */
  wait(ticket: Ticket): void;
}

/** One recorded step of a plan. */
export type PlanStep =
  | {
      readonly kind: 'launch';
      readonly kernel: Kernel;
      readonly io: Readonly<Record<string, Tensor>>;
      readonly params: Params;
    }
  | {
      readonly kind: 'host';
      readonly ticket: Ticket;
      readonly reads: readonly Tensor[];
      readonly writes: readonly Tensor[];
      readonly run: HostFn;
      readonly issue: () => unknown;
    }
  | { readonly kind: 'wait'; readonly ticket: Ticket };
