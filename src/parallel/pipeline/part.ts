// What a rank runs on a stage: an execution per pass. The part of the model that holds the stage's weights gives it.

import { givesLosses } from '../../model/param-spec.ts';
import type { Stage } from '../../model/stage.ts';
import type { PassKind } from './schedule.ts';
import type { SlotSet } from './slots.ts';

type F32 = Float32Array<ArrayBuffer>;

export interface PassInput {
  /** The slots that are held during the pass. */
  readonly slots: SlotSet;
  /**
   * What the pass needs of another: the result of another stage, `floats` long, hidden states or their gradient; or
   * what a barrier gives this rank.
   */
  readonly received: F32 | undefined;
  readonly microbatch: number;
  /** Called when a host step of the pass (a collective) begins; returns the function that is called when it ends. */
  onWire(name: string): () => void;
}

export interface PassOutput extends Losses {
  /** For the stages that need the result. */
  readonly out?: F32;
  /** Of a pass that ends with a barrier, on every host of its stage; other actions run meanwhile. */
  readonly joined?: Promise<Joined>;
}

export interface Losses {
  /** Row losses, on the rank that tells them; of a scored microbatch also which rows are right. */
  readonly losses?: F32;
  readonly correct?: readonly boolean[];
}

/** What all hosts of a stage have made together, as far as this rank needs it. */
export interface Joined extends Losses {
  /** For passes of the same stage. */
  readonly own?: F32;
  /** For passes of another stage, where this rank runs one that needs it. */
  readonly out?: F32;
}

export type Execution = (input: PassInput) => Promise<PassOutput>;

export interface StagePart {
  /** Length of what it receives: rows times their width. */
  readonly floats: number;
  /** A pass without an execution is refused before the first action. */
  readonly executions: ReadonlyMap<PassKind, Execution>;
}

/** What a microbatch of a run brings, by its number. */
export interface Given<M> {
  of(microbatch: number): M;
  /** Say beside the losses which rows are right. */
  readonly scored: boolean;
}

/** The executions of a stage of blocks. */
export function partOf<M>(stage: Stage<M>, given: Given<M>): StagePart {
  const { range, splitsWeights, rematerialises } = stage.options;
  const { scored } = given;
  const executions = new Map<PassKind, Execution>([
    [
      'F',
      async ({ slots, received, microbatch, onWire }) => {
        const input = { microbatch: given.of(microbatch), received, scored };
        const { out, correct } = await stage.forward(slots, input, onWire);
        return givesLosses(range) ? { losses: out, ...(correct ? { correct } : {}) } : { out };
      },
    ],
    ['B', async ({ slots, received, onWire }) => ({ out: await stage.backward(slots, received, onWire) })],
  ]);
  if (rematerialises)
    executions.set('R', async ({ slots, onWire }) => {
      await stage.rematerialise(slots, onWire);
      return {};
    });
  if (splitsWeights)
    executions.set('W', async ({ slots, onWire }) => {
      await stage.weights(slots, onWire);
      return {};
    });
  return { floats: stage.floats, executions };
}
