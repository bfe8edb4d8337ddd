// Runs one rank's list of actions. A forward receives the hidden states from the previous stage and sends its own on; a
// backward the same with gradients the other way. Sends are not waited for before the next action, receives are;
// nothing hangs on a timer. Every message is numbered by (step, microbatch, stage), so the order of arrival does not
// matter. Bytes: one [R, hidden] per boundary, microbatch and direction.

import type { Group } from '../../collectives/group.ts';
import { InternalError } from '../../base/errors.ts';
import type { Stage, StageInput } from '../../model/stage.ts';
import { hostsOf } from './dependencies.ts';
import type { Action, PipelineShape, Schedule } from './schedule.ts';

type F32 = Float32Array<ArrayBuffer>;
export type SpanKind = 'compute' | 'wait' | 'wire';
/** Called around work of this rank; returns the function that ends the span. */
export type Trace = (kind: SpanKind, name: string) => () => void;

export interface PipelineRun {
  readonly schedule: Schedule;
  readonly shape: PipelineShape;
  readonly stages: ReadonlyMap<number, Stage>;
  /** Point-to-point groups over the pp axis, one per direction. */
  readonly forwardGroup: Group;
  readonly backwardGroup: Group;
  readonly step: number;
  /** Tokens of the first stage and targets of the last. */
  input(stage: number, microbatch: number): StageInput;
  /** Row losses of a microbatch, on the last stage, and of a scored one which targets are predicted. */
  onLoss(microbatch: number, rowLosses: F32, predicted?: readonly boolean[]): void;
  readonly trace: Trace;
  /** Called before each action. */
  onAction?(action: Action): void;
  /** Forward only (evaluation): a slot is free again after its F. */
  readonly releaseAfterForward?: boolean;
}

/**
 * Runs `actions` in order. Resolves when the last action is done and everything is sent; rejects with the first error.
 */
export async function runActions(actions: readonly Action[], run: PipelineRun): Promise<void> {
  const { shape, schedule, stages, forwardGroup, backwardGroup } = run;
  const count = shape.ranks * shape.chunks;
  const hosts = hostsOf(schedule, shape);
  const slots = new Map<string, number>();
  const free = new Map(
    [...stages].map(([index, stage]) => [
      index,
      Array.from({ length: stage.options.slots }, (_, i) => stage.options.slots - 1 - i),
    ]),
  );
  const sends: Promise<void>[] = [];
  const local = new Map<string, F32>();
  // Collectives inside a plan; the span of the action goes on around them.
  const onWire = (name: string): (() => void) => run.trace('wire', name);
  const seq = ({ microbatch, stage }: Action): number =>
    ((run.step * shape.microbatches + microbatch) * count + stage) >>> 0;

  /** Sends `data` to the rank of stage `to`; the message is named after the receiving action. */
  const post = (group: Group, kind: 'activation' | 'gradient', to: Action, data: F32): void => {
    const host = hosts[to.stage];
    if (host === group.rank) {
      local.set(`${kind} ${to.stage} ${to.microbatch}`, data);
      return;
    }
    const end = run.trace('wire', `${kind} ${to.microbatch} to stage ${to.stage}`);
    const sent = group.begin(kind, seq(to)).send(host, 0, data).then(end);
    sent.catch(() => {});
    sends.push(sent);
  };
  const take = async (
    group: Group,
    kind: 'activation' | 'gradient',
    action: Action,
    from: number,
    length: number,
  ): Promise<F32> => {
    const key = `${kind} ${action.stage} ${action.microbatch}`;
    const here = local.get(key);
    if (here) {
      local.delete(key);
      return here;
    }
    const data = new Float32Array(length);
    const end = run.trace('wait', `${kind} ${action.microbatch} from stage ${from}`);
    await group.begin(kind, seq(action)).recv(hosts[from], 0, data);
    end();
    return data;
  };

  for (const action of actions) {
    const { kind, stage: index, microbatch } = action;
    run.onAction?.(action);
    const stage = stages.get(index);
    if (!stage) throw new InternalError(`action ${kind} of stage ${index} on a rank without it`);
    const key = `${index} ${microbatch}`;
    const { B, T, config } = stage.options;
    const length = B * T * config.hidden;
    if (kind === 'F') {
      const hidden = index > 0 ? await take(forwardGroup, 'activation', action, index - 1, length) : undefined;
      const slot = free.get(index)!.pop();
      if (slot === undefined) throw new InternalError(`stage ${index} has no free slot for microbatch ${microbatch}`);
      slots.set(key, slot);
      const end = run.trace('compute', `F${microbatch} stage ${index}`);
      const { out, predicted } = await stage.forward(slot, { hidden, ...run.input(index, microbatch) }, onWire);
      end();
      if (index === count - 1) run.onLoss(microbatch, out, predicted);
      else post(forwardGroup, 'activation', { kind: 'F', stage: index + 1, microbatch }, out);
      if (run.releaseAfterForward) {
        slots.delete(key);
        free.get(index)!.push(slot);
      }
      continue;
    }
    const slot = slots.get(key);
    if (slot === undefined)
      throw new InternalError(`${kind} of microbatch ${microbatch} on stage ${index} before its F`);
    if (kind === 'B') {
      const dOut = index < count - 1 ? await take(backwardGroup, 'gradient', action, index + 1, length) : undefined;
      const end = run.trace('compute', `B${microbatch} stage ${index}`);
      const dHidden = await stage.backward(slot, dOut, onWire);
      end();
      if (index > 0) post(backwardGroup, 'gradient', { kind: 'B', stage: index - 1, microbatch }, dHidden!);
    } else {
      const end = run.trace('compute', `W${microbatch} stage ${index}`);
      await stage.weights(slot, onWire);
      end();
    }
    if (kind === 'W' || !schedule.splitsWeights) {
      slots.delete(key);
      free.get(index)!.push(slot);
    }
  }
  await Promise.all(sends);
}
