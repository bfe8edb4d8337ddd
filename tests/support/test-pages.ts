// A Vite dev server for the pages of tests and examples, which are not part of the build. The pages of the project
// itself are tested as they are served: built.

import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';
import { pagesConfig } from '../../src/server/pages/config.ts';
import { devPlugin } from '../../src/server/pages/dev-plugin.ts';

export interface TestPages {
  /** Ends with a slash. */ readonly url: string;
  close(): Promise<void>;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export async function openTestPages(): Promise<TestPages> {
  const { plugins = [], ...config } = pagesConfig(ROOT);
  const server = await createServer({
    ...config,
    plugins: [...plugins, devPlugin()],
    configFile: false,
    logLevel: 'error',
    clearScreen: false,
    cacheDir: `${ROOT}node_modules/.vite-pages`,
    server: { host: '127.0.0.1', port: 0, hmr: false, ws: false, watch: null },
  });
  await server.listen();
  return { url: server.resolvedUrls!.local[0]!, close: () => server.close() };
}
