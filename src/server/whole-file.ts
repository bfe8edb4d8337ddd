// A file that is needed whole, from its beginning to its end. What has no end, or nobody at its other end, would be
// waited for in silence: this thread hears no signal while it opens a pipe.

import { readFileSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';

/** What a shell has opened for us, such as <(...), has somebody at its other end. */
const INHERITED = /^\/(dev\/(fd\/|stdin$|stdout$|stderr$)|proc\/)/;

/** What stands in the way of reading or writing all of `path`; undefined for a file, a folder, a pipe of the shell. */
export function endless(path: string, there: Stats): string | undefined {
  if (there.isFIFO() && !INHERITED.test(path)) return 'it is a named pipe; give a file';
  return there.isSocket() ? 'it is a socket; give a file' : undefined;
}

/** The bytes of a file. Throws the system's error, or one that says that it is a device, a pipe or a socket. */
export function readWholeFile(path: string): Uint8Array<ArrayBuffer> {
  const there = statSync(path);
  const problem = there.isCharacterDevice() ? 'it is a device; give a file' : endless(path, there);
  if (problem !== undefined) throw new Error(problem);
  return new Uint8Array(readFileSync(path));
}
