#!/usr/bin/env node
// npm's `prepack`: builds all that the package brings along, in build/: the pages and the command line, each with the
// notices of the libraries within (THIRD-PARTY.md), and the collectives.

import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const target = join(root, 'build', 'pages');

for (const part of ['cli', 'collectives']) rmSync(join(root, 'build', part), { recursive: true, force: true });
const loader = await createServer({
  root,
  configFile: false,
  envFile: false,
  publicDir: false,
  appType: 'custom',
  logLevel: 'error',
  server: { middlewareMode: true, hmr: false, ws: false, watch: null },
  optimizeDeps: { noDiscovery: true, include: [] },
});
const { ensurePages } = await loader.ssrLoadModule('/src/server/pages/ensure.ts');
// stdout is for what `npm pack --json` says.
const pages = await ensurePages((line) => console.error(line), root);
await loader.close();
if (pages !== target) throw new Error(`expected to build the pages in ${target}, but it cannot be written to`);
for (const script of ['build-cli.mjs', 'build-collectives.mjs'])
  execFileSync(process.execPath, [join(root, 'bin', script)], { cwd: root, stdio: ['ignore', 2, 2] });
