// The page's settings, read from the URL fragment: a fragment never leaves the browser, so a room key in it reaches no
// server.
// #room=ID&key=KEY&broker=WS-URL|none&owner=IDENTITY&world=N&devices=N&auto=1|0&own=TOKEN&backend=auto|webgpu|wasm|cpu&plan=JSON&upload=URL&
// lane=webrtc|same-browser&ice=stun:HOST:PORT,turn:HOST:PORT?transport=udp&turnuser=NAME&turnpass=PASSWORD&relay=only;
// all optional, unknown names are errors. In place of a job a link may name settings of a run: model=NAME&data=NAME;
// without layout=, one for `devices` is chosen.
// Anybody can write a link: `auto` and `upload` act after a click (link/consent.ts), in a browser that a program
// drives, or with a token of this browser.

import { formatLayout, worldSize } from '../../base/axis.ts';
import { ConfigError } from '../../base/errors.ts';
import { quote } from '../../base/json.ts';
import { isTurn, readIce, urlsOf } from '../../cluster/ice/servers.ts';
import type { IceConfig } from '../../cluster/ice/servers.ts';
import { ROOM_NAME } from '../../cluster/rendezvous.ts';
import { BACKENDS } from '../../../workers/protocol.ts';
import type { BackendSetting } from '../../../workers/protocol.ts';
import { parseRunConfig, RATE_FIELDS, RUN_FIELDS } from '../../train/run-config.ts';
import { layoutFor, NO_FACTS } from './form/fit.ts';
import { configOf, makeJob, parseJob } from './job.ts';
import type { Job } from './job.ts';

export interface RoomAddress {
  readonly room: string;
  readonly key: string;
  /** A ws:// address, 'none' for BroadcastChannel alone; undefined: the page's own server, if it has a broker. */
  readonly broker?: string;
  /** The identity of who opened the room, whose rules hold in it. */
  readonly owner?: string;
}

export interface PageSettings {
  readonly room?: RoomAddress;
  readonly world?: number;
  /** Virtual devices in this tab: as many as the job's layout has ranks, where the link names both and no room. */
  readonly devices?: number;
  /** Opens the device, joins and trains without a further click, if this may be. */
  readonly auto: boolean;
  /** Says that a tab of this browser made the link, if this browser knows the token. */
  readonly own?: string;
  readonly backend: BackendSetting;
  readonly job?: Job;
  /** Prefix of an address of this page's server that takes the bytes of results. */
  readonly upload?: string;
  readonly ice: IceConfig;
  /** Tabs of one browser use ports instead of WebRTC, unless one of them has webrtc here. */
  readonly lane?: 'webrtc' | 'same-browser';
}

/**
 * As `owner`: the tab that opens the link opens the room. Only for a browser that a program drives, which cannot know
 * the identity before.
 */
export const THIS_TAB = 'self';

const NAMES = [
  'room',
  'key',
  'broker',
  'owner',
  'world',
  'devices',
  'auto',
  'own',
  'backend',
  'plan',
  'upload',
  'ice',
  'turnuser',
  'turnpass',
  'relay',
  'lane',
];

const SETTINGS = [...Object.keys(RUN_FIELDS), ...Object.keys(RATE_FIELDS)];

/** @param page address of this page; results go to its own server only. */
export function readFragment(hash: string, page: string): PageSettings {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  const settings = [...given].filter(([name]) => !NAMES.includes(name));
  for (const [name] of settings)
    if (!SETTINGS.includes(name))
      throw new ConfigError(
        'link',
        `unknown part ${quote(name)}; the parts are ${NAMES.join(', ')}, and the settings of a run: ${SETTINGS.join(', ')}`,
      );
  const [room, key, broker, upload, job] = ['room', 'key', 'broker', 'upload', 'plan'].map(
    (name) => given.get(name) ?? undefined,
  );
  if (room === undefined && key !== undefined)
    throw new ConfigError('link', 'there is a key, but no room; copy the whole link of the room');
  if (room !== undefined && !ROOM_NAME.test(room)) {
    const wanted = 'expected 1 to 64 letters, digits, - or _: copy the whole link of the room';
    throw new ConfigError('link', `room is ${quote(room)}; ${wanted}`);
  }
  if (job !== undefined && settings.length > 0)
    throw new ConfigError('link', `there is a plan, and ${quote(settings[0]![0])} beside it; say it in the plan alone`);
  const auto = given.get('auto') ?? '0';
  if (auto !== '0' && auto !== '1') throw new ConfigError('link', `auto is ${quote(auto)}; expected 1 or 0`);
  const own = given.get('own');
  if (room !== undefined && key === undefined)
    throw new ConfigError('link', 'the room has no key; copy the whole link of the room');
  const asked = given.get('backend') ?? 'auto';
  const backend = BACKENDS.find((name) => name === asked);
  if (!backend) throw new ConfigError('link', `backend is ${quote(asked)}; expected ${BACKENDS.join(', ')}`);
  // A link of somebody else must not send weights elsewhere.
  if (upload !== undefined && !(URL.canParse(upload, page) && new URL(upload, page).origin === new URL(page).origin))
    throw new ConfigError('link', `upload is ${quote(upload)}; expected an address of this page's own server`);
  const owner = given.get('owner');
  if (owner !== null && owner !== THIS_TAB && !/^[0-9a-f]{32}$/.test(owner))
    throw new ConfigError(
      'link',
      `owner is ${quote(owner)}; expected 32 digits from 0 to f: copy the whole link of the room`,
    );
  const lane = given.get('lane');
  if (lane !== null && lane !== 'webrtc' && lane !== 'same-browser')
    throw new ConfigError('link', `lane is ${quote(lane)}; expected webrtc or same-browser`);
  const [ice, turnuser, turnpass, relay] = ['ice', 'turnuser', 'turnpass', 'relay'].map(
    (name) => given.get(name) ?? undefined,
  );
  const devices = count(given, 'devices');
  return {
    ...(room === undefined
      ? {}
      : {
          room: { room, key: key!, ...(broker === undefined ? {} : { broker }), ...(owner === null ? {} : { owner }) },
        }),
    ...count(given, 'world'),
    ...devices,
    auto: auto === '1',
    backend,
    ...(own === null ? {} : { own }),
    ...jobOf(job, settings, room === undefined ? devices.devices : undefined),
    ...(upload === undefined ? {} : { upload }),
    ice: readIce({ ice, turnuser, turnpass, relay }),
    ...(lane === null ? {} : { lane }),
  };
}

