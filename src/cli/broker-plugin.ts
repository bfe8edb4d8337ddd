// A Vite plugin that runs the embedded broker inside the dev and the preview server, at ws://<the page's host>/mqtt:
// `npm run dev` alone is enough for tabs of several machines. In middleware mode Vite has no http server, and there is no broker.

import type { Plugin } from 'vite';
import { attachBroker } from './broker.ts';
import type { Broker, BrokerOptions, UpgradableServer } from './broker.ts';

export function brokerPlugin(options: BrokerOptions = {}): Plugin {
  const attach = async (server: (UpgradableServer & { once(event: 'close', listener: () => void): unknown }) | null): Promise<void> => {
    if (!server) return;
    const broker: Broker = await attachBroker(server, options);
    server.once('close', () => { void broker.close(); });
  };
  return {
    name: 'tabmesh-broker',
    configureServer: (server) => attach(server.httpServer as Parameters<typeof attach>[0]),
    configurePreviewServer: (server) => attach(server.httpServer as unknown as Parameters<typeof attach>[0]),
  };
}
