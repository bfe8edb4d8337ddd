import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import {
  assignRanks,
  atWork,
  coordinatorOf,
  newMembership,
  sift,
  stepMembership,
} from '../../src/cluster/membership.ts';
import type { Membership, MembershipAction, MembershipEvent } from '../../src/cluster/membership.ts';
import type { View } from '../../src/cluster/messages.ts';
import { nextOrder, PROTOCOL_VERSION } from '../../src/cluster/presence.ts';
import type { AtWork, Presence, Proposal } from '../../src/cluster/presence.ts';
import { presence } from './support.ts';

const rosters = fc
  .uniqueArray(
    fc.record({
      n: fc.nat(200),
      order: fc.integer({ min: 1, max: 5 }),
      id: fc.nat(12),
      version: fc.constantFrom(1, 1, 1, 2),
      observer: fc.boolean(),
    }),
    { selector: ({ n }) => n, minLength: 1, maxLength: 12 },
  )
  .map((list) =>
    list.map(({ n, order, id, version, observer }) =>
      presence(n, { order, id: `tab-${id}`, protocolVersion: version, role: observer ? 'observer' : 'trainer' }),
    ),
  );
const shuffled = rosters.chain((roster) =>
  fc.tuple(fc.constant(roster), fc.shuffledSubarray(roster, { minLength: roster.length })),
);

describe('the same roster gives the same answer, in whatever order it came', () => {
  const agrees = (choose: (members: readonly Presence[]) => unknown): void =>
    fc.assert(
      fc.property(shuffled, ([one, two]) => {
        expect(choose(one)).toEqual(choose(two));
      }),
    );

  test('members, refusals, coordinator and ranks', () => {
    agrees((roster) => {
      const { members, refused } = sift(roster, 1);
      return {
        members,
        refused: [...refused].sort(),
        coordinator: coordinatorOf(members),
        ranks: assignRanks(members, 3),
      };
    });
  });

  test('the check sees a rule that depends on the order of arrival', () => {
    expect(() => agrees((roster) => roster.find((member) => member.role === 'trainer'))).toThrow(/Property failed/);
  });
});

