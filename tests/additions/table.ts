// The table of docs/adding.md.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const text = readFileSync(fileURLToPath(new URL('../../docs/adding.md', import.meta.url)), 'utf8');

/** The files that an addition called `name` writes and edits, in order. Throws where there is no such row. */
export function pathsOfRow(row: string, name: string, family = ''): string[] {
  const line = text.split('\n').find((one) => one.startsWith(`| [${row}](`));
  if (line === undefined) throw new Error(`docs/adding.md has no row '${row}'`);
  const [, , write, edit] = line.split('|');
  return [...`${write} ${edit}`.matchAll(/`([^`]+)`/g)]
    .map(([, path]) => path.replace('FAMILY', family).replace(/\bx(?=\.[\w.]+$|\/)/, name))
    .sort();
}