/** Of the text of a job, or of settings. `devices`: virtual devices that the link names. Throws where they disagree. */
function jobOf(
  text: string | undefined,
  settings: readonly (readonly [string, string])[],
  devices: number | undefined,
): { readonly job?: Job } {
  if (text === undefined && settings.length === 0) return {};
  if (devices !== undefined && text === undefined && !settings.some(([name]) => name === 'layout'))
    return { job: makeJob(layoutFor(devices, parseRunConfig(settings), NO_FACTS).config) };
  const job = text === undefined ? makeJob(parseRunConfig(settings)) : parseJob(text);
  const { layout } = configOf(job);
  if (devices !== undefined && devices !== worldSize(layout))
    throw new ConfigError(
      'link',
      `devices is ${devices}, but the layout ${formatLayout(layout)} has ${worldSize(layout)} ranks; leave one of them out`,
    );
  return { job };
}

/**
 * Whose link it is: `own` for a tab of this person, which begins by itself; `here` for the address of this very tab;
 * `others` for a link to give away.
 */
export type LinkFor = 'own' | 'here' | 'others';

/**
 * The address that takes another tab into a room; `token` of `vouch` lets one's own begin without a question. A link
 * for others asks before it computes. It has no backend, because what suits this device may not suit theirs, and no
 * TURN server of the link that made it: its credentials are this person's.
 */
export function roomLink(
  page: string,
  { room, key, broker, owner }: RoomAddress,
  { backend, ice, lane }: Pick<PageSettings, 'backend' | 'ice' | 'lane'>,
  who: LinkFor = 'others',
  token?: string,
): string {
  const parts = new URLSearchParams({ room, key, ...(who === 'others' ? {} : deviceOf(backend)) });
  if (broker !== undefined) parts.set('broker', broker);
  if (owner !== undefined) parts.set('owner', owner);
  if (lane) parts.set('lane', lane);
  const urls = urlsOf(ice.iceServers).filter((url) => who !== 'others' || !isTurn(url));
  if (urls.length) parts.set('ice', urls.join(','));
  const login = ice.iceServers.find(({ username }) => username !== undefined);
  if (login && who !== 'others') {
    parts.set('turnuser', login.username!);
    parts.set('turnpass', login.credential!);
  }
  if (ice.relayOnly && who !== 'others') parts.set('relay', 'only');
  if (who === 'own') parts.set('auto', '1');
  if (who === 'own' && token !== undefined) parts.set('own', token);
  return `${page.split('#')[0]}#${parts}`;
}

/** The address of this very tab in no room. */
export function homeLink(page: string, { backend }: Pick<PageSettings, 'backend'>): string {
  const parts = new URLSearchParams(deviceOf(backend)).toString();
  return `${page.split('#')[0]}${parts && `#${parts}`}`;
}

/** Left out where the page chooses itself. */
function deviceOf(backend: BackendSetting): { readonly backend?: BackendSetting } {
  return backend === 'auto' ? {} : { backend };
}

function count<K extends 'world' | 'devices'>(given: URLSearchParams, name: K): { readonly [name in K]?: number } {
  const text = given.get(name);
  if (text === null) return {};
  const n = Number(text);
  if (!(Number.isInteger(n) && n >= 1 && n <= 64))
    throw new ConfigError('link', `${name} is ${quote(text)}; expected a whole number from 1 to 64`);
  return { [name]: n } as { readonly [name in K]?: number };
}
