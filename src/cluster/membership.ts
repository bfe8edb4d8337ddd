// Who decides, who takes part: a pure state machine (state, event) -> (state, actions) over the roster. The coordinator is the oldest trainer; it alone
// offers views. A view takes the oldest `worldSize` trainers, and a member's rank is its place by age. The same roster gives the same answer on every tab;
// while rosters differ for a moment, an offer counts only when it comes from the member that the receiver, too, takes for the coordinator.
// Refusals: of two members with one id the newer wins and the older closes itself; the oldest member's protocol version is the room's, others are not counted.
// No clock, no I/O: the session carries the actions out.

import { InternalError, RoomError } from '../base/errors.ts';
import type { Proposal, View } from './messages.ts';
import { byAge } from './presence.ts';
import type { Presence } from './presence.ts';

export interface Membership {
  readonly me: string;
  /** The members that count, oldest first: no duplicates, one protocol version. */
  readonly members: readonly Presence[];
  /** What we would train if we were the coordinator; kept until a view of it has started. */
  readonly proposal: Proposal | undefined;
  readonly current: { readonly view: View; readonly from: string; readonly phase: 'forming' | 'started' } | undefined;
  /** An offer from somebody who is not the coordinator in our eyes yet, or with a member whose presence has not arrived. */
  readonly early: { readonly view: View; readonly from: string } | undefined;
  /** The highest view number seen. */
  readonly highest: number;
  /** Members seen and not counted, by address, with the reason. */
  readonly refused: ReadonlyMap<string, string>;
  readonly closed: boolean;
}

export type MembershipEvent =
  | { readonly type: 'roster'; readonly present: readonly Presence[] }
  | { readonly type: 'proposed'; readonly proposal: Proposal }
  | { readonly type: 'offered'; readonly from: string; readonly view: View }
  /** A member refused our offer `refused`, because it has seen the view `view`. */
  | { readonly type: 'outdated'; readonly refused: number; readonly view: number }
  | { readonly type: 'started'; readonly view: number }
  /** `again`: worth another try with those who are left. */
  | { readonly type: 'ended'; readonly view: number; readonly again: boolean };

export type MembershipAction =
  | { readonly type: 'close'; readonly error: RoomError }
  | { readonly type: 'roster' }
  | { readonly type: 'refused'; readonly who: Presence; readonly reason: string }
  /** Send this view to its members (ourselves excepted), and form it ourselves. */
  | { readonly type: 'offer'; readonly view: View }
  | { readonly type: 'form'; readonly view: View; readonly from: string }
  | { readonly type: 'tell-outdated'; readonly to: string; readonly refused: number; readonly view: number }
  | { readonly type: 'lost'; readonly rank: number; readonly member: Presence };

export interface Step { readonly state: Membership; readonly actions: readonly MembershipAction[] }

export function newMembership(me: string, proposal?: Proposal): Membership {
  return { me, members: [], proposal, current: undefined, early: undefined, highest: 0, refused: new Map(), closed: false };
}

/** The oldest trainer, or undefined when there is none. */
export function coordinatorOf(members: readonly Presence[]): Presence | undefined {
  return members.filter((member) => member.role === 'trainer').sort(byAge)[0];
}

/** The addresses of ranks 0 .. worldSize - 1: the oldest trainers by age. undefined while there are too few. */
export function assignRanks(members: readonly Presence[], worldSize: number): readonly string[] | undefined {
  const trainers = members.filter((member) => member.role === 'trainer').sort(byAge);
  return trainers.length < worldSize ? undefined : trainers.slice(0, worldSize).map((member) => member.address);
}

/** The members that count, and why the others do not. Depends on the set alone, never on its order. */
export function sift(present: readonly Presence[]): { members: readonly Presence[]; refused: ReadonlyMap<string, string> } {
  const refused = new Map<string, string>();
  const newest = new Map<string, Presence>();
  for (const presence of [...present].sort(byAge)) newest.set(presence.id, presence);
  const unique = present.filter((presence) => {
    if (newest.get(presence.id) === presence) return true;
    refused.set(presence.address, 'a newer tab has the same identity');
    return false;
  }).sort(byAge);
  const version = unique[0]?.protocolVersion;
  const members = unique.filter((presence) => {
    if (presence.protocolVersion === version) return true;
    refused.set(presence.address, `it speaks protocol ${presence.protocolVersion}, the room speaks ${version}`);
    return false;
  });
  return { members, refused };
}

