// What a page makes of what happens to the room that it is in.

import { expect, it } from 'vitest';
import type { SessionEvent } from '../../src/cluster/session.ts';
import { RoomEntry } from '../../src/app/training/room/entry.ts';
import { presence } from '../cluster/support.ts';

it('cuts off the rank that a removed tab has in our group, not the one that it says to have', () => {
  const cut: number[] = [];
  const work = { run: 5, wish: 5, view: 1, rank: 1, size: 3, phase: 'training' } as const;
  const [me, liar] = [presence(0, { run: { ...work, rank: 0 } }), presence(2, { run: work })];
  const entry = new RoomEntry({
    room: () => undefined,
    change: () => {},
    onStatus: () => {},
    session: () => ({ me }) as never,
    accuse: (rank) => cut.push(rank),
  });
  const removed = (rank: number): SessionEvent => ({ type: 'removed', id: liar.id, who: liar, rank, by: me });
  entry.heard(removed(-1) as never);
  expect(cut).toEqual([]);
  entry.heard(removed(2) as never);
  expect(cut).toEqual([2]);
});
