// Who decides, who takes part: a pure state machine (state, event) -> (state, actions) over the roster. The coordinator
// is the oldest trainer; it alone offers views. A view takes the oldest `worldSize` trainers, and a member's rank is
// its place by age; those who have trained the run before keep the rank that they had, because they still have what
// that rank needs. The same roster gives the same answer on every tab; while rosters differ for a moment, an offer
// counts only when it comes from the member that the receiver, too, takes for the coordinator. A run belongs to the
// room until it ends: while any member says that it is at work, nobody offers another run, and a member in a started
// run refuses every offer, whoever the coordinator is. Wishes stand in the presences of those who have them, so a wish
// dies with its member and a new coordinator knows them all; one that was granted, or cannot be, is settled and never
// taken up again. Of several, the oldest member's that can be formed is taken. Refusals: of two members with one id the
// newer wins and the older closes itself; members of another protocol version are listed and not counted. No clock, no
// I/O: the session carries the actions out.

import { InternalError, RoomError } from '../base/errors.ts';
import type { View } from './messages.ts';
import { byAge } from './presence.ts';
import type { Presence, Proposal } from './presence.ts';

export interface Membership {
  readonly me: string;
  /** The members that count, oldest first: no duplicates, our protocol version. */
  readonly members: readonly Presence[];
  readonly current: { readonly view: View; readonly from: string; readonly phase: 'forming' | 'started' } | undefined;
  /**
   * An offer from somebody who is not the coordinator in our eyes yet, or with a member whose presence has not arrived.
   */
  readonly early: { readonly view: View; readonly from: string } | undefined;
  /** The highest view number seen. */
  readonly highest: number;
  /** Wishes that began or that cannot be, the latest last. */
  readonly settled: readonly number[];
  /**
   * A member of our last offer is at work and its presence is still on its way: no offer before the roster has changed.
   */
  readonly waits: boolean;
  /** Members seen and not counted, by address, with the reason. */
  readonly refused: ReadonlyMap<string, string>;
  readonly closed: boolean;
}

export type MembershipEvent =
  | { readonly type: 'roster'; readonly present: readonly Presence[] }
  | { readonly type: 'offered'; readonly from: string; readonly view: View }
  /** A member refused our offer `refused`, because it has seen the view `view`. */
  | { readonly type: 'outdated'; readonly refused: number; readonly view: number }
  /** A member refused our offer `refused`, because it is at work. */
  | { readonly type: 'busy'; readonly refused: number }
  | { readonly type: 'started'; readonly view: number }
  /** Forming a view is over without a start. `again`: worth another try with those who are left. */
  | { readonly type: 'ended'; readonly view: number; readonly again: boolean }
  /** Our part in a started run is over, however it ended. */
  | { readonly type: 'finished'; readonly view: number };

export type MembershipAction =
  | { readonly type: 'close'; readonly error: RoomError }
  | { readonly type: 'roster' }
  | { readonly type: 'refused'; readonly who: Presence; readonly reason: string }
  /** Send this view to its members (ourselves excepted), and form it ourselves. */
  | { readonly type: 'offer'; readonly view: View }
  | { readonly type: 'form'; readonly view: View; readonly from: string }
  /** End our own forming of this view: it is not ours to form, or a member is at work. */
  | { readonly type: 'give-up'; readonly view: number; readonly reason: string }
  | { readonly type: 'tell-outdated'; readonly to: string; readonly refused: number; readonly view: number }
  | { readonly type: 'tell-busy'; readonly to: string; readonly refused: number }
  | { readonly type: 'lost'; readonly rank: number; readonly member: Presence };

/** What an event leads to: the next state, and what is to be done. */
export interface Transition {
  readonly state: Membership;
  readonly actions: readonly MembershipAction[];
}

/** A wish is told once more only by a broken page; so many are remembered. */
const MAX_SETTLED = 256;

export function newMembership(me: string): Membership {
  return {
    me,
    members: [],
    current: undefined,
    early: undefined,
    highest: 0,
    settled: [],
    waits: false,
    refused: new Map(),
    closed: false,
  };
}

/** The oldest trainer, or undefined when there is none. */
export function coordinatorOf(members: readonly Presence[]): Presence | undefined {
  return members.filter((member) => member.role === 'trainer').sort(byAge)[0];
}

/**
 * The addresses of ranks 0 .. worldSize - 1: the oldest trainers by age, of whom the youngest makes way for `wisher`, a
 * trainer who wants the run and may be the only one that has its files. The oldest trainer, who forms the view, always
 * takes part. Of those who had a rank of the run `run`, the oldest of each keeps it. undefined while there are too few.
 */
