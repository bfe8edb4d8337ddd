// Barrier: resolves when every member has called it. One step of P - 1 empty messages, 0 payload bytes.

import type { Group, Operation } from './group.ts';

export async function barrier(group: Group, operation: Operation = group.begin('barrier')): Promise<void> {
  const { rank, size } = group;
  const pending: Promise<void>[] = [];
  for (let step = 1; step < size; step++) {
    const peer = (rank + step) % size;
    pending.push(operation.recv(peer, 0, new Uint32Array(0)), operation.send(peer, 0, new Uint32Array(0)));
  }
  await Promise.all(pending);
}
