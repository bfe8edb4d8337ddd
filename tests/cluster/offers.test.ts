// Which offers a member takes: of one that has proven itself, of what may be trained here, and, where the owner says
// who may wish, of such a wish alone.

import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { realWorld } from '../../src/base/world.ts';
import { identityOf, newKeyPair } from '../../src/cluster/identity/keys.ts';
import type { Identity } from '../../src/cluster/identity/keys.ts';
import { encodeMessage } from '../../src/cluster/messages.ts';
import type { View } from '../../src/cluster/messages.ts';
import type { Presence } from '../../src/cluster/presence.ts';
import { joinRendezvous } from '../../src/cluster/rendezvous.ts';
import type { Rendezvous } from '../../src/cluster/rendezvous.ts';
import { joinRoom } from '../../src/cluster/session.ts';
import type { Session, SessionOptions } from '../../src/cluster/session.ts';
import { Events, fakeConnections, introduction, MemoryHub, ROOM_KEY, SessionEvents } from './support.ts';

const STRICT = { propose: 'owner', act: 'owner', remove: 'owner' } as const;
const REFUSED = /^an offer of 'Tab 9' was refused: it is not what was asked for$/;

let [ada, bob, eve]: Identity[] = [];
beforeAll(async () => {
  [ada, bob, eve] = await Promise.all([0, 1, 2].map(async () => identityOf(await newKeyPair())));
});
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((member) => member.close()));
});

interface Tab {
  readonly session: Session;
  readonly events: SessionEvents;
}

async function join(
  hub: MemoryHub,
  n: number,
  identity: Identity,
  options: Partial<SessionOptions> = {},
): Promise<Tab> {
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
  open.push(session);
  return { session, events };
}

/** Joins, and trains once it sees these tabs: it is younger than they are, however long it takes to hear of them. */
async function joinBehind(
  names: readonly string[],
  hub: MemoryHub,
  n: number,
  identity: Identity,
  options: Partial<SessionOptions> = {},
): Promise<Tab> {
  const tab = await join(hub, n, identity, { me: { ...introduction(n), role: 'observer' }, ...options });
  for (const name of names) await sees(tab, name);
  tab.session.update({ role: 'trainer' });
  return tab;
}

/**
 * A tab that keeps to no rules of the room: it says what the test wants, and trains only behind the tab that is
 * `before`.
 */
async function joinLawless(hub: MemoryHub, role: 'trainer' | 'observer', before?: string): Promise<Rendezvous> {
  const peers = new Events<readonly Presence[]>();
  const quiet = { onPeers: peers.push, onSignal: () => {}, onStatus: () => {}, onNotice: () => {}, onFatal: () => {} };
  const options = {
    world: realWorld,
    carrier: hub.carrier(),
    room: 'test',
    key: ROOM_KEY,
    identity: eve!,
    settleMs: 150,
  };
  const me = { ...introduction(9), role: before === undefined ? role : 'observer' } as const;
  const rendezvous = await joinRendezvous({ ...options, me }, quiet);
  open.push(rendezvous);
  if (before === undefined) return rendezvous;
  await peers.find((roster) => roster.some(({ name }) => name === before));
  rendezvous.update({ role });
  return rendezvous;
}

function offer(from: Rendezvous, to: Session, view: Partial<View>): void {
  const members = [from.me.address, to.me.address];
  from.signal(
    to.me.address,
    encodeMessage({ type: 'offer', view: { view: 1, run: 5, wish: 5, members, plan: 'hers', ...view } }),
  );
}

const forms = ({ events }: Tab): boolean => events.all.some(({ type }) => type === 'forming');
const sees = ({ events }: Tab, name: string): Promise<unknown> =>
  events.find((event) => event.type === 'roster' && event.members.some((member) => member.name === name));

