// What a host step of a plan takes when a run of the plan is issued: the group as it is then, and the operations that
// the step will use, whose numbers all ranks have taken in the order of issuing, whatever order the steps start in.

import type { MessageKind } from '../../transport/transport.ts';
import type { Group, GroupRef, Operation } from '../group.ts';

export interface Begun {
  readonly group: Group;
  /** One for each kind that was named. */
  readonly operations: readonly Operation[];
}

/** For `issue` of Recorder.host. */
export function begins(ref: GroupRef, ...kinds: readonly MessageKind[]): () => Begun {
  return () => {
    const group = ref.current();
    return { group, operations: kinds.map((kind) => group.begin(kind)) };
  };
}
