// A room over two carriers at once: whoever has only one of them is met all the same, everything counts once, and the
// second may come later.

import { afterEach, expect, test } from 'vitest';
import { realWorld } from '../../src/base/world.ts';
import type { Carrier } from '../../src/cluster/rendezvous.ts';
import { twoCarriers } from '../../src/cluster/room/two-carriers.ts';
import { joinRoom } from '../../src/cluster/session.ts';
import type { Session } from '../../src/cluster/session.ts';
import { fakeConnections, introduction, MemoryHub, ROOM_KEY, SessionEvents } from './support.ts';

const sessions: Session[] = [];
afterEach(async () => {
  await Promise.all(sessions.splice(0).map((session) => session.close()));
});

async function open(carrier: Carrier, n: number, worldSize = 0): Promise<{ session: Session; events: SessionEvents }> {
  const events = new SessionEvents();
  const session = await joinRoom({
    world: realWorld,
    carrier,
    room: 'test',
    key: ROOM_KEY,
    me: introduction(n),
    onEvent: events.push,
    page: null,
    createConnections: fakeConnections(),
    settleMs: 150,
    deadlineMs: 3000,
    ...(worldSize ? { wanted: { worldSize, plan: 'both' } } : {}),
  });
  sessions.push(session);
  return { session, events };
}

const refusing = (): Carrier => ({ ...new MemoryHub().carrier(), open: () => Promise.reject(new Error('refused')) });

test('tabs that have both, and one that has the broker alone, start together', async () => {
  const [near, far] = [new MemoryHub(), new MemoryHub()];
  const bare = await open(twoCarriers({ near: refusing(), far: Promise.resolve(far.carrier()), waits: true }), 0);
  const others = [
    await open(twoCarriers({ near: near.carrier(), far: Promise.resolve(far.carrier()), waits: true }), 1),
    await open(twoCarriers({ near: near.carrier(), far: Promise.resolve(far.carrier()), waits: true }), 2, 3),
  ];
  const places = await Promise.all([bare, ...others].map(async ({ events }) => (await events.started()).place));
  expect(places.map(({ rank }) => rank).sort()).toEqual([0, 1, 2]);
  expect(others[0]!.events.all.filter(({ type }) => type === 'started')).toHaveLength(1);
});

/** The tabs of a browser, which takes everybody for dead whom it cannot find in it. */
function browserOf(hub: MemoryHub): Carrier {
  const carrier = hub.carrier();
  const here = new Set<string>();
  let gone = (_: string): void => {};
  return {
    ...carrier,
    open: (room, address, handlers) => {
      gone = (from) => handlers.onGone(from, 'certain');
      return carrier.open(room, address, {
        ...handlers,
        onPresence: (from, sealed, live) => {
          here.add(from);
          handlers.onPresence(from, sealed, live);
        },
      });
    },
    watch: (address) => {
      if (!here.has(address)) gone(address);
    },
  };
}

test('who is met over the broker alone is not missed in this browser', async () => {
  const far = new MemoryHub();
  const both = (near: Carrier): Carrier => twoCarriers({ near, far: Promise.resolve(far.carrier()), waits: true });
  const [a, b] = [await open(both(browserOf(new MemoryHub())), 0, 2), await open(both(browserOf(new MemoryHub())), 1)];
  for (const { events } of [a, b]) await events.started();
  for (const { events } of [a, b]) expect(events.all.filter(({ type }) => type === 'lost')).toEqual([]);
});

test('a tab without the broker is found by the others when it answers later; it keeps its address and those that it had met', async () => {
  const [near, far] = [new MemoryHub(), new MemoryHub()];
  let answers = (_: Carrier): void => {};
  const told: string[] = [];
  const late = twoCarriers({
    near: near.carrier(),
    far: new Promise<Carrier>((resolve) => {
      answers = resolve;
    }),
    waits: false,
    onFar: ({ name }, failure) => told.push(failure === undefined ? name : 'failed'),
  });
  const [first, neighbour, distant] = [
    await open(late, 0),
    await open(near.carrier(), 1),
    await open(far.carrier(), 2),
  ];
  await first.events.members(2);
  expect(distant.session.members).toHaveLength(1);
  const { address } = first.session.me;
  answers({ ...far.carrier(), name: 'the broker' });
  await first.events.members(3);
  await distant.events.members(2);
  expect(first.session.me.address).toBe(address);
  expect(told).toEqual(['the broker']);
  expect(late.name).toBe('memory and the broker');
  expect(neighbour.session.members).toHaveLength(2);
  // Who leaves by both leaves once.
  await distant.session.close();
  await expect.poll(() => first.session.members.length).toBe(2);
});

test('a broker that cannot be opened is told, and the room goes on without; one that must be there fails the join', async () => {
  const near = new MemoryHub();
  const told: unknown[] = [];
  const alone = await open(
    twoCarriers({
      near: near.carrier(),
      far: Promise.resolve(refusing()),
      waits: false,
      onFar: (_, failure) => told.push(failure),
    }),
    0,
  );
  await expect.poll(() => told).toEqual([new Error('refused')]);
  await open(near.carrier(), 1);
  await alone.events.members(2);
  await expect(
    open(twoCarriers({ near: near.carrier(), far: Promise.resolve(refusing()), waits: true }), 2),
  ).rejects.toThrow('refused');
});
