// Which STUN and TURN servers a connection uses, read from what people write in a link and from what `tabmesh serve`
// answers at /ice. Everything that a browser would refuse later, deep inside a connection, is refused here with the
// place, what was expected and what was given. Credentials never appear in an error or a report.

import { ConfigError, FormatError } from '../../base/errors.ts';
import { isArray, isObject, parseJson, quote } from '../../base/json.ts';
import type { JsonObject, JsonValue } from '../../base/json.ts';

/**
 * What a connection is made with; read when it begins, so that credentials may change from one connection to the next.
 */
export interface IceConfig {
  readonly iceServers: readonly RTCIceServer[];
  /**
   * Use relayed candidates alone (iceTransportPolicy 'relay'): peers see the address of the TURN server and not ours.
   */
  readonly relayOnly: boolean;
}

export const NO_ICE: IceConfig = { iceServers: [], relayOnly: false };

/** What a server lends: its servers, and for how long their credentials are good. */
export interface LentIce {
  readonly iceServers: readonly RTCIceServer[];
  /** Seconds from the answer on; 0 when nothing in it expires. */
  readonly ttlSeconds: number;
}

const MAX_SERVERS = 8;
const EXPECTED = 'stun:HOST[:PORT], turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST[:PORT]';

export function isTurn(url: string): boolean {
  return /^turns?:/i.test(url);
}

export function urlsOf(servers: readonly RTCIceServer[]): string[] {
  return servers.flatMap(({ urls }) => urls);
}

/** RFC 7064 and 7065: a scheme, a name, an IPv4 or a bracketed IPv6 address, a port; no user, path or other query. */
function isIceUrl(url: string): boolean {
  const parts = /^(stuns?|turns?):(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?(\?transport=(?:udp|tcp))?$/i.exec(url);
  if (!parts || (parts[4] !== undefined && !isTurn(url))) return false;
  return parts[3] === undefined || (Number(parts[3]) >= 1 && Number(parts[3]) <= 65_535);
}

/** Throws ConfigError unless `url` names a STUN or a TURN server. `where` names the setting. */
export function checkIceUrl(where: string, url: string): string {
  if (!isIceUrl(url)) throw new ConfigError(where, `expected ${EXPECTED}, got ${quote(url)}`);
  return url;
}

export interface IceText {
  readonly ice?: string | undefined;
  readonly turnuser?: string | undefined;
  readonly turnpass?: string | undefined;
  readonly relay?: string | undefined;
}

/**
 * The parts `ice`, `turnuser`, `turnpass` and `relay` of a link; the credentials are those of every TURN server in it.
 */
export function readIce({ ice = '', turnuser, turnpass, relay }: IceText): IceConfig {
  const urls = ice
    .split(',')
    .map((url) => url.trim())
    .filter(Boolean);
  if (urls.length > MAX_SERVERS)
    throw new ConfigError('link', `ice has ${urls.length} servers; expected at most ${MAX_SERVERS}`);
  for (const url of urls) checkIceUrl('link: ice', url);
  if (relay !== undefined && relay !== 'only')
    throw new ConfigError('link', `relay is ${quote(relay)}; expected only, or no such part`);
  const turn = urls.filter(isTurn);
  if ((turnuser === undefined) !== (turnpass === undefined))
    throw new ConfigError(
      'link',
      `expected turnuser and turnpass together, got only ${turnuser === undefined ? 'turnpass' : 'turnuser'}`,
    );
  if (turnuser !== undefined && turn.length === 0)
    throw new ConfigError('link', 'expected a TURN server (ice=turn:HOST:PORT) for turnuser and turnpass, got none');
  if (turn.length > 0 && (!turnuser || !turnpass))
    throw new ConfigError(
      'link',
      `expected turnuser and turnpass for ${quote(turn[0]!)}, got none; add them, or open the page from \`tabmesh serve --turn\`, which lends its own`,
    );
  return {
    iceServers: urls.map((url) =>
      isTurn(url) ? { urls: url, username: turnuser!, credential: turnpass! } : { urls: url },
    ),
    relayOnly: relay === 'only',
  };
}

/** The answer of /ice. A FormatError for anything else: a proxy or a server that is not ours may answer there. */
export function decodeLentIce(text: string): LentIce {
  const format = 'ice servers';
  const answer = parseJson(text, { format, maxDepth: 4 });
  const servers = isObject(answer) ? answer.get('iceServers') : undefined;
  const ttl = isObject(answer) ? (answer.get('ttl') ?? 0) : 0;
  if (!isArray(servers) || servers.length > MAX_SERVERS)
    throw new FormatError(format, `expected a list \`iceServers\` of at most ${MAX_SERVERS}`);
  if (typeof ttl !== 'number' || !(ttl >= 0)) throw new FormatError(format, 'expected a field `ttl` of seconds');
  return { iceServers: servers.map((server) => serverOf(server, format)), ttlSeconds: ttl };
}

function serverOf(value: JsonValue, format: string): RTCIceServer {
  if (!isObject(value)) throw new FormatError(format, 'expected servers that are objects');
  const given = value.get('urls');
  const urls = isArray(given) ? given : [given];
  const texts = urls.filter((url): url is string => typeof url === 'string' && isIceUrl(url));
  if (texts.length === 0 || texts.length !== urls.length)
    throw new FormatError(format, `expected urls like ${EXPECTED}`);
  if (!texts.some(isTurn)) return { urls: texts };
  return { urls: texts, username: textOf(value, 'username', format), credential: textOf(value, 'credential', format) };
}

function textOf(fields: JsonObject, name: string, format: string): string {
  const text = fields.get(name);
  if (typeof text !== 'string' || text === '' || text.length > 500)
    throw new FormatError(format, `expected a field \`${name}\` of text for a TURN server`);
  return text;
}
