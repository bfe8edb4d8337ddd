// Which links were made by this person in this browser. A link may come from anybody, so what it says about beginning by itself counts only with a token that this
// browser keeps: `Add a tab` leaves one here, and the tab that it opens finds it. Whoever writes a link cannot read or write what a browser keeps for this site.

import type { World } from '../../base/world.ts';
import { randomHex } from '../../base/world.ts';

/** What of Storage is used. A browser that keeps nothing for this site throws already when it is asked for. */
export type Kept = () => Pick<Storage, 'getItem' | 'setItem'>;

const PLACE = 'tabmesh.own-tabs';
const TOKEN_BYTES = 16;
/** A tab that was added is reloaded and comes back without a question for so long. */
const GOOD_FOR_MS = 24 * 3600_000;
const MOST = 32;

type Tokens = Readonly<Record<string, number>>;

/** A new token of 128 random bits, for a link that a tab of this browser opens by itself. */
export function vouch(world: Pick<World, 'randomBytes'>, kept: Kept, nowMs: number): string {
  const token = randomHex(world, TOKEN_BYTES);
  const others = Object.entries(tokensOf(kept, nowMs)).sort(([, a], [, b]) => b - a).slice(0, MOST - 1);
  try {
    kept().setItem(PLACE, JSON.stringify(Object.fromEntries([[token, nowMs + GOOD_FOR_MS], ...others])));
  } catch {
    // This browser keeps nothing: the new tab asks before it begins.
  }
  return token;
}

export function isVouched(token: string | undefined, kept: Kept, nowMs: number): boolean {
  return token !== undefined && Object.hasOwn(tokensOf(kept, nowMs), token);
}

/** Those that are still good. */
function tokensOf(kept: Kept, nowMs: number): Tokens {
  try {
    const known = JSON.parse(kept().getItem(PLACE) ?? '{}') as Readonly<Record<string, unknown>>;
    const good = ([token, until]: [string, unknown]): boolean => /^[0-9a-f]{32}$/.test(token) && typeof until === 'number' && until > nowMs;
    return Object.fromEntries(Object.entries(known).filter(good)) as Tokens;
  } catch {
    return {};
  }
}
