// What the page measures, read from and written to the URL fragment, so that a link repeats a run:
// #tabs=3&sizes=4KiB,1MiB|default|all&only=all-reduce,send,...&peers=1|peerjs,...&transport=ports&rounds=5&tune=1000&frames=1&meet=broker&room=NAME&run=1
// and, for the other tabs: #join=NAME, or #join=NAME&key=KEY where they meet by the broker of the page's server

import { ConfigError } from '../../base/errors.ts';
import { quote } from '../../base/json.ts';
import { selectable } from './conductor.ts';
import { formatSizes, parseSizes } from './sizes.ts';

export const MOST_TABS = 8;
export const PEER_NAMES = ['simple-peer', 'peerjs', 'trystero'] as const;

/**
 * What tabmesh's links use: WebRTC data channels, message ports that a SharedWorker made, or BroadcastChannels; the
 * last two only within one browser.
 */
export const TRANSPORTS = ['webrtc', 'ports', 'broadcast'] as const;
export type BenchTransport = (typeof TRANSPORTS)[number];

/**
 * How the tabs meet: by a BroadcastChannel of this browser, or by the broker of the page's server, as tabs of several
 * browsers must.
 */
export const MEETINGS = ['browser', 'broker'] as const;
export type MeetBy = (typeof MEETINGS)[number];
/** The broker bears 100 messages a second from a tab, and rank 0 asks each other rank some 25 times. */
export const MOST_TABS_BY_BROKER = 4;

export interface CollectivesSettings {
  readonly tabs: number;
  /** Bytes. */
  readonly sizes: readonly number[];
  readonly only: readonly string[];
  readonly peers: readonly string[];
  readonly transport: BenchTransport;
  /** Without: as many as fit. */
  readonly rounds: number | undefined;
  /** Milliseconds that the tuner of each link may take before the first data. */
  readonly tuneMs: number;
  /** Frames of this page instead of tabs: one renderer process for all ranks. */
  readonly frames: boolean;
  readonly meet: MeetBy;
}

export interface CollectivesLink {
  readonly settings: CollectivesSettings;
  /** What the tabs of one run have in common. */
  readonly room: string | undefined;
  /** The room to be a further rank in. */
  readonly join: string | undefined;
  /** Of that room, if it is one of the broker. */
  readonly key: string | undefined;
  readonly start: boolean;
}

const NAMES = [
  'tabs',
  'sizes',
  'only',
  'peers',
  'transport',
  'rounds',
  'tune',
  'frames',
  'meet',
  'room',
  'join',
  'key',
  'run',
];

/** Throws ConfigError for what is unknown or out of range. */
export function readLink(hash: string): CollectivesLink {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  for (const name of given.keys())
    if (!NAMES.includes(name))
      throw new ConfigError('link', `unknown part ${quote(name)}; the parts are ${NAMES.join(', ')}`);
  const text = (name: string): string | undefined => given.get(name) ?? undefined;
  const [join, key] = [text('join'), text('key')];
  if (key !== undefined && join === undefined)
    throw new ConfigError(
      'link',
      'there is a key, but no room to join; copy the whole link from the tab that runs the bench',
    );
  const link: CollectivesLink = {
    settings: {
      tabs: whole('tabs', text('tabs') ?? '2', 2, MOST_TABS),
      sizes: parseSizes(text('sizes'), 'link: sizes'),
      only: selectable(text('only'), 'link: only'),
      peers: peersOf(text('peers')),
      transport: transportOf(text('transport'), 'link: transport'),
      rounds: text('rounds') === undefined ? undefined : whole('rounds', text('rounds')!, 1, 100),
      tuneMs: whole('tune', text('tune') ?? '0', 0, 60_000),
      frames: flag('frames', text('frames')),
      meet: meetingOf(text('meet')),
    },
    room: text('room'),
    join,
    key,
    start: flag('run', text('run')),
  };
  checkMeeting(link.settings);
  return link;
}

/** Throws ConfigError for what tabs of several browsers cannot do. */
export function checkMeeting({ meet, transport, tabs, frames }: CollectivesSettings): void {
  if (meet !== 'broker') return;
  if (transport !== 'webrtc')
    throw new ConfigError(
      'transport',
      `expected webrtc where tabs meet by the broker, got ${transport}: only tabs of one browser have it`,
    );
  if (tabs > MOST_TABS_BY_BROKER)
    throw new ConfigError('tabs', `expected at most ${MOST_TABS_BY_BROKER} where tabs meet by the broker, got ${tabs}`);
  if (frames)
    throw new ConfigError('frames', 'frames of this page are in one browser; let the tabs meet there, or take tabs');
}

function meetingOf(text: string | undefined): MeetBy {
  const found = MEETINGS.find((name) => name === (text ?? 'browser'));
  if (found === undefined) throw new ConfigError('link', `meet is ${quote(text!)}; expected ${MEETINGS.join(' or ')}`);
  return found;
}

/** The fragment without '#': what differs from the defaults. */
export function formatLink(
  settings: CollectivesSettings,
  { start = false, room }: { readonly start?: boolean; readonly room?: string } = {},
): string {
  const { tabs, sizes, only, peers, rounds, transport, tuneMs, frames, meet } = settings;
  const parts = [`tabs=${tabs}`];
  if (formatSizes(sizes) !== 'default') parts.push(`sizes=${formatSizes(sizes)}`);
  if (only.length !== selectable(undefined).length) parts.push(`only=${only.join(',')}`);
  if (peers.length) parts.push(`peers=${peers.length === PEER_NAMES.length ? '1' : peers.join(',')}`);
  if (transport !== 'webrtc') parts.push(`transport=${transport}`);
  if (rounds !== undefined) parts.push(`rounds=${rounds}`);
  if (tuneMs > 0) parts.push(`tune=${tuneMs}`);
  if (frames) parts.push('frames=1');
  if (meet !== 'browser') parts.push(`meet=${meet}`);
  if (room !== undefined) parts.push(`room=${room}`);
  if (start) parts.push('run=1');
  return parts.join('&');
}

function peersOf(text: string | undefined): readonly string[] {
  if (text === undefined || text === '0' || text === '') return [];
  if (text === '1') return PEER_NAMES;
  const names = text.split(',');
  const stranger = names.find((name) => !PEER_NAMES.some((known) => known === name));
  if (stranger !== undefined)
    throw new ConfigError('link', `unknown library ${quote(stranger)}; expected some of ${PEER_NAMES.join(', ')}`);
  return PEER_NAMES.filter((name) => names.includes(name));
}

/** Throws ConfigError for a name that is none. */
export function transportOf(text: string | undefined, where: string): BenchTransport {
  const found = TRANSPORTS.find((name) => name === (text ?? 'webrtc'));
  if (found === undefined) throw new ConfigError(where, `expected ${TRANSPORTS.join(', ')}, got ${quote(text!)}`);
  return found;
}

function flag(name: string, text: string | undefined): boolean {
  if (text === undefined || text === '0') return false;
  if (text === '1') return true;
  throw new ConfigError('link', `${name} is ${quote(text)}; expected 1 or 0`);
}

function whole(name: string, text: string, least: number, most: number): number {
  const n = Number(text);
  if (!(Number.isInteger(n) && n >= least && n <= most))
    throw new ConfigError('link', `${name} is ${quote(text)}; expected a whole number from ${least} to ${most}`);
  return n;
}