export function stepMembership(state: Membership, event: MembershipEvent): Step {
  if (state.closed) return { state, actions: [] };
  switch (event.type) {
    case 'roster': return onRoster(state, event.present);
    case 'proposed': return settle({ ...state, proposal: event.proposal }, [], true);
    case 'offered': return onOffer(state, event.from, event.view);
    case 'outdated': {
      const { current } = state;
      if (current?.from !== state.me || current.phase !== 'forming' || current.view.view !== event.refused || event.view < state.highest) return { state, actions: [] };
      return settle({ ...state, highest: event.view, current: undefined, proposal: state.proposal ?? proposalOf(current.view) }, [], false);
    }
    case 'started': {
      const { current, proposal } = state;
      if (current?.view.view !== event.view) return { state, actions: [] };
      // A proposal made while this view was forming is newer than the view, and still waits.
      const waits = proposal && proposal.run !== current.view.run ? proposal : undefined;
      return settle({ ...state, current: { ...current, phase: 'started' }, proposal: waits }, [], false);
    }
    case 'ended': {
      const { current, proposal } = state;
      if (current?.view.view !== event.view) return { state, actions: [] };
      const newer = proposal && proposal.run !== current.view.run ? proposal : undefined;
      return settle({ ...state, current: undefined, proposal: newer ?? (event.again ? proposalOf(current.view) : undefined) }, [], false);
    }
  }
}

function onRoster(state: Membership, present: readonly Presence[]): Step {
  const mine = present.find((presence) => presence.address === state.me);
  if (!mine) throw new InternalError(`the roster of ${present.length} lacks its own member ${state.me}`);
  const { members, refused } = sift(present);
  if (refused.has(state.me)) return { state: { ...state, members: [], closed: true }, actions: [{ type: 'close', error: expelled(mine, present) }] };

  const actions: MembershipAction[] = [{ type: 'roster' }];
  for (const [address, reason] of refused) {
    if (!state.refused.has(address)) actions.push({ type: 'refused', who: present.find((presence) => presence.address === address)!, reason });
  }
  const next: Membership = { ...state, members, refused };
  const here = new Set(members.map((member) => member.address));
  state.current?.view.members.forEach((address, rank) => {
    const member = state.members.find((known) => known.address === address);
    if (member && !here.has(address)) actions.push({ type: 'lost', rank, member });
  });
  return settle(next, actions, false);
}

function onOffer(state: Membership, from: string, view: View): Step {
  if (!view.members.includes(state.me)) return { state, actions: [] };
  const { current } = state;
  if (current && current.from === from && current.view.view === view.view && current.view.run === view.run) return { state, actions: [] };
  if (view.view <= state.highest) return { state, actions: [{ type: 'tell-outdated', to: from, refused: view.view, view: state.highest }] };
  return settle({ ...state, early: { view, from } }, [], false);
}

/** Draws the conclusions that the state allows: take an offer whose sender has become the coordinator, or, as the coordinator, offer a view. */
function settle(state: Membership, actions: readonly MembershipAction[], replace: boolean): Step {
  const coordinator = coordinatorOf(state.members)?.address;
  const { early } = state;
  if (early && early.from === coordinator) {
    if (early.view.view <= state.highest) {
      return settle({ ...state, early: undefined }, [...actions, { type: 'tell-outdated', to: early.from, refused: early.view.view, view: state.highest }], replace);
    }
    const here = new Set(state.members.map((member) => member.address));
    // Signals may overtake presences. If one never comes, the deadlines of the coordinator end the wait.
    if (!early.view.members.every((address) => here.has(address))) return { state, actions };
    const taken: Membership = { ...state, early: undefined, highest: early.view.view, current: { view: early.view, from: early.from, phase: 'forming' } };
    return { state: taken, actions: [...actions, { type: 'form', view: early.view, from: early.from }] };
  }
  const { proposal } = state;
  if (coordinator !== state.me || !proposal || (state.current?.phase === 'forming' && !replace)) return { state, actions };
  const members = assignRanks(state.members, proposal.worldSize);
  if (!members) return { state, actions };
  const view: View = { view: state.highest + 1, run: proposal.run, members, plan: proposal.plan };
  const offered: Membership = { ...state, highest: view.view, current: { view, from: state.me, phase: 'forming' } };
  return { state: offered, actions: [...actions, { type: 'offer', view }, { type: 'form', view, from: state.me }] };
}

function proposalOf(view: View): Proposal {
  return { worldSize: view.members.length, plan: view.plan, run: view.run };
}

function expelled(mine: Presence, present: readonly Presence[]): RoomError {
  const newer = present.some((presence) => presence.id === mine.id && byAge(mine, presence) < 0);
  if (newer) return new RoomError('duplicate', `another tab joined with the identity of this one ('${mine.name}'), and the newer tab stays; go on there, or reload this tab to take over`);
  const oldest = [...present].sort(byAge)[0]!;
  return new RoomError('version', `this page speaks protocol ${mine.protocolVersion}, the room (since '${oldest.name}') speaks ${oldest.protocolVersion}; reload both pages from the same address`);
}
