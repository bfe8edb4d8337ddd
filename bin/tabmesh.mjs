#!/usr/bin/env node
// The command `tabmesh`. An installed package brings it built, in build/cli. In a checkout the sources run as they are
// (TypeScript with `?raw` and import.meta.glob, through Vite's module runner); nothing has to be built first. All code
// is in src/cli/main.ts.

import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const built = fileURLToPath(new URL('../build/cli/main.js', import.meta.url));
// npm never publishes a package-lock.json: with it, this is a checkout.
const checkout = ['src/cli/main.ts', 'package-lock.json'].every((path) =>
  existsSync(new URL(`../${path}`, import.meta.url)),
);

/** Ends with one sentence about what is wrong with the installation. */
function refuse(sentence) {
  process.stderr.write(`tabmesh: ${sentence}\n`);
  process.exit(1);
}

/** undefined where only production dependencies are installed. */
async function loadVite() {
  try {
    return await import('vite');
  } catch (error) {
    if (error.code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

async function loadSources(vite) {
  // Vite takes # and ? in a path for the ends of an address, so it gets to see such a folder under another name.
  const alias = /[#?]/.test(root) ? mkdtempSync(join(tmpdir(), 'tabmesh-root-')) : undefined;
  if (alias) {
    symlinkSync(root, join(alias, 'checkout'), 'junction');
    process.on('exit', () => rmSync(alias, { recursive: true, force: true }));
  }
  const { wasmKernels } = await import('../src/device/wasm/plugin.mjs');
  const loader = await vite.createServer({
    root: alias ? join(alias, 'checkout') : root,
    ...(alias ? { resolve: { preserveSymlinks: true } } : {}),
    configFile: false,
    envFile: false,
    publicDir: false,
    appType: 'custom',
    logLevel: 'error',
    clearScreen: false,
    plugins: [wasmKernels()],
    server: { middlewareMode: true, hmr: false, ws: false, watch: null },
    optimizeDeps: { noDiscovery: true, include: [] },
  });
  return { main: (await loader.ssrLoadModule('/src/cli/main.ts')).main, close: () => loader.close() };
}

async function loadBuilt() {
  if (!existsSync(built)) {
    refuse(
      checkout
        ? 'expected Vite, which runs the sources of a checkout, found none; run `npm install` in it, without --omit=dev'
        : `expected the command line in ${built}, found none; install tabmesh again (a checkout needs its package-lock.json)`,
    );
  }
  return { main: (await import(pathToFileURL(built).href)).main, close: () => undefined };
}

async function run() {
  const vite = checkout ? await loadVite() : undefined;
  try {
    const { main, close } = vite ? await loadSources(vite) : await loadBuilt();
    const code = await main(process.argv.slice(2));
    await close();
    return code;
  } catch (error) {
    // A command's own parts are loaded when it is run.
    if (!checkout && error.code === 'ERR_MODULE_NOT_FOUND')
      refuse(`the installation is not whole (${error.message.split('\n')[0]}); install tabmesh again`);
    throw error;
  }
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) refuse(`expected Node 20.19 or newer, got ${process.versions.node}`);
const code = await run();
// Native handles (a GPU, a browser) must not keep a finished command alive. Output to a pipe may still be on its way.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
