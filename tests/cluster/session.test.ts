// Whole sessions in one process: real seals, rendezvous, membership and barrier; the carrier and the mesh are in
// memory.

import { afterEach, describe, expect, test } from 'vitest';
import { realWorld } from '../../src/base/world.ts';
import { identityOf, newKeyPair } from '../../src/cluster/identity/keys.ts';
import { joinRoom } from '../../src/cluster/session.ts';
import type { Session, SessionOptions } from '../../src/cluster/session.ts';
import { fakeConnections, introduction, MemoryHub, OTHER_KEY, ROOM_KEY, SessionEvents } from './support.ts';

interface Tab {
  readonly session: Session;
  readonly events: SessionEvents;
  die(): void;
}

const tabs: Tab[] = [];
afterEach(async () => {
  await Promise.all(tabs.splice(0).map(({ session }) => session.close()));
});

async function open(hub: MemoryHub, n: number, options: Partial<SessionOptions> = {}): Promise<Tab> {
  const events = new SessionEvents();
  const carrier = hub.carrier();
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
    ...options,
  });
  const tab = { session, events, die: () => carrier.die() };
  tabs.push(tab);
  return tab;
}

const wanted = (
  worldSize: number,
  plan: unknown = { layout: 'dp' },
): { wanted: { worldSize: number; plan: unknown } } => ({ wanted: { worldSize, plan } });

