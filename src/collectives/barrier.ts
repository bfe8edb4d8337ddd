// Barrier: resolves when every member has called it. One step of P - 1 empty messages, 0 payload bytes.

import type { CallOptions, Group } from './group.ts';

export async function barrier(
  group: Group,
  { operation = group.begin('barrier') }: Pick<CallOptions, 'operation'> = {},
): Promise<void> {
  const { rank, size } = group;
  operation.sign({ dtype: 'u32', count: 0 });
  const pending: Promise<void>[] = [];
  for (let step = 1; step < size; step++) {
    const peer = (rank + step) % size;
    pending.push(operation.recv(peer, 0, new Uint32Array(0)), operation.send(peer, 0, new Uint32Array(0)));
  }
  await Promise.all(pending);
}
