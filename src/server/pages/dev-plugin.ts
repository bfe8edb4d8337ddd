// What Vite's servers need for the pages, while somebody works on them (`npm run dev`): the broker and /ice at the same
// addresses as `tabmesh serve` and under the same rule of who may ask. The dev server gives away every file of the
// checkout, so it listens on this machine only; and its pages never reload by themselves, because one of them may be
// training. In middleware mode Vite has no http server, and there is no broker.

import { existsSync } from 'node:fs';
import type { IncomingMessage, Server } from 'node:http';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Plugin } from 'vite';
import { ConfigError, ServeError } from '../../base/errors.ts';
import { attachBroker } from '../broker/broker.ts';
import { endUpgrade, say } from '../front.ts';
import { HostRule } from '../host-rule.ts';
import { createIceEndpoint } from '../turn/endpoint.ts';

/** Vite's http2 server has these, too. */
type HttpServer = Pick<Server, 'on' | 'once' | 'listenerCount'>;

/** Vite's own client, which reloads the page when its web socket has been away. */
const CLIENT = /<script type="module" src="[^"]*\/@vite\/client"><\/script>\s*/;

export function devPlugin(): Plugin {
  return {
    name: 'tabmesh-dev',
    configResolved({ server: { host } }) {
      if (host !== undefined && host !== false && !['localhost', '127.0.0.1', '::1'].includes(String(host))) {
        throw new ConfigError(
          '--host',
          'the dev server gives away every file of this checkout, so it serves this machine only; `tabmesh serve` serves the pages to others',
        );
      }
    },
    async configureServer(server) {
      const ice = createIceEndpoint({ stun: [] });
      const rule = new HostRule();
      server.middlewares.use((request, response, next) => {
        if (request.url?.split('?')[0] !== '/ice') return next();
        const refusal = rule.refuse(request.headers, true);
        if (refusal) say(response, refusal.status, refusal.reason);
        else ice(request, response);
      });
      await attach(server.httpServer as HttpServer | null);
    },
    async configurePreviewServer(server) {
      const {
        root,
        build: { outDir },
      } = server.config;
      if (!existsSync(join(root, outDir, 'index.html')) && !existsSync(join(outDir, 'index.html')))
        throw new ServeError(`preview: expected a build in ${outDir}, found none; run \`npm run build\` first`);
      await attach(server.httpServer as unknown as HttpServer);
    },
    transformIndexHtml: { order: 'post', handler: (html, { server }) => (server ? html.replace(CLIENT, '') : html) },
  };
}

async function attach(server: HttpServer | null): Promise<void> {
  if (!server) return;
  const broker = await attachBroker();
  const rule = new HostRule();
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => {
      /* 'close' follows */
    });
    // Vite and its proxies share this server.
    if (request.url?.split('?')[0] !== '/mqtt') {
      if (server.listenerCount('upgrade') === 1) endUpgrade(socket, 404, 'there is no web socket at this address');
      return;
    }
    const refusal = rule.refuse(request.headers, false);
    if (refusal) endUpgrade(socket, refusal.status, refusal.reason);
    else broker.take(request, socket, head);
  });
  server.once('close', () => {
    void broker.close();
  });
}
