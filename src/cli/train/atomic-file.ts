// Files that are whole or not there: new content is written and synced beside its file and then renamed over it. A
// crash, a full disk or a kill leaves the old file; what is replaced can stay as FILE.previous. A device or a pipe
// (/dev/stdout, a FIFO) has nothing beside it and is written directly.

import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs';
import type { Stats } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { FileError } from '../../base/errors.ts';
import { formatBytes } from '../../base/format-bytes.ts';
import { endless } from '../../server/whole-file.ts';

/** One file and what shall stand in it. */
export interface NewFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** writeSync takes at most 2^31 - 1 bytes. */
const CHUNK_BYTES = 2 ** 30;
const MAX_LINKS = 40;

/** Where the generation before `path` is kept. */
export function previousOf(path: string): string {
  return `${realTarget(path)}.previous`;
}

/**
 * Replaces all of `files`, or none when one of them cannot be written. With `keep`, what stood there before stays as
 * FILE.previous. FileError with the system's reason.
 */
export function replaceFiles(files: readonly NewFile[], { keep }: { readonly keep: boolean }): void {
  const written: { readonly path: string; readonly target: string; readonly temporary: string }[] = [];
  try {
    for (const { path, bytes } of files) {
      const target = realTarget(path);
      const there = told(path, () => existing(target));
      if (there && !there.isFile()) {
        told(path, () => writeDirectly(target, bytes));
        continue;
      }
      const temporary = temporaryOf(target);
      written.push({ path, target, temporary });
      told(path, () => {
        makeFolder(path, dirname(target));
        writeSynced(temporary, bytes, there && there.mode & 0o777);
      });
    }
    for (const { path, target, temporary } of written) {
      told(path, () => {
        if (keep && existing(target)) keepPrevious(target);
        renameSync(temporary, target);
      });
    }
  } finally {
    for (const { temporary } of written) if (existing(temporary)) rmSync(temporary);
  }
  for (const folder of new Set(written.map(({ target }) => dirname(target)))) syncFolder(folder);
}

/**
 * Tries whether `bytes` bytes could be written to `path`: makes its folder and a file of that size beside it, and
 * removes the file again. FileError says what is in the way.
 */
export function tryFile(path: string, bytes: number): void {
  if (/[/\\]$/.test(path)) throw new FileError(path, 'it names a folder; give the name of a file');
  const target = realTarget(path);
  told(path, () => {
    const there = existing(target);
    if (there?.isDirectory()) throw new FileError(path, 'a folder of that name is there; give the name of a file');
    const problem = there && endless(path, there);
    if (problem !== undefined) throw new FileError(path, problem);
    if (there) accessSync(target, constants.W_OK);
    if (there && !there.isFile()) return;
    makeFolder(path, dirname(target));
    removeLeftovers(target);
    const temporary = temporaryOf(target);
    const file = openSync(temporary, 'w');
    try {
      // A limit on the size of files shows here already; the bytes stay unwritten.
      ftruncateSync(file, bytes);
      writeSync(file, Uint8Array.of(0));
    } finally {
      closeSync(file);
      rmSync(temporary, { force: true });
    }
    const { blocks, bavail, bsize } = statfsSync(dirname(target));
    if (blocks > 0 && bavail * bsize < bytes)
      throw new FileError(
        path,
        `it needs about ${formatBytes(bytes)}, but its disk has ${formatBytes(bavail * bsize)} left; free some, or choose another place`,
      );
  });
}

/** The system would say EEXIST or ENOTDIR of a file that stands where a folder should. */
function makeFolder(path: string, folder: string): void {
  let above = folder;
  while (!existing(above) && dirname(above) !== above) above = dirname(above);
  if (existing(above)?.isDirectory() === false)
    throw new FileError(path, `'${above}' is a file, and nothing can lie below it; choose another path`);
  mkdirSync(folder, { recursive: true });
}

/** The file that a write to `path` reaches: links are followed, also one to a file that is not there yet. */
export function realTarget(path: string): string {
  let at = resolve(path);
  // What /dev/stdout leads to may have no name of its own.
  const there = told(path, () => existing(at));
  if (there && !there.isFile() && !there.isDirectory()) return at;
  for (let links = 0; links < MAX_LINKS; links++) {
    const folder = realFolder(dirname(at));
    const whole = join(folder, basename(at));
    if (!existing(whole, lstatSync)?.isSymbolicLink()) return whole;
    at = resolve(folder, readlinkSync(whole));
  }
  throw new FileError(path, 'its symbolic links go round in a circle');
}

/** As far as the folder exists. */
function realFolder(folder: string): string {
  try {
    return realpathSync(folder);
  } catch {
    const parent = dirname(folder);
    return parent === folder ? folder : join(realFolder(parent), basename(folder));
  }
}

/** What stands at `path`, or its link with lstatSync; undefined if nothing does, or nothing can. */
export function existing(path: string, look: (path: string) => Stats = statSync): Stats | undefined {
  try {
    return look(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return undefined;
    throw error;
  }
}

/** Runs `work`; what the system refuses becomes a FileError of `path`. */
function told<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof FileError) throw error;
    throw new FileError(path, error instanceof Error ? error.message : String(error));
  }
}

function temporaryOf(target: string): string {
  return `${target}.${process.pid}.partial`;
}

/** What processes that were killed have left beside `target`. */
function removeLeftovers(target: string): void {
  const name = basename(target);
  for (const entry of readdirSync(dirname(target))) {
    const pid = entry.startsWith(`${name}.`) ? /^\.(\d+)\.partial$/.exec(entry.slice(name.length))?.[1] : undefined;
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(dirname(target), entry), { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, Math.min(CHUNK_BYTES, bytes.length - at));
}

function writeSynced(path: string, bytes: Uint8Array, mode = 0o666): void {
  const file = openSync(path, 'w', mode);
  try {
    writeAll(file, bytes);
    // A rename may reach the disk before the content does.
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function writeDirectly(path: string, bytes: Uint8Array): void {
  const file = openSync(path, 'a');
  try {
    writeAll(file, bytes);
  } finally {
    closeSync(file);
  }
}

/**
 * At every moment either `target` or its previous generation is whole, and `target` is there as long as the file system
 * has hard links.
 */
function keepPrevious(target: string): void {
  const previous = `${target}.previous`;
  const link = temporaryOf(previous);
  try {
    rmSync(link, { force: true });
    linkSync(target, link);
  } catch {
    renameSync(target, previous);
    return;
  }
  renameSync(link, previous);
}

/** Makes the renames last; not every system can. */
function syncFolder(folder: string): void {
  try {
    const file = openSync(folder, 'r');
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch {
    // The files themselves are synced and whole.
  }
}