export function assignRanks(
  members: readonly Presence[],
  worldSize: number,
  { wisher, run }: { readonly wisher?: string | undefined; readonly run?: number } = {},
): readonly string[] | undefined {
  const trainers = members.filter((member) => member.role === 'trainer').sort(byAge);
  if (trainers.length < worldSize) return undefined;
  const ranks = trainers.slice(0, worldSize).map((member) => member.address);
  if (worldSize > 1 && trainers.slice(worldSize).some(({ address }) => address === wisher))
    ranks[worldSize - 1] = wisher!;
  return run === undefined ? ranks : asBefore(ranks, members, run);
}

/** The same members; the places of those who had one of the run are theirs, the others follow in order. */
function asBefore(ranks: readonly string[], members: readonly Presence[], run: number): readonly string[] {
  const places = new Map<number, string>();
  for (const address of ranks) {
    const { ended } = members.find((member) => member.address === address)!;
    if (ended?.run !== run || ended.rank === undefined || ended.rank >= ranks.length) continue;
    if (!places.has(ended.rank)) places.set(ended.rank, address);
  }
  const others = ranks.filter((address) => ![...places.values()].includes(address));
  return ranks.map((_, rank) => places.get(rank) ?? others.shift()!);
}

/** Members that say they form or train, in rank order. Empty: the room is free. */
export function atWork(members: readonly Presence[]): readonly Presence[] {
  return members.filter(({ run }) => run !== undefined).sort((a, b) => a.run!.rank - b.run!.rank || byAge(a, b));
}

/**
 * The members that count for a page of `version`, and why the others do not. Depends on the set alone, never on its
 * order.
 */
export function sift(
  present: readonly Presence[],
  version: number,
): { members: readonly Presence[]; refused: ReadonlyMap<string, string> } {
  const refused = new Map<string, string>();
  const newest = new Map<string, Presence>();
  const spoken = present.filter((presence) => {
    if (presence.protocolVersion === version) return true;
    refused.set(
      presence.address,
      `it speaks protocol ${presence.protocolVersion}, this page speaks ${version}; reload both from the same address`,
    );
    return false;
  });
  for (const presence of [...spoken].sort(byAge)) newest.set(presence.id, presence);
  const members = spoken
    .filter((presence) => {
      if (newest.get(presence.id) === presence) return true;
      refused.set(presence.address, 'a newer tab has the same identity');
      return false;
    })
    .sort(byAge);
  return { members, refused };
}

export function stepMembership(state: Membership, event: MembershipEvent): Transition {
  if (state.closed) return { state, actions: [] };
  const { current } = state;
  switch (event.type) {
    case 'roster':
      return onRoster(state, event.present);
    case 'offered':
      return onOffer(state, event.from, event.view);
    case 'outdated': {
      if (!isOurs(state, event.refused) || event.view < state.highest) return { state, actions: [] };
      return settle({ ...state, highest: event.view, current: undefined }, []);
    }
    case 'busy': {
      if (!isOurs(state, event.refused)) return { state, actions: [] };
      return {
        state: { ...state, waits: true },
        actions: [{ type: 'give-up', view: event.refused, reason: 'a tab of the group is in a run' }],
      };
    }
    case 'started': {
      if (current?.view.view !== event.view) return { state, actions: [] };
      return settle(
        { ...state, current: { ...current, phase: 'started' }, settled: settling(state.settled, [current.view.wish]) },
        [],
      );
    }
    case 'ended': {
      if (current?.view.view !== event.view) return { state, actions: [] };
      return settle(
        {
          ...state,
          current: undefined,
          settled: event.again ? state.settled : settling(state.settled, [current.view.wish]),
        },
        [],
      );
    }
    case 'finished':
      return current?.view.view === event.view ? settle({ ...state, current: undefined }, []) : { state, actions: [] };
  }
}

function isOurs({ current, me }: Membership, view: number): boolean {
  return current?.from === me && current.phase === 'forming' && current.view.view === view;
}

