// `tabmesh serve`: the pages and the MQTT broker for this machine and others, and short-lived credentials for a TURN
// server.

import { resolve } from 'node:path';
import type { Command } from '../command.ts';
import { ConfigError } from '../../base/errors.ts';
import { checkIceUrl, isTurn } from '../../cluster/ice/servers.ts';
import { describeOptions, parseOptions, portOf } from '../options.ts';
import type { Options } from '../options.ts';
import { startPageServer } from '../../server/page-server.ts';
import { normaliseName } from '../../server/host-rule.ts';
import { parseTtl, readTurnSecret, SECRET_VARIABLE } from '../../server/turn/credentials.ts';
import type { IceLender } from '../../server/turn/endpoint.ts';

const OPTIONS = {
  port: { type: 'count', default: 8080, about: 'port to listen on' },
  local: { type: 'flag', about: 'listen on this machine only' },
  'allow-host': {
    type: 'string',
    about:
      'names under which browsers see the pages through a proxy, comma-separated: tabmesh.example.org, or .example.org for it and all below it',
  },
  base: {
    type: 'string',
    default: '/',
    about: 'path below which everything lies, for a proxy that passes its own path on: /tabmesh/',
  },
  pages: {
    type: 'string',
    value: 'FOLDER',
    about: 'folder of another build of the pages, such as dist (default: those of this version)',
  },
  stun: { type: 'string', about: 'STUN servers for the pages: stun:HOST:PORT, comma-separated' },
  turn: { type: 'string', about: 'TURN servers for the pages: turn:HOST:PORT, comma-separated' },
  'turn-secret-file': {
    type: 'string',
    value: 'FILE',
    about: `file with the secret of the TURN servers (or set ${SECRET_VARIABLE})`,
  },
  'turn-ttl': { type: 'string', default: '1h', about: 'how long credentials are good: 90s, 15m, 1h' },
} as const;

/** What the options lend to pages. Throws ConfigError for addresses, secrets and times that cannot be used. */
export function lenderOf(
  options: Pick<Options<typeof OPTIONS>, 'stun' | 'turn' | 'turn-secret-file' | 'turn-ttl'>,
  env: NodeJS.ProcessEnv,
): IceLender {
  const list = (name: 'stun' | 'turn'): string[] =>
    (options[name] ?? '')
      .split(',')
      .map((url) => url.trim())
      .filter(Boolean)
      .map((url) => checkIceUrl(`--${name}`, url));
  const [stun, urls] = [list('stun'), list('turn')];
  const wrong = stun.find(isTurn);
  if (wrong !== undefined)
    throw new ConfigError('--stun', `expected stun:HOST:PORT, got '${wrong}'; TURN servers belong to --turn`);
  const notTurn = urls.find((url) => !isTurn(url));
  if (notTurn !== undefined)
    throw new ConfigError('--turn', `expected turn:HOST:PORT, got '${notTurn}'; STUN servers belong to --stun`);
  const ttlSeconds = parseTtl(options['turn-ttl']);
  if (urls.length === 0) {
    if (options['turn-secret-file'] !== undefined)
      throw new ConfigError('--turn', 'expected turn:HOST:PORT for the secret of --turn-secret-file, got none');
    return { stun };
  }
  return { stun, turn: { urls, secret: readTurnSecret(options['turn-secret-file'], env), ttlSeconds } };
}

/** Throws ConfigError for what is neither a name nor an address: a URL is more than a name. */
export function hostsOf(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean)
    .map((name) => {
      const normal = normaliseName(name);
      if (normal === undefined) {
        const below = name.startsWith('*.') ? normaliseName(name.slice(1)) : undefined;
        throw new ConfigError(
          '--allow-host',
          `expected names like tabmesh.example.org, got '${name}'${below === undefined ? '' : `; for it and all names below it write '${below}'`}`,
        );
      }
      return normal;
    });
}

/** '/' or '/sub/', however it is written. */
export function baseOf(text: string): string {
  const inner = text.replace(/^\/+|\/+$/g, '');
  const path = inner === '' ? '/' : `/${inner}/`;
  if (!/^[\w.~/-]+$/.test(path) || path.includes('//') || /(^|\/)\.\.?\//.test(path))
    throw new ConfigError('--base', `expected a path like /tabmesh/, got '${text}'`);
  return path;
}

export const command: Command = {
  name: 'serve',
  summary: 'serves the pages and the broker, also for other machines',
  help: [
    'tabmesh serve: serves the pages and the MQTT broker until Ctrl-C',
    '',
    'usage: tabmesh serve [options]',
    '',
    describeOptions(OPTIONS),
    '',
    'Only over https or on localhost browsers offer a page WebGPU, and the cryptography without which it enters no room: other machines need a proxy with a certificate in front of this port, whose name is told by --allow-host.',
    'Tabs of different networks need a TURN server, such as coturn with use-auth-secret: the pages of this server get credentials for it that expire.',
  ].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, OPTIONS);
    const ice = lenderOf(options, process.env);
    const server = await startPageServer({
      port: portOf(options.port),
      host: options.local ? 'localhost' : true,
      allowedHosts: hostsOf(options['allow-host']),
      base: baseOf(options.base),
      ice,
      ...(options.pages === undefined ? {} : { pages: resolve(options.pages) }),
      onStatus: io.err,
      onNote: io.err,
    });
    io.out(`page    ${server.url}`);
    for (const url of server.networkUrls) io.out(`network ${url} (no rooms and no WebGPU there without https)`);
    io.out(`broker  ${server.url.replace(/^http/, 'ws')}mqtt`);
    if (ice.turn)
      io.out(`TURN    ${ice.turn.urls.join(', ')} (credentials for ${options['turn-ttl']} at ${server.url}ice)`);
    io.err('Ctrl-C stops');
    await new Promise<void>((resolve) => {
      if (io.signal.aborted) resolve();
      else io.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await server.close();
    return 0;
  },
};
