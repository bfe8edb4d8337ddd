// `npm run dev` and `npm run build`. What people use (`tabmesh serve`, `demo`, `train --tabs`) serves the built pages
// instead; see src/server.

import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';
import { devPlugin } from './src/server/pages/dev-plugin.ts';
import { pagesConfig } from './src/server/pages/config.ts';

const { plugins = [], ...config } = pagesConfig(fileURLToPath(new URL('.', import.meta.url)));

// No web socket between the pages and Vite: over it, a restart of the server or one broken connection would reload
// pages that train.
export default defineConfig({ ...config, plugins: [...plugins, devPlugin()], server: { hmr: false, ws: false } });