describe('forming a group', () => {
  test('tabs start together, with the same run, view, plan and members, each with its rank', async () => {
    const hub = new MemoryHub();
    const group = [await open(hub, 0, wanted(4)), await open(hub, 1), await open(hub, 2), await open(hub, 3)];
    const places = await Promise.all(group.map(async ({ events }) => (await events.started()).place));
    expect(places.map(({ rank }) => rank)).toEqual([0, 1, 2, 3]);
    for (const { run, view, plan, members, worldSize } of places) {
      expect({ run, view, plan, worldSize }).toEqual({
        run: places[0]!.run,
        view: 1,
        plan: { layout: 'dp' },
        worldSize: 4,
      });
      expect(members.map(({ name }) => name)).toEqual(['Tab 0', 'Tab 1', 'Tab 2', 'Tab 3']);
    }
    await group[0]!.events.status(/^2 of 4 tabs are here; open 2 more with this room's link$/);
  });

  test('tabs that open at the same moment agree as well', async () => {
    const hub = new MemoryHub();
    const group = await Promise.all([3, 1, 2, 0].map((n) => open(hub, n, wanted(4))));
    const places = await Promise.all(
      group.map(
        async ({ events }) =>
          (await events.find((event) => event.type === 'started')) as { place: { rank: number; run: number } },
      ),
    );
    expect(places.map(({ place }) => place.rank).sort()).toEqual([0, 1, 2, 3]);
    expect(new Set(places.map(({ place }) => place.run)).size).toBe(1);
  });

  test('no connection begins before every worker of this tab is prepared, and a slow one is waited for', async () => {
    const hub = new MemoryHub();
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const order: string[] = [];
    const mesh = fakeConnections();
    const a = await open(hub, 0, { ...wanted(2), deadlineMs: 400, maxAttempts: 50 });
    const b = await open(hub, 1, {
      prepare: async () => {
        await gate;
        order.push('prepared');
      },
      createConnections: (options) => {
        const real = mesh(options);
        return {
          ...real,
          connect: (to) => {
            order.push('connect');
            real.connect(to);
          },
        };
      },
    });
    await a.events.status(/rank 1 \(Tab 1\): its worker is starting/);
    expect(order).toEqual([]);
    release();
    await b.events.started();
    expect(order).toEqual(['prepared', 'connect']);
  });

  test('an observer sees it all and gets no rank; it may ask for the run', async () => {
    const hub = new MemoryHub();
    const observer = await open(hub, 0, { me: { ...introduction(0), role: 'observer' } });
    const [a, b] = [await open(hub, 1), await open(hub, 2)];
    await observer.events.members(3);
    const run = observer.session.propose({ worldSize: 2, plan: 'from the observer' });
    for (const tab of [a, b])
      expect((await tab.events.started()).place).toMatchObject({ run, plan: 'from the observer', worldSize: 2 });
    expect(observer.events.all.some((event) => event.type === 'forming' || event.type === 'started')).toBe(false);
    expect(observer.session.coordinator?.name).toBe('Tab 1');
  });
});

describe('when connecting fails', () => {
  test('a pair that fails once is tried again, visibly, and the group starts', async () => {
    const hub = new MemoryHub();
    const createConnections = fakeConnections((low, high, attempt) =>
      low === 1 && high === 2 && attempt === 1 ? 'Ice connection failed.' : undefined,
    );
    const group = [
      await open(hub, 0, { ...wanted(3), createConnections }),
      await open(hub, 1, { createConnections }),
      await open(hub, 2, { createConnections }),
    ];
    await group[0]!.events.status(
      /connecting again: rank 1 \(Tab 1\) <-> rank 2 \(Tab 2\): Ice connection failed\.; attempt 2 of 3/,
    );
    expect((await Promise.all(group.map(({ events }) => events.started()))).map(({ place }) => place.rank)).toEqual([
      0, 1, 2,
    ]);
  });

  test('a pair that never connects ends it for everybody with the same reason, and nobody hangs', async () => {
    const hub = new MemoryHub();
    const createConnections = fakeConnections((low, high) =>
      low === 0 && high === 1 ? 'Ice connection failed.' : undefined,
    );
    const group = [
      await open(hub, 0, { ...wanted(3), createConnections }),
      await open(hub, 1, { createConnections }),
      await open(hub, 2, { createConnections }),
    ];
    for (const { events } of group) {
      expect(await events.failed()).toMatchObject({
        fatal: false,
        error: {
          trouble: 'unreachable',
          message: expect.stringMatching(
            /^room: 3 attempts to connect failed: rank 0 \(Tab 0\) <-> rank 1 \(Tab 1\): Ice connection failed\./,
          ) as string,
        },
      });
    }
    // The room is still good for another try.
    expect(group[0]!.session.members).toHaveLength(3);
  });

  test('a worker that cannot start is named to all', async () => {
    const hub = new MemoryHub();
    const a = await open(hub, 0, wanted(2));
    const b = await open(hub, 1, { prepare: () => Promise.reject(new Error('device: no adapter')) });
    for (const { events } of [a, b])
      expect((await events.failed()).error.message).toBe('room: rank 1 (Tab 1): device: no adapter');
  });

  test('signals lost by the broker only cost time', async () => {
    const hub = new MemoryHub();
    let lost = 0;
    hub.tamper = (kind, bytes) => (kind === 'signal' && lost++ < 2 ? undefined : bytes);
    const group = [await open(hub, 0, { ...wanted(2), deadlineMs: 400, maxAttempts: 50 }), await open(hub, 1)];
    await Promise.all(group.map(({ events }) => events.started()));
    expect(lost).toBeGreaterThan(2);
  });
});

describe('who comes and goes', () => {
  test('a member that dies while connecting: the rest forms the next view with a spare', async () => {
    const hub = new MemoryHub();
    const stuck = fakeConnections((low, high) => (high === 1 || low === 1 ? 'not yet' : undefined));
    const a = await open(hub, 0, {
      ...wanted(2),
      createConnections: (options) => ({ ...fakeConnections()(options), connect: () => {}, signal: () => {} }),
    });
    const b = await open(hub, 1, { createConnections: stuck });
    await b.events.find((event) => event.type === 'forming');
    const c = await open(hub, 2);
    b.die();
    await a.events.status(/rank 1 \(Tab 1\) left while the tabs were connecting; forming the group anew/);
    const again = await c.events.find((event) => event.type === 'forming');
    expect(again).toMatchObject({ place: { view: 2, rank: 1 } });
  });

  test('a coordinator that dies while connecting: the next oldest takes over with the same plan, if the one who wished for it is here', async () => {
    const hub = new MemoryHub();
    const deaf: SessionOptions['createConnections'] = () => ({
      connect: () => {},
      signal: () => {},
      lanes: () => new Map(),
      routes: () => Promise.resolve(new Map()),
      examine: () => Promise.resolve(new Map()),
      close: () => {},
    });
    const a = await open(hub, 0, { createConnections: deaf });
    const b = await open(hub, 1, wanted(2, 'the plan'));
    await b.events.find((event) => event.type === 'forming');
    const c = await open(hub, 2);
    a.die();
    const places = (await Promise.all([b.events.started(2), c.events.started(2)])).map(({ place }) => place);
    expect(places.map(({ rank, plan }) => [rank, plan])).toEqual([
      [0, 'the plan'],
      [1, 'the plan'],
    ]);
    expect(b.session.coordinator?.name).toBe('Tab 1');
  });

  test('a wish dies with the tab that had it', async () => {
    const hub = new MemoryHub();
    const a = await open(hub, 0, wanted(2));
    await open(hub, 1, { me: { ...introduction(1), role: 'observer' } });
    await a.session.close();
    const [b, c] = [await open(hub, 2), await open(hub, 3)];
    await c.events.members(3);
    // A later wish is granted, so the earlier one had its chance.
    const run = b.session.propose({ worldSize: 1, plan: 'mine' });
    expect((await b.events.started()).place).toMatchObject({ run, plan: 'mine', view: 1 });
  });

  test('a member lost after the start is told; when the rest has ended its part, a wish regroups the same run in the next view', async () => {
    const hub = new MemoryHub();
    const [a, b, c] = [await open(hub, 0, wanted(3)), await open(hub, 1), await open(hub, 2)];
    const { place } = await c.events.started();
    await Promise.all([a.events.started(), b.events.started()]);
    b.die();
    for (const { events } of [a, c])
      expect(await events.find((event) => event.type === 'lost')).toMatchObject({ rank: 1, member: { name: 'Tab 1' } });
    c.session.propose({ worldSize: 2, plan: 'fewer', run: place.run });
    for (const { session } of [a, c]) session.finish('failed', 7);
    const regrouped = (await Promise.all([a.events.started(2), c.events.started(2)])).map((event) => event.place);
    expect(regrouped.map(({ rank, run, plan }) => [rank, run, plan])).toEqual([
      [0, place.run, 'fewer'],
      [1, place.run, 'fewer'],
    ]);
  });

  test('of two tabs with one identity the older is closed with the reason', async () => {
    const hub = new MemoryHub();
    const identity = await identityOf(await newKeyPair());
    const older = await open(hub, 1, { identity });
    const newer = await open(hub, 1, { identity });
    expect(await older.events.failed()).toMatchObject({ fatal: true, error: { trouble: 'duplicate' } });
    await newer.events.members(1);
    expect(newer.events.all.some((event) => event.type === 'failed')).toBe(false);
  });

  test('a page of another protocol version is told by both sides and closes nobody; the room goes on', async () => {
    const hub = new MemoryHub();
    const a = await open(hub, 0, wanted(2));
    const outsider = await open(hub, 1, { protocolVersion: 99 });
    await a.events.status(/^'Tab 1' is not counted: it speaks protocol 99, this page speaks \d+; reload both/);
    await outsider.events.status(/^'Tab 0' is not counted: it speaks protocol \d+, this page speaks 99; reload both/);
    const b = await open(hub, 2);
    await Promise.all([a.events.started(), b.events.started()]);
    for (const { events } of [a, b, outsider]) expect(events.all.some((event) => event.type === 'failed')).toBe(false);
  });

  test('who has another key is told, and alone', async () => {
    const hub = new MemoryHub();
    const a = await open(hub, 0);
    const stranger = await open(hub, 1, { key: OTHER_KEY });
    for (const { events } of [a, stranger]) await events.notice(/different key/);
    for (const { session } of [a, stranger]) expect(session.members).toHaveLength(1);
  });

  test('a page that hides for good leaves the room by itself', async () => {
    const hub = new MemoryHub();
    const page = new EventTarget();
    const a = await open(hub, 0);
    await open(hub, 1, { page });
    await a.events.members(2);
    a.events.all.length = 0;
    page.dispatchEvent(new Event('pagehide'));
    await a.events.members(1);
  });
});

describe('a run belongs to the room until it ends', () => {
  test('who joins, leaves or wishes for another changes nothing, and the wish is granted when the run has ended', async () => {
    const hub = new MemoryHub();
    const [a, b] = [await open(hub, 0, wanted(2, 'first')), await open(hub, 1)];
    await Promise.all([a.events.started(), b.events.started()]);
    const c = await open(hub, 2, wanted(3, 'second'));
    await c.events.status(
      /^this room is at work \('Tab 0', 'Tab 1'\); your run waits until theirs ends, which each of them may stop$/,
    );
    const d = await open(hub, 3);
    await d.session.close();
    await a.events.find(
      (event) =>
        event.type === 'roster' &&
        event.members.length === 3 &&
        event.members.some(({ wants }) => wants?.plan === 'second'),
    );
    for (const { events } of [a, b]) expect(events.all.filter((event) => event.type === 'forming')).toHaveLength(1);
    a.session.finish('done', 5);
    await c.events.find((event) => event.type === 'roster' && event.members[0]!.ended?.how === 'done');
    expect(
      c.events.all.some((event) => event.type === 'forming'),
      'one of two is still at work',
    ).toBe(false);
    b.session.finish('done', 5);
    const places = (await Promise.all([a, b, c].map(({ events }) => events.started(2)))).map(({ place }) => place);
    expect(places.map(({ rank, plan }) => [rank, plan])).toEqual([
      [0, 'second'],
      [1, 'second'],
      [2, 'second'],
    ]);
    expect(c.events.all.filter((event) => event.type === 'wish').at(-1)).toEqual({ type: 'wish', wish: undefined });
  });

  test('a coordinator that is lost takes nothing with it, and the next knows that the room is at work', async () => {
    const hub = new MemoryHub();
    const a = await open(hub, 0);
    const [b, c] = [await open(hub, 1, { me: { ...introduction(1), role: 'observer' } }), await open(hub, 2)];
    // A alone trains; the observer's wish and the next coordinator come later.
    a.session.propose({ worldSize: 1, plan: 'alone' });
    await a.events.started();
    b.session.propose({ worldSize: 1, plan: 'later' });
    await c.events.find(
      (event) =>
        event.type === 'roster' &&
        event.members.some(({ run }) => run?.phase === 'training') &&
        event.members.some(({ wants }) => wants?.plan === 'later'),
    );
    expect(c.events.all.some((event) => event.type === 'forming')).toBe(false);
    a.die();
    expect((await c.events.started()).place).toMatchObject({ plan: 'later', rank: 0 });
  });

  test('a wish may be taken back', async () => {
    const hub = new MemoryHub();
    const a = await open(hub, 0, wanted(2, 'first'));
    await a.events.members(1);
    a.session.withdraw();
    const b = await open(hub, 1);
    await a.events.members(2);
    b.session.propose({ worldSize: 2, plan: 'second' });
    expect((await a.events.started()).place).toMatchObject({ plan: 'second', view: 1 });
  });

  test('what this page cannot train is refused by all without an end for any, and its proposer hears why', async () => {
    const hub = new MemoryHub();
    const check = ({ plan }: { plan: unknown }): string | undefined =>
      plan === 'nonsense' ? 'job: expected an object' : undefined;
    const [a, b] = [await open(hub, 0, { check }), await open(hub, 1, { check })];
    const observer = await open(hub, 2, { me: { ...introduction(2), role: 'observer' } });
    await observer.events.members(3);
    observer.session.propose({ worldSize: 2, plan: 'nonsense' });
    expect(await observer.events.find((event) => event.type === 'wish' && event.refused !== undefined)).toMatchObject({
      wish: undefined,
      refused: 'job: expected an object',
    });
    await a.events.status(/^'Tab 2' asks for a run that cannot be: job: expected an object$/);
    expect(() => a.session.propose({ worldSize: 1, plan: 'nonsense' })).toThrow('room: job: expected an object');
    expect(() => a.session.propose({ worldSize: 1, plan: 'x'.repeat(20_000) })).toThrow(
      /^room: the job has \d+ bytes, expected at most 11264; shorten it$/,
    );
    b.session.propose({ worldSize: 2, plan: 'sense' });
    await Promise.all([a.events.started(), b.events.started()]);
    for (const { events } of [a, b, observer]) expect(events.all.some((event) => event.type === 'failed')).toBe(false);
  });

  test('an observer hears why its wish could not be formed', async () => {
    const hub = new MemoryHub();
    await open(hub, 0, { prepare: () => Promise.reject(new Error('device: no adapter')) });
    const observer = await open(hub, 1, { me: { ...introduction(1), role: 'observer' }, ...wanted(1) });
    expect(await observer.events.find((event) => event.type === 'wish' && event.refused !== undefined)).toMatchObject({
      refused: 'rank 0 (Tab 0): device: no adapter',
    });
  });

  test('one of the group may end its forming for all', async () => {
    const hub = new MemoryHub();
    const stuck: SessionOptions['prepare'] = () => new Promise(() => {});
    const [a, b] = [await open(hub, 0, { ...wanted(2), prepare: stuck }), await open(hub, 1, { prepare: stuck })];
    await b.events.find((event) => event.type === 'forming');
    b.session.giveUp("'Tab 1' stopped it");
    for (const { events } of [a, b])
      expect(await events.find((event) => event.type === 'stopped')).toMatchObject({ reason: "'Tab 1' stopped it" });
    await a.events.find((event) => event.type === 'roster' && event.members.every(({ run, wants }) => !run && !wants));
  });

  test('who comes while a run is at work hears about it from a member; those in it decide, nobody else', async () => {
    const hub = new MemoryHub();
    const [a, b] = [await open(hub, 0, wanted(2)), await open(hub, 1)];
    const {
      place: { run },
    } = await a.events.started();
    await b.events.started();
    const watcher = await open(hub, 2, { me: { ...introduction(2), role: 'observer' } });
    await watcher.events.find(
      (event) =>
        event.type === 'roster' && event.members.filter((member) => member.run?.phase === 'training').length === 2,
    );
    watcher.session.ask(a.session.me.address, run);
    expect(await a.events.find((event) => event.type === 'asked')).toMatchObject({ by: { name: 'Tab 2' } });
    a.session.tell(watcher.session.me.address, run, { step: 4 });
    expect(await watcher.events.find((event) => event.type === 'news')).toMatchObject({
      run,
      body: { step: 4 },
      from: { name: 'Tab 0' },
    });
    // The watcher has no part in it: what it wants goes nowhere.
    watcher.session.act('stop');
    b.session.act('pause');
    for (const { events } of [a, b, watcher])
      expect(await events.find((event) => event.type === 'act')).toMatchObject({
        act: 'pause',
        run,
        by: { name: 'Tab 1' },
      });
    for (const { events } of [a, b, watcher])
      expect(events.all.some((event) => event.type === 'act' && event.act === 'stop')).toBe(false);
  });
});

test('a closed session is silent and leaves no timer that speaks', async () => {
  const hub = new MemoryHub();
  const a = await open(hub, 0, wanted(3));
  const b = await open(hub, 1);
  await a.events.members(2);
  await a.session.close();
  await a.session.close();
  await b.events.members(1);
  const count = a.events.all.length;
  const c = await open(hub, 2);
  await c.events.members(2);
  expect(a.events.all).toHaveLength(count);
});

describe('who could not join', () => {
  test('is in the room no more: its first wish could not be', async () => {
    const hub = new MemoryHub();
    const a = await open(hub, 0);
    await expect(open(hub, 1, { ...wanted(2), check: () => 'not here' })).rejects.toThrow('not here');
    await a.events.members(2);
    await expect.poll(() => a.session.members.length).toBe(1);
  });

  test('is in the room no more: its carrier failed', async () => {
    const hub = new MemoryHub();
    const a = await open(hub, 0);
    const carrier = {
      ...hub.carrier(),
      watch: () => {
        throw new Error('no locks');
      },
    };
    await expect(open(hub, 1, { carrier })).rejects.toThrow('no locks');
    await a.events.members(2);
    await expect.poll(() => a.session.members.length).toBe(1);
  });
});
