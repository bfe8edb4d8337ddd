// A sequence strategy: attention over a sequence that is split over the sp group. A file of this folder that exports
// `strategy` is one; the registry finds it by glob. It says which tokens of every row each rank holds.

import type { GroupRef } from '../../collectives/group.ts';
import type { Tensor } from '../../device/tensor.ts';
import type { AttentionAttributes } from '../../ops/attention.ts';
import type { TokenPlacement } from './placement.ts';
import type { Op } from '../../ops/op.ts';

export type AttentionOp = Op<{ qkv: Tensor }, Record<string, never>, AttentionAttributes, never>;

export interface SequenceStrategy {
  readonly name: string;
  /** How the tokens of a row lie on the ranks. */
  readonly placement: TokenPlacement;
  /** Names of the mixers of tokens that it computes (src/model/mixing/). */
  readonly serves: readonly string[];
  /** Attention of the whole sequence for this rank's queries; qkv [B*T, (H + 2 Hkv) D] local, out [B*T, H D]. */
  attention(group: GroupRef): AttentionOp;
}
