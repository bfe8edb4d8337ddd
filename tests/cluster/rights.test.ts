// Who may do what in a room: the owner's rules hold for all, also while it is away, and whom somebody removed stays
// out; statements of others change nothing.

import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { realWorld } from '../../src/base/world.ts';
import { identityOf, newKeyPair } from '../../src/cluster/identity/keys.ts';
import type { Identity } from '../../src/cluster/identity/keys.ts';
import { Laws, namedIn, OPEN_RULES, withName } from '../../src/cluster/room/laws.ts';
import type { Presence } from '../../src/cluster/presence.ts';
import { joinRendezvous } from '../../src/cluster/rendezvous.ts';
import { joinRoom } from '../../src/cluster/session.ts';
import type { Session, SessionOptions } from '../../src/cluster/session.ts';
import { fakeConnections, introduction, MemoryHub, ROOM_KEY, SessionEvents } from './support.ts';

let [ada, bob, eve]: Identity[] = [];
beforeAll(async () => {
  [ada, bob, eve] = await Promise.all([0, 1, 2].map(async () => identityOf(await newKeyPair())));
});
const sessions: Session[] = [];
afterEach(async () => {
  await Promise.all(sessions.splice(0).map((session) => session.close()));
});

async function open(
  hub: MemoryHub,
  n: number,
  identity: Identity,
  options: Partial<SessionOptions> = {},
): Promise<{ session: Session; events: SessionEvents }> {
  const events = new SessionEvents();
  const session = await joinRoom({
    world: realWorld,
    carrier: hub.carrier(),
    room: 'test',
    key: ROOM_KEY,
    me: introduction(n),
    identity,
    owner: ada!.id,
    onEvent: events.push,
    page: null,
    createConnections: fakeConnections(),
    settleMs: 150,
    deadlineMs: 3000,
    ...options,
  });
  sessions.push(session);
  return { session, events };
}

const STRICT = { propose: 'owner', act: 'owner', remove: 'owner' } as const;

describe('laws', () => {
  test("are the owner's, in the order of their numbers, and of one room", async () => {
    const [owner, other, elsewhere] = [
      new Laws('room', ada!.id),
      new Laws('room', ada!.id),
      new Laws('other', ada!.id),
    ];
    await owner.decree(ada!, STRICT);
    const first = owner.law!;
    await owner.decree(ada!, { ...STRICT, act: [bob!.id] });
    await other.learn(owner.law!);
    expect(other.rules.act).toEqual([bob!.id]);
    expect([
      other.may('act', bob!.id),
      other.may('act', eve!.id),
      other.may('act', ada!.id),
      other.may('propose', bob!.id),
    ]).toEqual([true, false, true, false]);
    await other.learn(first);
    expect(other.rules.act, 'older rules').toEqual([bob!.id]);
    await elsewhere.learn(first);
    expect(elsewhere.rules, 'rules of another room').toBe(OPEN_RULES);
    const forged = new Laws('room', eve!.id);
    await forged.decree(eve!, OPEN_RULES);
    for (let i = 0; i < 5; i++) await forged.decree(eve!, OPEN_RULES);
    await other.learn(forged.law!);
    expect(other.rules.act, 'rules of another').toEqual([bob!.id]);
    const { rules } = owner.law!;
    for (let at = 0; at < rules!.length; at += 7) {
      const fresh = new Laws('room', ada!.id);
      await fresh.learn({ rules: `${rules!.slice(0, at)}${rules![at] === 'A' ? 'B' : 'A'}${rules!.slice(at + 1)}` });
      expect(fresh.rules, `changed at ${at}`).toBe(OPEN_RULES);
    }
  });

  test('name somebody wherever they name anybody, and nowhere else', async () => {
    const rules = { propose: [], act: 'all', remove: [bob!.id] } as const;
    expect(withName(rules, eve!.id, true)).toEqual({
      propose: [bob!.id, eve!.id],
      act: 'all',
      remove: [bob!.id, eve!.id],
    });
    expect(withName(rules, bob!.id, false)).toEqual({ propose: [], act: 'all', remove: [] });
    expect(namedIn(withName(withName(rules, bob!.id, true), bob!.id, true))).toEqual([bob!.id]);
    const laws = new Laws('room', ada!.id);
    await laws.decree(ada!, withName(rules, eve!.id, true));
    expect([bob!, eve!].map(({ id }) => [laws.may('propose', id), laws.may('remove', id)])).toEqual([
      [true, true],
      [true, true],
    ]);
    await laws.decree(ada!, withName(laws.rules, eve!.id, false));
    expect([laws.may('propose', eve!.id), laws.may('propose', bob!.id)]).toEqual([false, true]);
  });

  test('let those remove who may, never the owner', async () => {
    const laws = new Laws('room', ada!.id);
    await laws.remove(bob!, eve!.id);
    expect(laws.removed).toEqual([]);
    await laws.decree(ada!, { ...OPEN_RULES, remove: [bob!.id] });
    await laws.remove(bob!, ada!.id);
    await laws.remove(bob!, eve!.id);
    expect([laws.removed, laws.removedBy(eve!.id)]).toEqual([[eve!.id], bob!.id]);
    const newcomer = new Laws('room', ada!.id);
    await newcomer.learn(laws.law!);
    expect(newcomer.removed).toEqual([eve!.id]);
    const without = new Laws('room', undefined);
    await without.remove(bob!, eve!.id);
    expect(without.removed, 'a room without an owner').toEqual([]);
  });
});

