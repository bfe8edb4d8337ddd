// Which links were made by this person in this browser. A link may come from anybody, so what it says about beginning
// by itself counts only with a token that this browser keeps: `Add a tab` leaves one here, and the tab that it opens
// finds it. Whoever writes a link cannot read or write what a browser keeps for this site. The token stands in the
// address of that tab, which people copy and give away: so it speaks for this one link, and no other link with it
// begins.

import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import type { World } from '../../../base/world.ts';
import { randomHex } from '../../../base/world.ts';
import type { Kept } from '../../shared/kept.ts';
import { roomLink } from '../fragment.ts';
import type { PageSettings, RoomAddress } from '../fragment.ts';

const PLACE = 'tabmesh.own-tabs';
const TOKEN_BYTES = 16;
/** A tab that was added is reloaded and comes back without a question for so long. */
const GOOD_FOR_MS = 24 * 3600_000;
const MOST = 32;

/** What is kept of a token: until when it is good, and the hash of its link. */
interface Vouched {
  readonly until: number;
  readonly link: string;
}
type Tokens = Readonly<Record<string, Vouched>>;
/** What a link into a room says beside the room. */
type LinkSettings = Pick<PageSettings, 'backend' | 'ice' | 'lane'>;

/** A new token of 128 random bits, for the link that takes a tab of this browser into `room` by itself. */
export function vouch(
  world: Pick<World, 'randomBytes'>,
  kept: Kept,
  nowMs: number,
  room: RoomAddress,
  settings: LinkSettings,
): string {
  const token = randomHex(world, TOKEN_BYTES);
  const others = Object.entries(tokensOf(kept, nowMs))
    .sort(([, a], [, b]) => b.until - a.until)
    .slice(0, MOST - 1);
  const vouched: Vouched = { until: nowMs + GOOD_FOR_MS, link: hashOfLink(room, settings) };
  try {
    kept().setItem(PLACE, JSON.stringify(Object.fromEntries([[token, vouched], ...others])));
  } catch {
    // This browser keeps nothing: the new tab asks before it begins.
  }
  return token;
}

/** Whether the link of these settings is one that this browser made. It never made one that sends or proposes. */
export function isVouched(settings: PageSettings, kept: Kept, nowMs: number): boolean {
  const { own, room, job, upload } = settings;
  if (own === undefined || room === undefined || job !== undefined || upload !== undefined) return false;
  const tokens = tokensOf(kept, nowMs);
  return Object.hasOwn(tokens, own) && tokens[own]!.link === hashOfLink(room, settings);
}

/** 128 bits. Not the link itself, which has the room's key: what a browser keeps outlives the tab. */
function hashOfLink(room: RoomAddress, settings: LinkSettings): string {
  return bytesToHex(sha256(new TextEncoder().encode(roomLink('', room, settings, 'own')))).slice(0, 32);
}

/** Those that are still good. */
function tokensOf(kept: Kept, nowMs: number): Tokens {
  try {
    const known = JSON.parse(kept().getItem(PLACE) ?? '{}') as Readonly<Record<string, unknown>>;
    const good = ([token, value]: [string, unknown]): boolean => {
      const { until, link } = (value ?? {}) as Partial<Vouched>;
      return /^[0-9a-f]{32}$/.test(token) && typeof until === 'number' && until > nowMs && typeof link === 'string';
    };
    return Object.fromEntries(Object.entries(known).filter(good)) as Tokens;
  } catch {
    return {};
  }
}
