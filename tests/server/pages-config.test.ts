// What is bundled before a page asks follows from the sources: a library of the bench is listed by the file that loads
// it.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { benchPackages, packagesIn } from '../../src/server/pages/config.ts';

it('the libraries that the bench compares with are found where they are loaded', () => {
  const why =
    'what loads a library (a file of peers/) had it bundled when a page first asked, and that page reloaded in the ' +
    'middle; a library that was added or dropped on purpose is added to this list or dropped from it';
  expect(benchPackages(fileURLToPath(new URL('../..', import.meta.url))).sort(), why).toEqual([
    '@jax-js/jax',
    '@tensorflow/tfjs-backend-wasm',
    '@tensorflow/tfjs-backend-webgpu',
    '@tensorflow/tfjs-core',
    '@tensorflow/tfjs-core/dist/register_all_gradients',
    '@trystero-p2p/core',
    'peerjs',
    'simple-peer/simplepeer.min.js',
  ]);
});

it('a new file of peers/ adds its package, and a folder without a bench has none', () => {
  const root = mkdtempSync(join(tmpdir(), 'tabmesh-pages-'));
  try {
    expect(benchPackages(root)).toEqual([]);
    mkdirSync(join(root, 'src/bench/peers'), { recursive: true });
    writeFileSync(join(root, 'src/bench/peers/x.ts'), "const x = await import('some-library/webgpu');\n");
    expect(benchPackages(root)).toEqual(['some-library/webgpu']);
  } finally {
    rmSync(root, { recursive: true });
  }
});

it.each([
  ["import { a } from 'x';", ['x']],
  ["import {\n  a,\n  b,\n} from '@x/y/z.js';", ['@x/y/z.js']],
  ["import * as x from 'x';\nimport 'x/more';", ['x', 'x/more']],
  ["export { a } from 'x';", ['x']],
  ["  const x = loaders.x?.() ?? import('x');", ['x']],
  ["import type * as x from 'x';", []],
  ["import type { A } from 'x';\nimport { b } from 'y';", ['y']],
  ["import { a } from './x.ts';\nimport { readFileSync } from 'node:fs';", []],
])('of %j the packages are %j', (text, names) => {
  expect(packagesIn(text)).toEqual(names);
});
