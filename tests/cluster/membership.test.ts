import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { assignRanks, coordinatorOf, newMembership, sift, stepMembership } from '../../src/cluster/membership.ts';
import type { Membership, MembershipAction, MembershipEvent } from '../../src/cluster/membership.ts';
import type { View } from '../../src/cluster/messages.ts';
import { nextOrder } from '../../src/cluster/presence.ts';
import type { Presence } from '../../src/cluster/presence.ts';
import { presence } from './support.ts';

const rosters = fc.uniqueArray(fc.record({
  n: fc.nat(200), order: fc.integer({ min: 1, max: 5 }), id: fc.nat(12), version: fc.constantFrom(1, 1, 1, 2), observer: fc.boolean(),
}), { selector: ({ n }) => n, minLength: 1, maxLength: 12 }).map((list) => list.map(({ n, order, id, version, observer }) => (
  presence(n, { order, id: `tab-${id}`, protocolVersion: version, role: observer ? 'observer' : 'trainer' }))));
const shuffled = rosters.chain((roster) => fc.tuple(fc.constant(roster), fc.shuffledSubarray(roster, { minLength: roster.length })));

describe('the same roster gives the same answer, in whatever order it came', () => {
  const agrees = (choose: (members: readonly Presence[]) => unknown): void => fc.assert(fc.property(shuffled, ([one, two]) => {
    expect(choose(one)).toEqual(choose(two));
  }));

  test('members, refusals, coordinator and ranks', () => {
    agrees((roster) => {
      const { members, refused } = sift(roster);
      return { members, refused: [...refused].sort(), coordinator: coordinatorOf(members), ranks: assignRanks(members, 3) };
    });
  });

  test('the check sees a rule that depends on the order of arrival', () => {
    expect(() => agrees((roster) => roster.find((member) => member.role === 'trainer'))).toThrow(/Property failed/);
  });
});

test('ranks are the oldest trainers by age, observers never counted', () => {
  const roster = [presence(5, { order: 2 }), presence(4, { order: 9, role: 'observer' }), presence(3, { order: 1 }), presence(1, { order: 2 }), presence(0, { order: 1, role: 'observer' })];
  expect(assignRanks(roster, 2)).toEqual([presence(3).address, presence(1).address]);
  expect(assignRanks(roster, 3)).toEqual([presence(3).address, presence(1).address, presence(5).address]);
  expect(assignRanks(roster, 4)).toBeUndefined();
  expect(coordinatorOf(roster)?.address).toBe(presence(3).address);
  expect(coordinatorOf(roster.filter((member) => member.role === 'observer'))).toBeUndefined();
});

test('a newcomer stands behind everybody it saw', () => {
  expect(nextOrder([])).toBe(1);
  expect(nextOrder([presence(1, { order: 4 }), presence(2, { order: 2 })])).toBe(5);
});

const started = (me: Presence, present: readonly Presence[]): readonly MembershipAction[] => stepMembership(newMembership(me.address), { type: 'roster', present }).actions;

test('of two tabs with one identity the newer stays and the older closes itself with the reason', () => {
  const older = presence(1, { id: 'same', order: 1, name: 'Laptop' });
  const newer = presence(2, { id: 'same', order: 2 });
  const other = presence(3, { order: 3 });
  const [closing] = started(older, [older, newer, other]);
  expect(closing).toMatchObject({ type: 'close', error: { trouble: 'duplicate' } });
  expect((closing as { error: Error }).error.message).toBe("room: another tab joined with the identity of this one ('Laptop'), and the newer tab stays; go on there, or reload this tab to take over");
  for (const me of [newer, other]) {
    const actions = started(me, [older, newer, other]);
    expect(actions.some((action) => action.type === 'close')).toBe(false);
    expect(actions).toContainEqual({ type: 'refused', who: older, reason: 'a newer tab has the same identity' });
  }
});

test('a page of another protocol version is refused, by itself and by the others', () => {
  const old = presence(1, { order: 1 });
  const visitor = presence(2, { order: 2, protocolVersion: 2 });
  const [closing] = started(visitor, [visitor, old]);
  expect((closing as { error: Error }).error.message).toBe("room: this page speaks protocol 2, the room (since 'Tab 1') speaks 1; reload both pages from the same address");
  expect(started(old, [visitor, old])).toContainEqual({ type: 'refused', who: visitor, reason: 'it speaks protocol 2, the room speaks 1' });
});

