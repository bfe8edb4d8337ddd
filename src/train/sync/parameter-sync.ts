// How the weights of all ranks stay one model: what happens between the gradients that a step has summed on each rank
// and the weights with which all ranks go on. One way of it is ZeRO-1 (zero1.ts).

import type { Range } from '../../device/device.ts';
import type { Traffic } from '../../device/recorder.ts';
import type { AdamHyper, Measured } from '../optimizer.ts';

export interface UpdateHyper extends AdamHyper {
  /** Counts updates from 1. */
  readonly t: number;
  readonly lr: number;
  /** Multiplies every gradient: 1 / tokens, times the clipping factor. */
  readonly gradScale: number;
}

/** Every rank makes the same calls in the same order. */
export interface ParameterSync {
  /** Sums the gradients of all ranks, each to those that own it; resolves to what the step's decision needs of them. */
  reduce(): Promise<Measured>;
  /** New weights and moments of what this rank owns; sends nothing. */
  update(hyper: UpdateHyper): Promise<void>;
  /** Brings the new weights to all ranks that hold them. */
  publish(): Promise<void>;
  /** All that an update and its publication change on this rank: weights and moments. */
  readonly state: readonly Range[];
  /** What this rank sends in one `reduce` and one `publish`. */
  traffic(): readonly Traffic[];
  dispose(): void;
}
