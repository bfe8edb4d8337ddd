// npm's `prepare`: links node_modules/.bin/tabmesh to bin/tabmesh.mjs, which npm does for dependencies but not for the
// package itself, so that `npx tabmesh` works in a fresh checkout. An install must never fail because of it.

import { chmodSync, existsSync, lstatSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

try {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const folder = join(root, 'node_modules', '.bin');
  const link = join(folder, 'tabmesh');
  if (existsSync(join(root, 'node_modules'))) {
    mkdirSync(folder, { recursive: true });
    if (lstatSync(link, { throwIfNoEntry: false })) rmSync(link);
    chmodSync(join(root, 'bin', 'tabmesh.mjs'), 0o755);
    if (process.platform === 'win32') writeFileSync(`${link}.cmd`, '@node "%~dp0\\..\\..\\bin\\tabmesh.mjs" %*\r\n');
    else symlinkSync(join('..', '..', 'bin', 'tabmesh.mjs'), link);
  }
} catch (error) {
  console.warn(`tabmesh: could not link the command (${error.message}); use: node bin/tabmesh.mjs`);
}
