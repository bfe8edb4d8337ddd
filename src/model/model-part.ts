// What a rank holds of a model: parameters with the plans that work on them. A stage of blocks is one, this rank's
// shard of the vocabulary another.

import type { Plan } from '../device/plan.ts';
import type { FlatParams } from './flat-params.ts';
import type { WeightSource } from './param-spec.ts';

export interface ModelPart {
  readonly params: FlatParams;
  readonly plans: ReadonlyMap<string, Plan>;
  /** Fills the parameters from whole weights. */
  load(weights: WeightSource): void;
  zeroGradients(): Promise<void>;
  dispose(): void;
}
