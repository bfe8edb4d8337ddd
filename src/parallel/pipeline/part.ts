// What a rank runs on a stage: an execution per pass. The part of the model that holds the stage's weights gives it.

import type { Stage, StageInput } from '../../model/stage.ts';
import type { PassKind } from './schedule.ts';
import type { SlotSet } from './slots.ts';

type F32 = Float32Array<ArrayBuffer>;

export interface PassInput {
  /** The slots that are held during the pass. */
  readonly slots: SlotSet;
  /** The result of another stage that the pass needs, `floats` long: hidden states or their gradient. */
  readonly received: F32 | undefined;
  /** Tokens of the first stage and targets of the last. */
  given(): StageInput;
  /** Called when a host step of the pass (a collective) begins; returns the function that is called when it ends. */
  onWire(name: string): () => void;
}

export interface PassOutput {
  /** For the stages that need the result. */
  readonly out?: F32;
  /** Row losses, on the last stage; of scored input also which targets are predicted. */
  readonly losses?: F32;
  readonly predicted?: readonly boolean[];
}

export type Execution = (input: PassInput) => Promise<PassOutput>;

export interface StagePart {
  /** Length of what it receives: rows times hidden size. */
  readonly floats: number;
  /** A pass without an execution is refused before the first action. */
  readonly executions: ReadonlyMap<PassKind, Execution>;
}

/** The executions of a stage of blocks. */
export function partOf(stage: Stage): StagePart {
  const { config, range, splitsWeights } = stage.options;
  const executions = new Map<PassKind, Execution>([
    [
      'F',
      async ({ slots, received, given, onWire }) => {
        const { out, predicted } = await stage.forward(slots, { hidden: received, ...given() }, onWire);
        return range.last ? { losses: out, predicted } : { out };
      },
    ],
    ['B', async ({ slots, received, onWire }) => ({ out: await stage.backward(slots, received, onWire) })],
  ]);
  if (splitsWeights)
    executions.set('W', async ({ slots, onWire }) => {
      await stage.weights(slots, onWire);
      return {};
    });
  return { floats: stage.rows * config.hidden, executions };
}
