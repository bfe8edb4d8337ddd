// Where the device meets the network: collectives as host steps of a plan (read tensors, await, write tensors). Their
// order in a plan is the order of their sequence numbers in the group, taken when a run is issued. A plan holds a
// reference: its ranks may change between two runs. A group of one rank records nothing.

import { elements } from '../base/shape.ts';
import { allReduce, allReduceBytes } from '../collectives/all-reduce.ts';
import type { GroupRef } from '../collectives/group.ts';
import { begins } from '../collectives/groups/begun.ts';
import type { Recorder, Ticket, Traffic } from '../device/recorder.ts';
import type { Tensor } from '../device/tensor.ts';

/** The sum of `x` over the group, on every rank; a new tensor. */
export function recordAllReduce(r: Recorder, group: GroupRef, x: Tensor): Tensor {
  if (group.size === 1) return x;
  const { sum, ticket } = beginAllReduce(r, group, x);
  r.wait(ticket);
  return sum;
}

/** The same, but it is on its way until `ticket` is waited for. */
export function beginAllReduce(
  r: Recorder,
  group: GroupRef,
  x: Tensor,
): { readonly sum: Tensor; readonly ticket: Ticket } {
  const sum = r.tensor(x.shape, 'f32', 'reduced');
  const ticket = r.host(
    `all-reduce ${group.name}`,
    [x],
    [sum],
    async ([input], [output], begun) => {
      (output as Float32Array).set(input as Float32Array);
      await allReduce(begun.group, output as Float32Array<ArrayBuffer>, { operation: begun.operations[0] });
    },
    [allReduceTraffic(group, elements(x.shape))],
    begins(group, 'all-reduce'),
  );
  return { sum, ticket };
}

/** What an all-reduce of `count` numbers sends, from where this rank is now. */
export function allReduceTraffic(group: GroupRef, count: number): Traffic {
  return {
    kind: 'all-reduce',
    get bytes() {
      return allReduceBytes(group.current().rank, group.size, count);
    },
  };
}
