// Who may ask: one rule over Host and Origin for pages, the broker's web socket, /ice and the files of runs. A page of
// another name that resolves to this machine (DNS rebinding) and a page of another origin are refused. Host may be
// localhost, an address, or a name that --allow-host tells; Origin must be the one of Host, or such a name: a proxy may
// give us another Host than the browser shows. X-Forwarded-Host is not believed, since whoever asks can write it.

import { isIP } from 'node:net';

export interface Refusal {
  readonly status: number;
  /** One sentence. */ readonly reason: string;
}

interface Site {
  /** In small letters, without a dot at the end; an IPv6 address in brackets. */ readonly host: string;
  readonly port: string;
}

export type AskedHeaders = Readonly<
  Partial<Record<'host' | 'origin' | 'sec-fetch-site', string | string[] | undefined>>
>;

const WEB_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/** A name, '.name' for it and all below it, or an address, as they are compared; undefined for what is neither. */
export function normaliseName(text: string): string | undefined {
  const below = text.startsWith('.') ? '.' : '';
  const name = text.slice(below.length);
  const site = readHost(isIP(name) === 6 ? `[${name}]` : name);
  return site === undefined || site.port !== '' || (below && isAddress(site.host)) ? undefined : below + site.host;
}

export class HostRule {
  readonly #names: ReadonlySet<string>;
  readonly #below: readonly string[];

  /** @param names as `normaliseName` returns them. */
  constructor(names: readonly string[] = []) {
    this.#names = new Set(names.map((name) => name.replace(/^\./, '')));
    this.#below = names.filter((name) => name.startsWith('.'));
  }

  /**
   * Why a request is refused; undefined if it may pass.
   * @param personal for what only pages of this server may ask, not merely link to or show.
   */
  refuse(headers: AskedHeaders, personal: boolean): Refusal | undefined {
    const host = typeof headers.host === 'string' ? readHost(headers.host) : undefined;
    if (host === undefined) return { status: 400, reason: 'Host: expected a name or an address, perhaps with a port' };
    if (!isAddress(host.host) && !isLocal(host.host) && !this.#told(host.host))
      return {
        status: 403,
        reason: `Host ${host.host} is no name of this server; if a proxy of that name stands before it, start it with --allow-host ${host.host}`,
      };
    const { origin } = headers;
    if (origin !== undefined) {
      const from = typeof origin === 'string' ? readOrigin(origin) : undefined;
      if (from === undefined)
        return {
          status: 403,
          reason: 'Origin: expected a page of this server; a page from a file or a sandbox has none',
        };
      if (!sameSite(from, host) && !this.#told(from.site.host))
        return { status: 403, reason: refusedOrigin(from.site, host) };
    }
    const site = headers['sec-fetch-site'];
    // Browsers say so even where they send no Origin. Behind a proxy, too, a page's own requests are same-origin.
    if (personal && site !== undefined && site !== 'same-origin' && site !== 'none')
      return { status: 403, reason: 'only pages of this server may ask for this' };
    return undefined;
  }

  #told(host: string): boolean {
    return this.#names.has(host) || this.#below.some((suffix) => host.endsWith(suffix));
  }
}

/** Only another name may be that of a proxy; --allow-host tells names, and would let in pages of every port of ours. */
function refusedOrigin(from: Site, host: Site): string {
  const refused = `Origin ${shown(from)} is not this server, which was asked as ${shown(host)}`;
  return from.host === host.host || isLocal(from.host)
    ? `${refused}; open the page of this server`
    : `${refused}; if a proxy of that name stands before it, start it with --allow-host ${from.host}`;
}

function shown({ host, port }: Site): string {
  return port === '' ? host : `${host}:${port}`;
}

/** The default port of the browser's scheme may be left out on either side; a proxy that ends https passes on http. */
function sameSite({ site, scheme }: { readonly site: Site; readonly scheme: string }, host: Site): boolean {
  const usual = WEB_PORTS[scheme]!;
  return site.host === host.host && (site.port || usual) === (host.port || usual);
}

function readOrigin(text: string): { readonly site: Site; readonly scheme: string } | undefined {
  const [, scheme, rest] = /^(https?:)\/\/(.*)$/i.exec(text) ?? [];
  const site = rest === undefined ? undefined : readHost(rest);
  return site === undefined ? undefined : { site, scheme: scheme!.toLowerCase() };
}

/** 'NAME', 'NAME:PORT', '1.2.3.4:PORT' or '[::1]:PORT'. The port is '' if none is given. */
function readHost(text: string): Site | undefined {
  const [, name, port = ''] = /^([^\s/?#@\\:[\]]+|\[[^\s/?#@\\[\]]+\])(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (name === undefined || Number(port) > 65535 || !URL.canParse(`http://${name}`)) return undefined;
  // The parser of addresses writes names and addresses in the one form that browsers compare.
  const host = new URL(`http://${name}`).hostname.replace(/\.$/, '');
  return /^(\[[\da-f:.]+\]|[\w-]+(\.[\w-]+)*)$/.test(host)
    ? { host, port: port === '' ? '' : String(Number(port)) }
    : undefined;
}

function isAddress(host: string): boolean {
  return host.startsWith('[') || isIP(host) === 4;
}

function isLocal(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost');
}