describe('in a room', () => {
  test('whose owner alone may propose, stop and pause, nobody else does, also while it is away', async () => {
    const hub = new MemoryHub();
    const owner = await open(hub, 0, ada!);
    const [b, c] = [await open(hub, 1, bob!), await open(hub, 2, eve!)];
    await owner.events.members(3);
    owner.session.decree(STRICT);
    for (const { events } of [owner, b, c]) await events.find((event) => event.type === 'rules');
    expect([owner, b].map(({ session }) => session.may('propose'))).toEqual([true, false]);
    expect(() => b.session.propose({ worldSize: 2, plan: 'mine' })).toThrow(
      'room: only the owner of this room (Tab 0) may ask for runs',
    );
    owner.session.propose({ worldSize: 3, plan: 'hers' });
    for (const { events } of [owner, b, c]) await events.started();
    b.session.act('stop');
    await b.events.status(/^only the owner of this room \(Tab 0\) may pause, resume and stop runs$/);
    owner.session.act('pause');
    for (const { events } of [owner, b, c])
      expect(await events.find((event) => event.type === 'act')).toMatchObject({ act: 'pause', by: { name: 'Tab 0' } });
    await owner.session.close();
    const d = await open(hub, 3, await identityOf(await newKeyPair()));
    await d.events.find((event) => event.type === 'rules');
    expect(d.session.rules).toEqual(STRICT);
  });

  test('a page that does not keep to the rules is not obeyed', async () => {
    const hub = new MemoryHub();
    const owner = await open(hub, 0, ada!);
    const b = await open(hub, 1, bob!);
    // This one follows another law: its link names another owner.
    const lawless = await open(hub, 2, eve!, { owner: eve!.id });
    await owner.events.members(3);
    owner.session.decree(STRICT);
    for (const { events } of [owner, b]) await events.find((event) => event.type === 'rules');
    lawless.session.propose({ worldSize: 1, plan: 'mine' });
    await lawless.events.find((event) => event.type === 'wish' && event.refused !== undefined);
    owner.session.propose({ worldSize: 3, plan: 'hers' });
    for (const { events } of [owner, b, lawless]) await events.started();
    lawless.session.act('stop');
    for (const { events } of [owner, b])
      await events.status(/^'Tab 2' wanted to stop the run; only the owner of this room \(Tab 0\) may/);
    for (const { events } of [owner, b]) expect(events.all.some((event) => event.type === 'act')).toBe(false);
  });

  test('a coordinator judges the law of somebody new before it grants what it forbids', async () => {
    const hub = new MemoryHub();
    const b = await open(hub, 1, bob!);
    // Its link names another owner, so nothing forbids it to ask.
    const other = await open(hub, 2, eve!, { owner: eve!.id });
    const options = { world: realWorld, carrier: hub.carrier(), room: 'test', key: ROOM_KEY, settleMs: 150 };
    const quiet = { onPeers: () => {}, onSignal: () => {}, onStatus: () => {}, onNotice: () => {}, onFatal: () => {} };
    const owner = await joinRendezvous(
      { ...options, me: { ...introduction(0), role: 'observer' }, identity: ada! },
      quiet,
    );
    other.session.propose({ worldSize: 3, plan: 'hers' });
    await b.events.find(
      (event) =>
        event.type === 'roster' && event.members.length === 3 && event.members.some(({ wants }) => wants !== undefined),
    );
    const laws = new Laws('test', ada!.id);
    await laws.decree(ada!, STRICT);
    // In one presence come the third trainer, for whom the wish has waited, and the law that forbids the wish.
    owner.update({ role: 'trainer', law: laws.law });
    expect(await other.events.find((event) => event.type === 'wish' && event.refused !== undefined)).toMatchObject({
      refused: 'only the owner of this room (Tab 0) may ask for runs',
    });
    expect(b.session.coordinator?.address).toBe(b.session.me.address);
    expect(b.events.all.filter(({ type }) => type === 'forming' || type === 'started')).toEqual([]);
    await owner.close();
  });

  test('whom the owner removes is told, named to all, and not let in again', async () => {
    const hub = new MemoryHub();
    const [owner, b, c] = [await open(hub, 0, ada!), await open(hub, 1, bob!), await open(hub, 2, eve!)];
    for (const { events } of [owner, b]) await events.members(3);
    b.session.remove(c.session.me.address);
    await b.events.status(/^only the owner of this room \(Tab 0\) may remove others$/);
    owner.session.remove(c.session.me.address);
    expect(await c.events.failed()).toMatchObject({
      fatal: true,
      error: {
        trouble: 'removed',
        message: expect.stringMatching(/^room: 'Tab 0' removed this tab from the room/) as string,
      },
    });
    for (const { events } of [owner, b])
      expect(await events.find((event) => event.type === 'removed')).toMatchObject({
        who: { name: 'Tab 2' },
        by: { name: 'Tab 0' },
      });
    for (const { session } of [owner, b]) await expect.poll(() => session.members.length).toBe(2);
    await owner.session.close();
    // Long enough to hear the other, who alone remembers now.
    await expect(open(hub, 2, eve!, { settleMs: 1000 })).rejects.toMatchObject({ trouble: 'removed' });
    expect(b.session.members.map(({ name }) => name)).toEqual(['Tab 1']);
  });

  test('who is removed had the rank that its view gave it, whatever it says itself', async () => {
    const hub = new MemoryHub();
    const owner = await open(hub, 0, ada!);
    const b = await open(hub, 1, bob!, { me: { ...introduction(1), role: 'observer' } });
    const quiet = { onPeers: () => {}, onSignal: () => {}, onStatus: () => {}, onNotice: () => {}, onFatal: () => {} };
    const options = { world: realWorld, carrier: hub.carrier(), room: 'test', key: ROOM_KEY, settleMs: 150 };
    const me = { ...introduction(2), role: 'observer' } as const;
    const liar = await joinRendezvous({ ...options, me, identity: eve! }, quiet);
    await owner.events.members(3);
    // Trains behind the owner, whoever was heard first.
    await b.events.members(3);
    b.session.update({ role: 'trainer' });
    owner.session.propose({ worldSize: 2, plan: 'hers' });
    for (const { events } of [owner, b]) await events.started();
    liar.update({ run: { ...b.session.me.run!, rank: 1 } });
    const lies = ({ name, run }: Presence): boolean => name === 'Tab 2' && run?.rank === 1;
    await owner.events.find((event) => event.type === 'roster' && event.members.some(lies));
    owner.session.remove(liar.me.address);
    const removed = (id: string): Promise<unknown> =>
      owner.events.find((event) => event.type === 'removed' && event.id === id);
    expect(await removed(eve!.id)).toMatchObject({ who: { name: 'Tab 2', run: { rank: 1 } }, rank: -1 });
    owner.session.remove(b.session.me.address);
    expect(await removed(bob!.id)).toMatchObject({ who: { name: 'Tab 1' }, rank: 1 });
    await liar.close();
  });
});
