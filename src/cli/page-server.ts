// The pages, the MQTT broker, and the files of one run on one local server: Vite in this process. Files of a run are put under /run/NAME; results come
// back by POST to /result/NAME. Uploads are capped, and only taken while somebody waits for them.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';
import { InternalError } from '../base/errors.ts';
import { createIceEndpoint } from './turn/endpoint.ts';
import type { IceLender } from './turn/endpoint.ts';

const MAX_UPLOAD_BYTES = 2 ** 31;

export interface PageServer {
  /** Ends with a slash. */
  readonly url: string;
  /** Addresses for other machines of the network. */
  readonly networkUrls: readonly string[];
  /** Serves `content` at the returned address, relative to the page. */
  put(name: string, content: string | Uint8Array<ArrayBuffer>): string;
  /** Everything POSTed so far, by name. */
  readonly results: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

export interface PageServerOptions {
  readonly port?: number;
  readonly host?: string | true;
  /** Names, besides addresses and localhost, under which browsers may ask: those of a proxy. Others are refused, so that no foreign page reaches this server by a name of its own. */
  readonly allowedHosts?: readonly string[];
  /** What pages get at /ice; by default no servers. */
  readonly ice?: IceLender;
}

export async function startPageServer({ port = 0, host = 'localhost', allowedHosts = [], ice = { stun: [] } }: PageServerOptions = {}): Promise<PageServer> {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const files = new Map<string, string | Uint8Array<ArrayBuffer>>();
  const results = new Map<string, Uint8Array<ArrayBuffer>>();
  const server = await createServer({
    root, configFile: `${root}vite.config.ts`, logLevel: 'error', clearScreen: false, cacheDir: `${root}node_modules/.vite-pages`,
    // Nothing is edited while it serves, and a reload would end a run.
    server: { port, host, allowedHosts: [...allowedHosts], strictPort: port !== 0, hmr: false, watch: null },
    plugins: [{
      name: 'tabmesh-run-files',
      configureServer({ middlewares }) {
        middlewares.use(createIceEndpoint(ice));
        middlewares.use('/run/', (request, response, next) => {
          const content = files.get(nameOf(request));
          if (content === undefined) return next();
          response.setHeader('content-type', 'application/octet-stream');
          response.end(content);
        });
        middlewares.use('/result/', (request, response) => { void take(request, response, results); });
      },
    }],
  });
  await server.listen();
  const url = server.resolvedUrls?.local[0];
  if (!url) throw new InternalError('the page server has no local address');
  return {
    url, results, networkUrls: server.resolvedUrls?.network ?? [],
    put(name, content) { files.set(name, content); return `run/${name}`; },
    close: () => server.close(),
  };
}

function nameOf(request: IncomingMessage): string { return decodeURIComponent((request.url ?? '').split('?')[0].replace(/^\//, '')); }

async function take(request: IncomingMessage, response: ServerResponse, results: Map<string, Uint8Array<ArrayBuffer>>): Promise<void> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MAX_UPLOAD_BYTES) { response.statusCode = 413; response.end(); return; }
    parts.push(part);
  }
  results.set(nameOf(request).replace(/\.safetensors$/, ''), new Uint8Array(Buffer.concat(parts)));
  response.end('ok');
}