test('a view is offered once there are enough trainers, and once only', () => {
  const [a, b, c] = [presence(1), presence(2), presence(3)];
  let { state, actions } = stepMembership(newMembership(a.address, { worldSize: 2, plan: 'p', run: 7 }), { type: 'roster', present: [a] });
  expect(actions.map((action) => action.type)).toEqual(['roster']);
  ({ state, actions } = stepMembership(state, { type: 'roster', present: [b, a] }));
  const view: View = { view: 1, run: 7, members: [a.address, b.address], plan: 'p' };
  expect(actions).toEqual([{ type: 'roster' }, { type: 'offer', view }, { type: 'form', view, from: a.address }]);
  ({ state, actions } = stepMembership(state, { type: 'roster', present: [b, a, c] }));
  expect(actions.map((action) => action.type)).toEqual(['roster']);
  ({ state, actions } = stepMembership(state, { type: 'started', view: 1 }));
  ({ state, actions } = stepMembership(state, { type: 'roster', present: [a, c] }));
  expect(actions).toContainEqual({ type: 'lost', rank: 1, member: b });
  // A run that has started is not regrouped behind the trainer's back; a new proposal does it.
  expect(actions.some((action) => action.type === 'form')).toBe(false);
  ({ state, actions } = stepMembership(state, { type: 'proposed', proposal: { worldSize: 2, plan: 'q', run: 7 } }));
  expect(actions).toContainEqual({ type: 'form', view: { view: 2, run: 7, members: [a.address, c.address], plan: 'q' }, from: a.address });
});

test('an offer of somebody who is not the coordinator waits until the roster shows that he is', () => {
  const [a, b, c] = [presence(1), presence(2), presence(3)];
  const view: View = { view: 1, run: 1, members: [a.address, b.address], plan: null };
  let { state, actions } = stepMembership(newMembership(b.address), { type: 'roster', present: [b, c] });
  ({ state, actions } = stepMembership(state, { type: 'offered', from: a.address, view }));
  expect(actions).toEqual([]);
  ({ state, actions } = stepMembership(state, { type: 'roster', present: [a, b, c] }));
  expect(actions).toContainEqual({ type: 'form', view, from: a.address });
  // An offer of the young one never counts while the old one is here.
  ({ actions } = stepMembership(state, { type: 'offered', from: c.address, view: { ...view, view: 2, members: [c.address, b.address] } }));
  expect(actions).toEqual([]);
});

test('an offer numbered below what was seen is answered with that number', () => {
  const [a, b] = [presence(1), presence(2)];
  let { state } = stepMembership(newMembership(b.address), { type: 'roster', present: [a, b] });
  ({ state } = stepMembership(state, { type: 'offered', from: a.address, view: { view: 5, run: 1, members: [a.address, b.address], plan: null } }));
  const { actions } = stepMembership(state, { type: 'offered', from: a.address, view: { view: 3, run: 2, members: [a.address, b.address], plan: null } });
  expect(actions).toEqual([{ type: 'tell-outdated', to: a.address, refused: 3, view: 5 }]);
});

test('the coordinator repeats a refused offer above the number that its member has seen', () => {
  const [a, b] = [presence(1), presence(2)];
  let { state, actions } = stepMembership(newMembership(a.address, { worldSize: 2, plan: null, run: 3 }), { type: 'roster', present: [a, b] });
  ({ state, actions } = stepMembership(state, { type: 'outdated', refused: 1, view: 5 }));
  expect(actions).toContainEqual({ type: 'form', view: { view: 6, run: 3, members: [a.address, b.address], plan: null }, from: a.address });
  // Said once more, late, it is about an offer that no longer stands.
  expect(stepMembership(state, { type: 'outdated', refused: 1, view: 5 }).actions).toEqual([]);
});

test('an offer with a member whose presence is still on its way waits for it', () => {
  const [a, b, c] = [presence(1), presence(2), presence(3)];
  const view: View = { view: 1, run: 1, members: [a.address, b.address, c.address], plan: null };
  let { state, actions } = stepMembership(newMembership(b.address), { type: 'roster', present: [a, b] });
  ({ state, actions } = stepMembership(state, { type: 'offered', from: a.address, view }));
  expect(actions).toEqual([]);
  ({ state, actions } = stepMembership(state, { type: 'roster', present: [a, b, c] }));
  expect(actions).toContainEqual({ type: 'form', view, from: a.address });
});

/** A room in which everything is delayed: each member sees joins and leaves when the schedule says so, messages overtake each other. */
class Room {
  readonly world: Presence[] = [];
  readonly states = new Map<string, Membership>();
  readonly queue: { to: string; event: MembershipEvent }[] = [];
  readonly #seen = new Map<string, number>();
  readonly #versions: (readonly Presence[])[] = [[]];
  readonly #worldSize: number;
  readonly #deafTo: MembershipEvent['type'] | undefined;

