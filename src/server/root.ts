// The folder of this package: in a checkout, in node_modules, and when this code is part of a bundle.

import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InternalError } from '../base/errors.ts';

/** The nearest folder above this file that holds a package.json, by its real path. Without a slash at the end. */
export function packageRoot(from: string = fileURLToPath(import.meta.url)): string {
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return realpathSync(folder);
    if (dirname(folder) === folder) throw new InternalError(`no package.json above ${from}`);
  }
}

/** As package.json says. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
  return version;
}

/** Whether `root` is a checkout, whose sources are used as they are; npm never publishes a package-lock.json. */
export function isCheckout(root: string): boolean {
  return existsSync(join(root, 'package-lock.json')) && existsSync(join(root, 'src'));
}