describe('where the owner alone may wish', () => {
  test('another plan under the number of its wish, announced by an older tab, keeps nobody from the run', async () => {
    const hub = new MemoryHub();
    const lawless = await joinLawless(hub, 'observer');
    const owner = await joinBehind(['Tab 9'], hub, 0, ada!);
    owner.session.decree(STRICT);
    await owner.events.find(({ type }) => type === 'rules');
    owner.session.propose({ worldSize: 2, plan: 'hers' });
    lawless.update({ wants: { ...owner.session.me.wants!, plan: 'another' } });
    await owner.events.status(/^'Tab 9' asks for a run that cannot be: only the owner/);
    const member = await joinBehind(['Tab 0', 'Tab 9'], hub, 1, bob!);
    expect((await member.events.started()).place).toMatchObject({ plan: 'hers', view: 1 });
    await owner.events.started();
  });

  test('an offer of her wish for another world, or as another run, is none of it', async () => {
    const hub = new MemoryHub();
    const lawless = await joinLawless(hub, 'trainer');
    const owner = await join(hub, 0, ada!, { me: { ...introduction(0), role: 'observer' } });
    const member = await joinBehind(['Tab 0', 'Tab 9'], hub, 1, bob!);
    owner.session.decree(STRICT);
    await member.events.find(({ type }) => type === 'rules');
    owner.session.propose({ worldSize: 2, plan: 'hers' });
    const { wants } = owner.session.me;
    await member.events.find((event) => event.type === 'roster' && event.members.some((known) => known.wants));
    const members = [lawless.me.address, member.session.me.address];
    for (const wrong of [{ run: 5 }, { plan: 'another' }, { members: [...members, owner.session.me.address] }]) {
      member.events.all.length = 0;
      offer(lawless, member.session, { wish: wants!.wish, run: wants!.run, ...wrong });
      await member.events.status(REFUSED);
    }
    expect(forms(member)).toBe(false);
    offer(lawless, member.session, { wish: wants!.wish, run: wants!.run });
    await member.events.find(({ type }) => type === 'forming');
  });

  test('an offer from before her rules is judged by them when its sender becomes the oldest', async () => {
    const hub = new MemoryHub();
    const first = await join(hub, 3, await identityOf(await newKeyPair()));
    const lawless = await joinLawless(hub, 'trainer', 'Tab 3');
    const owner = await join(hub, 0, ada!, { me: { ...introduction(0), role: 'observer' } });
    const judged: unknown[] = [];
    const check: SessionOptions['check'] = ({ plan }) => {
      judged.push(plan);
      return undefined;
    };
    const member = await joinBehind(['Tab 3', 'Tab 9', 'Tab 0'], hub, 1, bob!, { check });
    offer(lawless, member.session, { plan: 'mine' });
    await expect.poll(() => judged).toEqual(['mine']);
    owner.session.decree(STRICT);
    await member.events.find(({ type }) => type === 'rules');
    await first.session.close();
    await member.events.status(
      /^an offer of 'Tab 9' was refused: it is not what was asked for; forming the group anew/,
    );
    expect(forms(member)).toBe(false);
  });
});

test.each([
  ['all may wish', undefined],
  ['the owner alone may', STRICT],
])('an offer of one that has not proven itself waits until it has, and is judged then, where %s', async (_, rules) => {
  const hub = new MemoryHub();
  let [hidden, secret] = [true, ''];
  hub.tamper = (kind, bytes, from) => (hidden && from === secret && kind === 'presence' ? undefined : bytes);
  const lawless = await joinLawless(hub, 'trainer');
  secret = lawless.me.address;
  const owner = await join(hub, 0, ada!, { me: { ...introduction(0), role: 'observer' } });
  const check: SessionOptions['check'] = ({ plan }) => (plan === 'nonsense' ? 'job: expected an object' : undefined);
  const member = await joinBehind(['Tab 0'], hub, 1, bob!, { check });
  if (rules) {
    owner.session.decree(rules);
    await member.events.find(({ type }) => type === 'rules');
    owner.session.propose({ worldSize: 2, plan: 'hers' });
    await member.events.find((event) => event.type === 'roster' && event.members.some(({ wants }) => wants));
  }
  offer(lawless, member.session, { plan: 'nonsense', wish: owner.session.me.wants?.wish ?? 5 });
  // Behind the offer, so it has arrived by then.
  lawless.signal(member.session.me.address, new TextEncoder().encode('no message'));
  await member.events.status(/was dropped/);
  hidden = false;
  lawless.update({ name: 'Tab 9' });
  await sees(member, 'Tab 9');
  await member.events.status(
    /^an offer of 'Tab 9' was refused: (job: expected an object|it is not what was asked for)$/,
  );
  expect(forms(member)).toBe(false);
});