  constructor(worldSize: number, deafTo?: MembershipEvent['type']) { this.#worldSize = worldSize; this.#deafTo = deafTo; }

  join(n: number, lag = 0): void {
    // A newcomer that listened too short has not seen the latest members: orders repeat, and it may take itself for the oldest.
    const seen = Math.max(0, this.#versions.length - 1 - (lag % 5));
    const member = presence(n, { order: nextOrder(this.#versions[seen]!) });
    this.world.push(member);
    this.states.set(member.address, newMembership(member.address, { worldSize: this.#worldSize, plan: n, run: n }));
    this.#versions.push([...this.world]);
    this.see(member.address, seen);
  }

  leave(at: number): void {
    const [member] = this.world.splice(at % this.world.length, 1);
    this.states.delete(member!.address);
    this.#versions.push([...this.world]);
  }

  /** The member learns of the next change, if there is one. */
  catchUp(at: number): void {
    const member = this.world[at % this.world.length]!;
    this.see(member.address, Math.min((this.#seen.get(member.address) ?? 0) + 1, this.#versions.length - 1));
  }

  see(address: string, version: number): void {
    this.#seen.set(address, version);
    const roster = this.#versions[version]!;
    const mine = this.world.find((member) => member.address === address)!;
    this.step(address, { type: 'roster', present: roster.includes(mine) ? roster : [...roster, mine] });
  }

  step(address: string, event: MembershipEvent): void {
    const state = this.states.get(address);
    if (!state || event.type === this.#deafTo) return;
    const next = stepMembership(state, event);
    this.states.set(address, next.state);
    for (const action of next.actions) {
      if (action.type === 'offer') this.offer(address, action.view);
      if (action.type === 'tell-outdated') this.queue.push({ to: action.to, event: { type: 'outdated', refused: action.refused, view: action.view } });
      if (action.type === 'lost' && next.state.current?.phase === 'forming') {
        const { view, from } = next.state.current;
        if (from === address || from === action.member.address) this.step(address, { type: 'ended', view: view.view, again: true });
      }
    }
  }

  offer(from: string, view: View): void {
    for (const to of view.members) if (to !== from) this.queue.push({ to, event: { type: 'offered', from, view } });
  }

  deliver(at: number): void {
    const [message] = this.queue.splice(at % Math.max(1, this.queue.length), 1);
    if (message) this.step(message.to, message.event);
  }

  /** Everything arrives, and coordinators repeat their offers, as they do at each deadline. */
  calm(): void {
    for (let round = 0; round < 30; round++) {
      for (const { address } of this.world) if (this.#seen.get(address) !== this.#versions.length - 1) this.see(address, this.#versions.length - 1);
      while (this.queue.length > 0) this.deliver(0);
      for (const [address, { current }] of this.states) if (current?.from === address && current.phase === 'forming') this.offer(address, current.view);
    }
  }

  check(): void {
    const coordinators = new Set([...this.states.values()].map((state) => coordinatorOf(state.members)?.address));
    expect(coordinators.size, 'coordinators').toBe(1);
    if (this.world.length < this.#worldSize) return;
    const [coordinator] = coordinators;
    const view = this.states.get(coordinator!)!.current?.view;
    expect(view, 'the coordinator forms a view').toBeDefined();
    for (const address of view!.members) {
      expect(this.states.has(address), 'a member that is here').toBe(true);
      expect(this.states.get(address)!.current, 'the view of a member').toMatchObject({ view, from: coordinator });
    }
  }
}

describe('joins, leaves and messages in any order', () => {
  const script = fc.array(fc.tuple(fc.constantFrom('join', 'leave', 'catch-up', 'catch-up', 'catch-up', 'deliver', 'deliver'), fc.nat(1000)), { maxLength: 60 });
  const play = (worldSize: number, steps: readonly (readonly [string, number])[], deafTo?: MembershipEvent['type']): void => {
    const room = new Room(worldSize, deafTo);
    let born = 0;
    room.join(born++);
    for (const [kind, at] of steps) {
      // The numbers go up and down, so that a later member may have the smaller id.
      if (kind === 'join' && room.world.length < 8) room.join(born % 2 ? 100 - born++ : born++, at);
      else if (kind === 'leave' && room.world.length > 1) room.leave(at);
      else if (kind === 'catch-up') room.catchUp(at);
      else room.deliver(at);
    }
    room.calm();
    room.check();
  };

  test('end with one coordinator, and one view on which all its members agree', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 4 }), script, (worldSize, steps) => play(worldSize, steps)), { numRuns: 400 });
  });

  test.each(['offered', 'ended'] as const)('the check sees members that are deaf to `%s`', (deafTo) => {
    expect(() => fc.assert(fc.property(fc.integer({ min: 1, max: 4 }), script, (worldSize, steps) => play(worldSize, steps, deafTo)), { numRuns: 2000 })).toThrow(/Property failed/);
  });
});
