// `tabmesh serve`: the pages and the MQTT broker for this machine and others, and short-lived credentials for a TURN server.

import type { Command } from '../command.ts';
import { ConfigError } from '../../base/errors.ts';
import { checkIceUrl, isTurn } from '../../cluster/ice/servers.ts';
import { describeOptions, parseOptions } from '../options.ts';
import type { Options } from '../options.ts';
import { startPageServer } from '../page-server.ts';
import { parseTtl, readTurnSecret, SECRET_VARIABLE } from '../turn/credentials.ts';
import type { IceLender } from '../turn/endpoint.ts';

const OPTIONS = {
  port: { type: 'count', default: 8080, about: 'port to listen on' },
  local: { type: 'flag', about: 'listen on this machine only' },
  'allow-host': { type: 'string', about: 'names by which a proxy asks for the pages, comma-separated: tabmesh.example.org, or .example.org for all below it' },
  stun: { type: 'string', about: 'STUN servers for the pages: stun:HOST:PORT, comma-separated' },
  turn: { type: 'string', about: 'TURN servers for the pages: turn:HOST:PORT, comma-separated' },
  'turn-secret-file': { type: 'string', about: `file with the secret of the TURN servers (or set ${SECRET_VARIABLE})` },
  'turn-ttl': { type: 'string', default: '1h', about: 'how long credentials are good: 90s, 15m, 1h' },
} as const;

/** What the options lend to pages. Throws ConfigError for addresses, secrets and times that cannot be used. */
export function lenderOf(options: Pick<Options<typeof OPTIONS>, 'stun' | 'turn' | 'turn-secret-file' | 'turn-ttl'>, env: NodeJS.ProcessEnv): IceLender {
  const list = (name: 'stun' | 'turn'): string[] => (options[name] ?? '').split(',').map((url) => url.trim()).filter(Boolean).map((url) => checkIceUrl(`--${name}`, url));
  const [stun, urls] = [list('stun'), list('turn')];
  const wrong = stun.find(isTurn);
  if (wrong !== undefined) throw new ConfigError('--stun', `expected stun:HOST:PORT, got '${wrong}'; TURN servers belong to --turn`);
  const notTurn = urls.find((url) => !isTurn(url));
  if (notTurn !== undefined) throw new ConfigError('--turn', `expected turn:HOST:PORT, got '${notTurn}'; STUN servers belong to --stun`);
  const ttlSeconds = parseTtl(options['turn-ttl']);
  if (urls.length === 0) {
    if (options['turn-secret-file'] !== undefined) throw new ConfigError('--turn', 'expected turn:HOST:PORT for the secret of --turn-secret-file, got none');
    return { stun };
  }
  return { stun, turn: { urls, secret: readTurnSecret(options['turn-secret-file'], env), ttlSeconds } };
}

/** Throws ConfigError for what is no name: an address needs no permission, and a URL is more than a name. */
export function hostsOf(text: string | undefined): string[] {
  const names = (text ?? '').split(',').map((name) => name.trim()).filter(Boolean);
  const wrong = names.find((name) => !/^\.?[a-z0-9-]+(\.[a-z0-9-]+)*$/i.test(name));
  if (wrong !== undefined) throw new ConfigError('--allow-host', `expected names like tabmesh.example.org, got '${wrong}'`);
  return names;
}

export const command: Command = {
  name: 'serve',
  summary: 'serves the pages and the broker, also for other machines',
  help: ['tabmesh serve: serves the pages and the MQTT broker until Ctrl-C', '', 'usage: tabmesh serve [options]', '', describeOptions(OPTIONS), '',
    'Browsers offer WebGPU only over https or on localhost: other machines need a proxy with a certificate in front of this port, whose name is told by --allow-host.',
    'Tabs of different networks need a TURN server, such as coturn with use-auth-secret: the pages of this server get credentials for it that expire.'].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, OPTIONS);
    if (options.port > 65535) throw new ConfigError('--port', `expected at most 65535, got ${options.port}`);
    const ice = lenderOf(options, process.env);
    const server = await startPageServer({ port: options.port, host: options.local ? 'localhost' : true, allowedHosts: hostsOf(options['allow-host']), ice });
    io.out(`page    ${server.url}`);
    for (const url of server.networkUrls) io.out(`network ${url} (WebGPU needs https there)`);
    io.out(`broker  ${server.url.replace(/^http/, 'ws')}mqtt`);
    if (ice.turn) io.out(`TURN    ${ice.turn.urls.join(', ')} (credentials for ${options['turn-ttl']} at ${server.url}ice)`);
    io.err('Ctrl-C stops');
    await new Promise<void>((resolve) => { if (io.signal.aborted) resolve(); else io.signal.addEventListener('abort', () => resolve(), { once: true }); });
    await server.close();
    return 0;
  },
};
