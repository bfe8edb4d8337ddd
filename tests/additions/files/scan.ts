// Scan: x of member r becomes the sum of the x of members 0 to r. P - 1 steps along the chain; every member but the
// last sends S bytes.

import type { CallOptions, Group } from '../../../src/collectives/group.ts';

/** In place. Throws PeerError with the culprit when a member fails. */
export async function scan(
  group: Group,
  x: Float32Array<ArrayBuffer>,
  { operation = group.begin('scan' as 'send') }: Pick<CallOptions, 'operation'> = {},
): Promise<void> {
  const { rank, size } = group;
  operation.sign({ dtype: 'f32', count: x.length, reduction: 'sum' });
  if (rank > 0) {
    const before = new Float32Array(x.length);
    await operation.recv(rank - 1, 0, before);
    for (let i = 0; i < x.length; i++) x[i] += before[i];
  }
  if (rank < size - 1) await operation.send(rank + 1, 0, x);
}

/** Payload bytes that `rank` sends. */
export function scanBytes(rank: number, size: number, count: number): number {
  return rank < size - 1 ? 4 * count : 0;
}
