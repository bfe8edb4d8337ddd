// What the members of a room would like to train, as far as this page can train it: reads the wishes in the roster,
// asks once whether each can be done, and takes out those that cannot, with a reason for the one who wished. A wish of
// a stranger to our rules never forms a view, and so never ends a run or a page.

import { RoomError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import { atWork } from '../membership.ts';
import type { View } from '../messages.ts';
import { encodePresence, MAX_WORLD_SIZE } from '../presence.ts';
import type { Presence, Proposal } from '../presence.ts';
import type { Wanted } from './session-types.ts';

/** Why a wish cannot be trained, for people; undefined when it can. Must not throw. */
export type CheckWish = (wish: Pick<Proposal, 'worldSize' | 'plan'>, by: Presence) => string | undefined;

export interface Objection {
  readonly wish: number;
  readonly by: Presence;
  readonly reason: string;
}

/** Wishes that are judged once; a member who changes its wish more often is asked again. */
const MAX_JUDGED = 256;

/**
 * A wish must fit into a sealed presence, with a name, an adapter, a run at work, the law of the room and the answers
 * to all.
 */
const MAX_WISH_BYTES = 11 * 1024;

/** A wish with a number of its own. Throws RoomError for a world that no room can have. */
export function proposalOf({ worldSize, plan, run }: Wanted, world: Pick<World, 'randomBytes'>): Proposal {
  if (!Number.isInteger(worldSize) || worldSize < 1 || worldSize > MAX_WORLD_SIZE) {
    throw new RoomError('unreachable', `expected a world of 1 to ${MAX_WORLD_SIZE} ranks, got ${worldSize}`);
  }
  const number = (): number => new Uint32Array(world.randomBytes(4).buffer)[0]!;
  return { wish: number(), run: run ?? number(), worldSize, plan };
}

/** Throws RoomError when the presence of `me` would be too large with this wish. */
export function checkSize(wish: Proposal, { law: _, ...me }: Presence): void {
  const size = encodePresence({ ...me, wants: wish }).byteLength;
  if (size > MAX_WISH_BYTES)
    throw new RoomError('job', `the job has ${size} bytes, expected at most ${MAX_WISH_BYTES}; shorten it`);
}

export class Wishes {
  readonly #check: CheckWish;
  readonly #judged = new Map<string, string | undefined>();
  readonly #told = new Set<string>();

  constructor(check: CheckWish) {
    this.#check = check;
  }

  /** The roster without the wishes that cannot be. */
  sift(roster: readonly Presence[]): readonly Presence[] {
    return roster.map((member) => {
      if (!member.wants || this.#objection(member, member.wants) === undefined) return member;
      const { wants: _, ...rest } = member;
      return rest;
    });
  }

  /** Objections that nobody has been told yet. */
  news(roster: readonly Presence[]): readonly Objection[] {
    return roster.flatMap((by) => {
      const reason = by.wants && this.#objection(by, by.wants);
      if (reason === undefined || this.#told.has(keyOf(by, by.wants!))) return [];
      this.#told.add(keyOf(by, by.wants!));
      return [{ wish: by.wants!.wish, by, reason }];
    });
  }

  /**
   * Why an offer of the member at `from` is not to be taken. `open`: everybody may wish, so its wish need not be known.
   */
  refusal(from: string, view: View, members: readonly Presence[], open: boolean): string | undefined {
    const {
      wish,
      run,
      plan,
      members: { length },
    } = view;
    const by = members.find(({ address }) => address === from);
    if (open) return by && this.#check({ worldSize: length, plan }, by);
    // The number alone says nothing, anybody may announce another's. The wishes of members are judged.
    const offered = JSON.stringify([wish, run, length, plan]);
    const known = members
      .flatMap(({ wants }) => wants ?? [])
      .map((its) => [its.wish, its.run, its.worldSize, its.plan]);
    return known.some((its) => JSON.stringify(its) === offered) ? undefined : 'it is not what was asked for';
  }

  /** What may be wished for has changed. */
  forget(): void {
    this.#judged.clear();
    this.#told.clear();
  }

  #objection(by: Presence, wish: Proposal): string | undefined {
    const key = keyOf(by, wish);
    if (!this.#judged.has(key)) {
      if (this.#judged.size >= MAX_JUDGED) {
        this.#judged.clear();
        this.#told.clear();
      }
      this.#judged.set(key, this.#check(wish, by));
    }
    return this.#judged.get(key);
  }
}

/** The job is part of it: a member could say another under the same number. */
function keyOf({ address }: Presence, wish: Proposal): string {
  return `${address} ${JSON.stringify(wish)}`;
}

/** Whether one of these members has the wish of this number. */
export function isWished({ wish }: Pick<View, 'wish'>, members: readonly Presence[]): boolean {
  return members.some(({ wants }) => wants?.wish === wish);
}

/** For what a wish of so many ranks waits, for people; undefined: for nothing. */
export function waitingText(members: readonly Presence[], worldSize: number): string | undefined {
  const working = atWork(members);
  if (working.length > 0) {
    const names = working.map(({ name }) => `'${name}'`).join(', ');
    return `this room is at work (${names}); your run waits until theirs ends, which each of them may stop`;
  }
  const here = members.filter((member) => member.role === 'trainer').length;
  if (here >= worldSize) return undefined;
  return `${here} of ${worldSize} tabs are here; open ${worldSize - here} more with this room's link`;
}