function onRoster(state: Membership, present: readonly Presence[]): Transition {
  const mine = present.find((presence) => presence.address === state.me);
  if (!mine) throw new InternalError(`the roster of ${present.length} lacks its own member ${state.me}`);
  const { members, refused } = sift(present, mine.protocolVersion);
  if (refused.has(state.me))
    return { state: { ...state, members: [], closed: true }, actions: [{ type: 'close', error: expelled(mine) }] };

  const actions: MembershipAction[] = [{ type: 'roster' }];
  for (const [address, reason] of refused) {
    if (!state.refused.has(address))
      actions.push({ type: 'refused', who: present.find((presence) => presence.address === address)!, reason });
  }
  const begun = members.flatMap(({ run, ended }) => [
    ...(run?.phase === 'training' ? [run.wish] : []),
    ...(ended ? [ended.wish] : []),
  ]);
  const next: Membership = { ...state, members, refused, waits: false, settled: settling(state.settled, begun) };
  const here = new Set(members.map((member) => member.address));
  state.current?.view.members.forEach((address, rank) => {
    const member = state.members.find((known) => known.address === address);
    if (member && !here.has(address)) actions.push({ type: 'lost', rank, member });
  });
  return settle(next, actions);
}

function onOffer(state: Membership, from: string, view: View): Transition {
  if (!view.members.includes(state.me)) return { state, actions: [] };
  const { current } = state;
  if (current && current.from === from && current.view.view === view.view && current.view.run === view.run)
    return { state, actions: [] };
  if (view.view <= state.highest)
    return { state, actions: [{ type: 'tell-outdated', to: from, refused: view.view, view: state.highest }] };
  return settle({ ...state, early: { view, from } }, []);
}

/**
 * Draws the conclusions that the state allows: take an offer whose sender has become the coordinator, or, as the
 * coordinator, offer a view.
 */
function settle(state: Membership, actions: readonly MembershipAction[]): Transition {
  const coordinator = coordinatorOf(state.members)?.address;
  const { early, current, me } = state;
  if (early && early.from === coordinator) {
    if (current?.phase === 'started')
      return settle({ ...state, early: undefined }, [
        ...actions,
        { type: 'tell-busy', to: early.from, refused: early.view.view },
      ]);
    if (early.view.view <= state.highest) {
      return settle({ ...state, early: undefined }, [
        ...actions,
        { type: 'tell-outdated', to: early.from, refused: early.view.view, view: state.highest },
      ]);
    }
    const here = new Set(state.members.map((member) => member.address));
    // Signals may overtake presences. If one never comes, the deadlines of the coordinator end the wait.
    if (!early.view.members.every((address) => here.has(address))) return { state, actions };
    const taken: Membership = {
      ...state,
      early: undefined,
      highest: early.view.view,
      current: { view: early.view, from: early.from, phase: 'forming' },
    };
    return { state: taken, actions: [...actions, { type: 'form', view: early.view, from: early.from }] };
  }
  if (current?.phase === 'forming' && current.from === me && coordinator !== me) {
    // Two tabs that came at the same moment did not see each other: the older one forms the group.
    return {
      state,
      actions: [...actions, { type: 'give-up', view: current.view.view, reason: 'an older tab forms the group' }],
    };
  }
  if (coordinator !== me || current || state.waits || atWork(state.members).some(({ address }) => address !== me))
    return { state, actions };
  const proposal = grantable(state);
  const members =
    proposal &&
    assignRanks(state.members, proposal.worldSize, {
      wisher: state.members.find(({ wants }) => wants?.wish === proposal.wish)?.address,
      run: proposal.run,
    });
  if (!proposal || !members) return { state, actions };
  const view: View = { view: state.highest + 1, run: proposal.run, wish: proposal.wish, members, plan: proposal.plan };
  const offered: Membership = { ...state, highest: view.view, current: { view, from: me, phase: 'forming' } };
  return { state: offered, actions: [...actions, { type: 'offer', view }, { type: 'form', view, from: me }] };
}

/** The wish that the next view is for, if the room were free. */
export function grantable({ members, settled }: Pick<Membership, 'members' | 'settled'>): Proposal | undefined {
  return members
    .flatMap(({ wants }) => wants ?? [])
    .find((wish) => !settled.includes(wish.wish) && assignRanks(members, wish.worldSize));
}

function settling(settled: readonly number[], wishes: readonly number[]): readonly number[] {
  const fresh = wishes.filter((wish, i) => !settled.includes(wish) && wishes.indexOf(wish) === i);
  return fresh.length === 0 ? settled : [...settled, ...fresh].slice(-MAX_SETTLED);
}

function expelled(mine: Presence): RoomError {
  return new RoomError(
    'duplicate',
    `another tab joined with the identity of this one ('${mine.name}'), and the newer tab stays; go on there, or reload this tab to take over`,
  );
}
