// `tabmesh serve`: the pages and the MQTT broker for this machine and others.

import type { Command } from '../command.ts';
import { ConfigError } from '../../base/errors.ts';
import { describeOptions, parseOptions } from '../options.ts';
import { startPageServer } from '../page-server.ts';

const OPTIONS = {
  port: { type: 'count', default: 8080, about: 'port to listen on' },
  local: { type: 'flag', about: 'listen on this machine only' },
} as const;

export const command: Command = {
  name: 'serve',
  summary: 'serves the pages and the broker, also for other machines',
  help: ['tabmesh serve: serves the pages and the MQTT broker until Ctrl-C', '', 'usage: tabmesh serve [options]', '', describeOptions(OPTIONS), '',
    'Browsers offer WebGPU only over https or on localhost: other machines need a proxy with a certificate in front of this port.'].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, OPTIONS);
    if (options.port > 65535) throw new ConfigError('--port', `expected at most 65535, got ${options.port}`);
    const server = await startPageServer({ port: options.port, host: options.local ? 'localhost' : true });
    io.out(`page    ${server.url}`);
    for (const url of server.networkUrls) io.out(`network ${url} (WebGPU needs https there)`);
    io.out(`broker  ${server.url.replace(/^http/, 'ws')}mqtt`);
    io.err('Ctrl-C stops');
    await new Promise<void>((resolve) => { if (io.signal.aborted) resolve(); else io.signal.addEventListener('abort', () => resolve(), { once: true }); });
    await server.close();
    return 0;
  },
};
