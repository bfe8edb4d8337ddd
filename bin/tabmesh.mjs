#!/usr/bin/env node
// The command `tabmesh`. The sources are TypeScript with `?raw` and import.meta.glob, so they are loaded through Vite's module runner;
// nothing has to be built first. All code is in src/cli/main.ts.

import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
// Vite takes # and ? in a path for the ends of an address, so it gets to see such a folder under another name.
const alias = /[#?]/.test(root) ? mkdtempSync(join(tmpdir(), 'tabmesh-root-')) : undefined;
if (alias) {
  symlinkSync(root, join(alias, 'checkout'), 'junction');
  process.on('exit', () => rmSync(alias, { recursive: true, force: true }));
}
const loader = await createServer({
  root: alias ? join(alias, 'checkout') : root, ...(alias ? { resolve: { preserveSymlinks: true } } : {}), configFile: false, envFile: false, publicDir: false, appType: 'custom', logLevel: 'error', clearScreen: false,
  server: { middlewareMode: true, hmr: false, ws: false, watch: null },
  optimizeDeps: { noDiscovery: true, include: [] },
});
const { main } = await loader.ssrLoadModule('/src/cli/main.ts');
const code = await main(process.argv.slice(2));
await loader.close();
// Native handles (a GPU, a browser) must not keep a finished command alive. Output to a pipe may still be on its way.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