test('whoever had a rank of the run keeps it, the others take what is free, by age', () => {
  const had = (rank: number, run = 7): Partial<Presence> => ({ ended: { run, wish: 1, step: 3, how: 'failed', rank } });
  const roster = [
    presence(1, { order: 1 }),
    presence(2, { order: 2, ...had(0) }),
    presence(3, { order: 3, ...had(2, 8) }),
    presence(4, { order: 4, ...had(2) }),
    // Each claims what another has, or what does not exist.
    presence(5, { order: 5, ...had(0) }),
    presence(6, { order: 6, ...had(9) }),
  ];
  const order = (run?: number): readonly number[] =>
    assignRanks(roster, 6, run === undefined ? {} : { run })!.map(
      (address) => roster.findIndex((member) => member.address === address) + 1,
    );
  expect(order(7)).toEqual([2, 1, 4, 3, 5, 6]);
  expect(order(8)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(order()).toEqual([1, 2, 3, 4, 5, 6]);
  // Who takes part does not depend on it.
  expect(new Set(assignRanks(roster, 3, { run: 7 }))).toEqual(new Set(assignRanks(roster, 3)));
});

test('ranks are the oldest trainers by age, observers never counted', () => {
  const roster = [
    presence(5, { order: 2 }),
    presence(4, { order: 9, role: 'observer' }),
    presence(3, { order: 1 }),
    presence(1, { order: 2 }),
    presence(0, { order: 1, role: 'observer' }),
  ];
  expect(assignRanks(roster, 2)).toEqual([presence(3).address, presence(1).address]);
  expect(assignRanks(roster, 3)).toEqual([presence(3).address, presence(1).address, presence(5).address]);
  expect(assignRanks(roster, 4)).toBeUndefined();
  // Who wants a run takes part in it, and the oldest, who forms the view.
  const wisher = presence(5).address;
  expect(assignRanks(roster, 2, { wisher })).toEqual([presence(3).address, presence(5).address]);
  expect(assignRanks(roster, 1, { wisher })).toEqual([presence(3).address]);
  for (const wisher of [presence(3).address, presence(9).address])
    expect(assignRanks(roster, 2, { wisher })).toEqual(assignRanks(roster, 2));
  expect(coordinatorOf(roster)?.address).toBe(presence(3).address);
  expect(coordinatorOf(roster.filter((member) => member.role === 'observer'))).toBeUndefined();
});

test('a newcomer stands behind everybody it saw', () => {
  expect(nextOrder([])).toBe(1);
  expect(nextOrder([presence(1, { order: 4 }), presence(2, { order: 2 })])).toBe(5);
});

const wish = (number: number, worldSize = 2, plan: unknown = 'p'): Proposal => ({
  wish: number,
  run: number,
  worldSize,
  plan,
});
const working = (view: number, rank: number, phase: AtWork['phase'] = 'training'): AtWork => ({
  run: 90,
  wish: 90,
  view,
  rank,
  size: 2,
  phase,
});
/** Plays events for one member; the actions of the last. */
function play(
  me: Presence,
  ...events: readonly MembershipEvent[]
): { state: Membership; actions: readonly MembershipAction[] } {
  let played: { state: Membership; actions: readonly MembershipAction[] } = {
    state: newMembership(me.address),
    actions: [],
  };
  for (const event of events) played = stepMembership(played.state, event);
  return played;
}
const roster = (...present: readonly Presence[]): MembershipEvent => ({ type: 'roster', present });
const kinds = (actions: readonly MembershipAction[]): string[] => actions.map(({ type }) => type);

test('of two tabs with one identity the newer stays and the older closes itself with the reason', () => {
  const older = presence(1, { id: 'same', order: 1, name: 'Laptop' });
  const newer = presence(2, { id: 'same', order: 2 });
  const other = presence(3, { order: 3 });
  const [closing] = play(older, roster(older, newer, other)).actions;
  expect(closing).toMatchObject({ type: 'close', error: { trouble: 'duplicate' } });
  expect((closing as { error: Error }).error.message).toBe(
    "room: another tab joined with the identity of this one ('Laptop'), and the newer tab stays; go on there, or reload this tab to take over",
  );
  for (const me of [newer, other]) {
    const { actions } = play(me, roster(older, newer, other));
    expect(kinds(actions)).not.toContain('close');
    expect(actions).toContainEqual({ type: 'refused', who: older, reason: 'a newer tab has the same identity' });
  }
});

test('a page of another protocol version is listed by both sides, counted by neither, and closes nobody, however old it claims to be', () => {
  const mine = presence(2, { order: 2, wants: wish(1, 1) });
  const outsider = presence(1, { order: 1, protocolVersion: 99, id: mine.id, run: working(1, 0) });
  const { state, actions } = play(mine, roster(outsider, mine));
  expect(actions).toContainEqual({
    type: 'refused',
    who: outsider,
    reason: `it speaks protocol 99, this page speaks ${PROTOCOL_VERSION}; reload both from the same address`,
  });
  expect(state).toMatchObject({ closed: false, members: [mine] });
  expect(kinds(actions), 'its run and its age do not count').toContain('form');
  expect(play(outsider, roster(outsider, mine)).actions).toContainEqual({
    type: 'refused',
    who: mine,
    reason: `it speaks protocol ${PROTOCOL_VERSION}, this page speaks 99; reload both from the same address`,
  });
});

describe('wishes', () => {
  const [a, b, c] = [presence(1), presence(2), presence(3)];

  test('a view is offered once there are enough trainers, and once only', () => {
    const asks = presence(1, { wants: wish(7) });
    expect(kinds(play(asks, roster(asks)).actions)).toEqual(['roster']);
    const { state, actions } = play(asks, roster(asks), roster(asks, b));
    const view: View = { view: 1, run: 7, wish: 7, members: [a.address, b.address], plan: 'p' };
    expect(actions).toEqual([{ type: 'roster' }, { type: 'offer', view }, { type: 'form', view, from: a.address }]);
    expect(kinds(stepMembership(state, roster(asks, b, c)).actions)).toEqual(['roster']);
  });

  test('of an observer, of anybody: the coordinator reads them in the roster, the oldest that can be formed first', () => {
    const observer = presence(0, { role: 'observer', wants: wish(1, 5) });
    const young = presence(2, { wants: wish(2) });
    expect(play(a, roster(observer, a, young)).actions).toContainEqual(
      expect.objectContaining({
        type: 'form',
        view: expect.objectContaining({ wish: 2, members: [a.address, b.address] }),
      }),
    );
  });

  test('die with the member that had them, and with its change of mind', () => {
    const asks = presence(2, { wants: wish(7, 3) });
    expect(kinds(play(a, roster(a, asks), roster(a), roster(a, b, c)).actions)).toEqual(['roster']);
    expect(kinds(play(a, roster(a, asks), roster(a, b, c, presence(4))).actions)).toEqual(['roster']);
  });

  test('a granted one is never granted again: not after the run, not by a new coordinator, not while its owner still says it', () => {
    const asks = presence(2, { wants: wish(7) });
    const over = play(a, roster(a, asks), { type: 'started', view: 1 }, { type: 'finished', view: 1 });
    expect(kinds(stepMembership(over.state, roster(a, asks, c)).actions)).toEqual(['roster']);
    // B becomes the coordinator and knows from what A said of itself.
    const told = presence(1, { ended: { run: 7, wish: 7, step: 3, how: 'failed' } });
    expect(kinds(play(asks, roster(told, asks, c), roster(asks, c)).actions)).toEqual(['roster']);
  });

  test('one that could not be formed is given up; one that lost a member while forming is formed again', () => {
    const asks = presence(1, { wants: wish(7) });
    const forming = play(asks, roster(asks, b, c)).state;
    expect(kinds(stepMembership(forming, { type: 'ended', view: 1, again: false }).actions)).toEqual([]);
    expect(
      kinds(
        stepMembership(stepMembership(forming, { type: 'ended', view: 1, again: false }).state, roster(asks, b, c))
          .actions,
      ),
    ).toEqual(['roster']);
    expect(kinds(stepMembership(forming, { type: 'ended', view: 1, again: true }).actions)).toEqual(['offer', 'form']);
  });
});

describe('a run belongs to the room until it ends', () => {
  const [a, b, c] = [presence(1), presence(2), presence(3)];
  const asks = presence(3, { wants: wish(7) });

  test('nobody is offered another while one is at work; when it ends the wish is granted', () => {
    const [workA, workB] = [presence(1, { run: working(4, 0) }), presence(2, { run: working(4, 1) })];
    // A newcomer that takes itself for the oldest, an old coordinator that is in no run, one that was never told.
    for (const me of [presence(0, { wants: wish(5, 1) }), presence(0, { order: 0 + 1, role: 'trainer' })]) {
      expect(kinds(play(me, roster(me, workA, workB, asks)).actions)).toEqual(['roster']);
    }
    const me = presence(0);
    expect(
      kinds(play(me, roster(me, workA, workB, asks), roster(me, workA, b, asks)).actions),
      'one of two has ended',
    ).toEqual(['roster']);
    expect(kinds(play(me, roster(me, workA, workB, asks), roster(me, a, b, asks)).actions)).toEqual([
      'roster',
      'offer',
      'form',
    ]);
  });

  test('a run that forms is at work too', () => {
    const [formA, formB] = [
      presence(1, { run: working(4, 0, 'forming') }),
      presence(2, { run: working(4, 1, 'forming') }),
    ];
    const me = presence(0);
    expect(kinds(play(me, roster(me, formA, formB, asks)).actions)).toEqual(['roster']);
  });

  test('joining, leaving and wishing while ours is at work change nothing; the lost one is named', () => {
    const mine = presence(1, { wants: wish(1) });
    const { state } = play(mine, roster(mine, b), { type: 'started', view: 1 });
    for (const change of [
      roster(a, b, c),
      roster(a, b, asks),
      roster(presence(0, { order: 1, wants: wish(9, 1) }), a, b),
    ]) {
      const next = stepMembership(state, change);
      expect(kinds(next.actions)).toEqual(['roster']);
      expect(next.state.current).toEqual(state.current);
    }
    expect(stepMembership(state, roster(a)).actions).toEqual([
      { type: 'roster' },
      { type: 'lost', rank: 1, member: b },
    ]);
  });

  test('a member at work refuses an offer, from the coordinator too; the coordinator waits for its presence', () => {
    const { state } = play(
      b,
      roster(a, b),
      {
        type: 'offered',
        from: a.address,
        view: { view: 1, run: 1, wish: 1, members: [a.address, b.address], plan: null },
      },
      { type: 'started', view: 1 },
    );
    const { actions, state: after } = stepMembership(state, {
      type: 'offered',
      from: a.address,
      view: { view: 2, run: 2, wish: 2, members: [a.address, b.address], plan: null },
    });
    expect(actions).toEqual([{ type: 'tell-busy', to: a.address, refused: 2 }]);
    expect(after.current).toEqual(state.current);

    const mine = presence(1, { wants: wish(7) });
    const told = play(mine, roster(mine, b), { type: 'busy', refused: 1 });
    expect(told.actions).toEqual([{ type: 'give-up', view: 1, reason: 'a tab of the group is in a run' }]);
    const given = stepMembership(told.state, { type: 'ended', view: 1, again: true });
    expect(given.actions, 'no offer before the roster has changed').toEqual([]);
    expect(kinds(stepMembership(given.state, roster(mine, presence(2, { run: working(1, 1) }))).actions)).toEqual([
      'roster',
    ]);
    expect(kinds(stepMembership(given.state, roster(mine, b)).actions)).toEqual(['roster', 'offer', 'form']);
  });

  test('of two that came at the same moment the younger gives up what it forms', () => {
    const young = presence(2, { wants: wish(7, 1) });
    const { state, actions } = play(young, roster(young), roster(a, young));
    expect(actions).toContainEqual({ type: 'give-up', view: 1, reason: 'an older tab forms the group' });
    expect(kinds(stepMembership(state, { type: 'ended', view: 1, again: true }).actions)).toEqual([]);
  });
});

describe('offers', () => {
  const [a, b, c] = [presence(1), presence(2), presence(3)];
  const offer = (view: number, from = a, members = [a, b]): MembershipEvent => ({
    type: 'offered',
    from: from.address,
    view: { view, run: view, wish: view, members: members.map(({ address }) => address), plan: null },
  });

  test('of somebody who is not the coordinator wait until the roster shows that he is', () => {
    const waiting = play(b, roster(b, c), offer(1));
    expect(waiting.actions).toEqual([]);
    const { state, actions } = stepMembership(waiting.state, roster(a, b, c));
    expect(actions).toContainEqual(expect.objectContaining({ type: 'form', from: a.address }));
    // An offer of the young one never counts while the old one is here.
    expect(stepMembership(state, offer(2, c, [c, b])).actions).toEqual([]);
  });

  test('numbered below what was seen are answered with that number', () => {
    expect(play(b, roster(a, b), offer(5), offer(3)).actions).toEqual([
      { type: 'tell-outdated', to: a.address, refused: 3, view: 5 },
    ]);
  });

  test('that were refused are repeated above the number that the member has seen', () => {
    const asks = presence(1, { wants: wish(3) });
    const { state, actions } = play(asks, roster(asks, b), { type: 'outdated', refused: 1, view: 5 });
    expect(actions).toContainEqual({
      type: 'form',
      view: { view: 6, run: 3, wish: 3, members: [a.address, b.address], plan: 'p' },
      from: a.address,
    });
    // Said once more, late, it is about an offer that no longer stands.
    expect(stepMembership(state, { type: 'outdated', refused: 1, view: 5 }).actions).toEqual([]);
  });

  test('with a member whose presence is still on its way wait for it', () => {
    const waiting = play(b, roster(a, b), offer(1, a, [a, b, c]));
    expect(waiting.actions).toEqual([]);
    expect(kinds(stepMembership(waiting.state, roster(a, b, c)).actions)).toContain('form');
  });
});

test('who works is told in rank order', () => {
  const [one, two] = [presence(1, { run: working(4, 1) }), presence(2, { run: working(4, 0) })];
  expect(atWork([presence(0), one, two])).toEqual([two, one]);
});
