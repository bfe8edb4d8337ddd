#!/usr/bin/env node
// Builds the package @tabmesh/collectives: one ES module without dependencies and its declarations in one file, in
// packages/collectives/dist, and a copy in build/collectives for the subpath tabmesh/collectives (or only in the folder
// given). `npm pack` runs it; in this repository everything imports the sources.

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';
import { dts } from 'rolldown-plugin-dts';

const root = fileURLToPath(new URL('..', import.meta.url));
const given = process.argv[2];
const out = resolve(given ?? join(root, 'packages', 'collectives', 'dist'));

rmSync(out, { recursive: true, force: true });
await build({
  input: join(root, 'src', 'collectives', 'index.ts'),
  tsconfig: join(root, 'tsconfig.json'),
  logLevel: 'warn',
  checks: { pluginTimings: false },
  transform: { target: 'es2023' },
  plugins: [dts({ tsconfig: join(root, 'tsconfig.json') })],
  output: { dir: out, format: 'es' },
});

// Before TypeScript 5.7 arrays were not generic over their buffer.
mkdirSync(join(out, 'ts5.5'));
const declarations = readFileSync(join(out, 'index.d.ts'), 'utf8');
writeFileSync(join(out, 'ts5.5', 'index.d.ts'), declarations.replaceAll(/\b(\w+Array|DataView)<ArrayBuffer>/g, '$1'));

if (given === undefined) cpSync(out, join(root, 'build', 'collectives'), { recursive: true, force: true });
