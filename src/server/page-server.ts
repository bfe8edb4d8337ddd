// Everything that tabmesh serves, on one port: the built pages, the MQTT broker at `mqtt`, credentials for a TURN
// server at `ice`, and the files of runs below `run/`. Nothing else of this machine can be reached. All addresses are
// relative to the page, so it also works below a path of a proxy.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { ServeError } from '../base/errors.ts';
import { attachBroker } from './broker/broker.ts';
import type { BrokerOptions } from './broker/broker.ts';
import { openFront, portOf, say, endUpgrade } from './front.ts';
import { securityHeaders } from './headers.ts';
import { HostRule } from './host-rule.ts';
import type { Refusal } from './host-rule.ts';
import { ensurePages } from './pages/ensure.ts';
import { RunFiles } from './run-files.ts';
import type { RunLimits } from './run-files.ts';
import { sendPage } from './static-pages.ts';
import { createIceEndpoint } from './turn/endpoint.ts';
import type { IceLender } from './turn/endpoint.ts';

export interface PageServer {
  /** Ends with a slash. */
  readonly url: string;
  /** Addresses for other machines of the network. */
  readonly networkUrls: readonly string[];
  /** Files for one run and a place for its results; close it with the run. */
  openRun(limits?: RunLimits): RunFiles;
  close(): Promise<void>;
}

export interface PageServerOptions {
  /** 0, the default: any that is free. */
  readonly port?: number;
  /** true: all addresses of this machine. */
  readonly host?: string | true;
  /**
   * Names, besides addresses and localhost, under which browsers may ask: those of a proxy, as `normaliseName` returns
   * them.
   */
  readonly allowedHosts?: readonly string[];
  /** What pages get at /ice; by default no servers. */
  readonly ice?: IceLender;
  /** Path below which everything lies, '/' or '/sub/'; for a proxy that passes its own path on. */
  readonly base?: string;
  /** Folder of the built pages; by default `ensurePages`. */
  readonly pages?: string;
  readonly broker?: BrokerOptions;
  /** Gets one line while the pages are built. */
  readonly onStatus?: (line: string) => void;
  /** Hears, in a sentence, of names that were refused for the first time and of errors that are ours. */
  readonly onNote?: (line: string) => void;
}

/** A flood of names must not fill a log. */
const MAX_NOTES = 50;

/** Resolves when it listens. Rejects with ServeError when the port or the pages cannot be had. */
export async function startPageServer(options: PageServerOptions = {}): Promise<PageServer> {
  const {
    port = 0,
    host = 'localhost',
    allowedHosts = [],
    ice = { stun: [] },
    base = '/',
    onStatus,
    onNote = () => undefined,
  } = options;
  const folder = options.pages ?? (await ensurePages(onStatus));
  if (!existsSync(join(folder, 'index.html')))
    throw new ServeError(
      `pages: expected a build with index.html in ${folder}, found none; \`npm run build\` makes one in dist`,
    );
  const rule = new HostRule(allowedHosts);
  const runs = new Map<string, RunFiles>();
  const note = onceEach(onNote);
  const tell = ({ status, reason }: Refusal): void => {
    if (status === 403) note(reason);
  };
  const askIce = createIceEndpoint(ice);

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const asked = readPath(request.url ?? '', base);
    const path = asked.path ?? '';
    for (const [name, value] of Object.entries(securityHeaders(path))) response.setHeader(name, value);
    const personal = /^(ice$|mqtt$|run\/|results?\/)/.test(path);
    const refusal = rule.refuse(request.headers, personal);
    if (refusal) {
      tell(refusal);
      return say(response, refusal.status, refusal.reason);
    }
    if (asked.trouble === 'malformed') return say(response, 400, 'expected the address of a page');
    if (asked.trouble === 'no slash')
      return say(response, 308, `the pages lie below ${base}`, { location: `${base.split('/').at(-2)}/` });
    if (asked.trouble === 'outside') return say(response, 404, `everything lies below ${base}`);
    if (path === 'ice') return askIce(request, response);
    if (path === 'mqtt')
      return say(response, 426, 'the broker speaks MQTT over a web socket', {
        connection: 'Upgrade',
        upgrade: 'websocket',
      });
    const [, token, rest] = /^run\/([0-9a-f]{32})\/(.*)$/.exec(path) ?? [];
    if (token !== undefined) {
      const run = runs.get(token);
      return run ? run.handle(request, response, rest!) : say(response, 404, 'there is no such run; it may be over');
    }
    if (/^(run|results?)(\/|$)/.test(path))
      return say(response, 404, 'no run waits for this; its files and results have an address of their own');
    return sendPage(request, response, folder, asked.encoded);
  };
  const upgrade = (request: IncomingMessage, socket: Parameters<typeof endUpgrade>[0], head: Buffer): void => {
    if (readPath(request.url ?? '', base).path !== 'mqtt')
      return endUpgrade(socket, 404, 'there is no web socket at this address');
    const refusal = rule.refuse(request.headers, false);
    if (refusal) {
      tell(refusal);
      return endUpgrade(socket, refusal.status, refusal.reason);
    }
    broker.take(request, socket, head);
  };

  const broker = await attachBroker(options.broker);
  const server = await openFront({ port, host: host === true ? undefined : host, handle, upgrade, note }).catch(
    async (error: unknown) => {
      await broker.close();
      throw error;
    },
  );
  const at = portOf(server);
  return {
    url: `http://${host === true ? 'localhost' : host.includes(':') ? `[${host}]` : host}:${at}${base}`,
    networkUrls: host === true ? networkAddresses().map((address) => `http://${address}:${at}${base}`) : [],
    openRun(limits) {
      const run: RunFiles = new RunFiles(limits, () => {
        runs.delete(run.token);
      });
      runs.set(run.token, run);
      return run;
    },
    async close() {
      for (const run of runs.values()) run.close();
      runs.clear();
      await broker.close();
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      server.closeAllConnections();
      await closed;
    },
  };
}

interface AskedPath {
  /** Below the base, without a slash at its start and without a query; decoded once. Absent with a trouble. */
  readonly path?: string;
  readonly encoded: string;
  readonly trouble?: 'malformed' | 'outside' | 'no slash';
}

function readPath(url: string, base: string): AskedPath {
  const [whole = ''] = url.split(/[?#]/);
  if (!whole.startsWith('/')) return { encoded: '', trouble: 'malformed' };
  // A path with two slashes at its start is one, not the name of a server.
  if (!whole.startsWith(base)) return { encoded: '', trouble: `${whole}/` === base ? 'no slash' : 'outside' };
  const encoded = whole.slice(base.length);
  try {
    const path = decodeURIComponent(encoded);
    if (path.includes('\0')) return { encoded, trouble: 'malformed' };
    return path.startsWith('/') ? { encoded, trouble: 'outside' } : { path, encoded };
  } catch {
    // A % that begins no character.
    return { encoded, trouble: 'malformed' };
  }
}

function networkAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((found) => found ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address);
}

function onceEach(note: (text: string) => void): (text: string) => void {
  const said = new Set<string>();
  return (text) => {
    if (said.has(text) || said.size >= MAX_NOTES) return;
    said.add(text);
    note(text);
  };
}
