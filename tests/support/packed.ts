// Packages as their users get them: packed by npm, unpacked or installed in a folder of their own.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Packed {
  readonly tarball: string;
  readonly files: readonly string[];
  readonly bytes: number;
  readonly unpackedBytes: number;
}

export function temporaryFolder(name: string): string {
  return mkdtempSync(join(tmpdir(), `tabmesh-${name}-`));
}

/** npm without its questions to the registry about versions, audits and funds; throws with what it said. */
export function npm(args: readonly string[], cwd: string): string {
  try {
    return execFileSync('npm', [...args, '--no-audit', '--no-fund', '--no-update-notifier', '--prefer-offline'], {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: process.platform === 'win32',
    });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`npm ${args.join(' ')} in ${cwd}: ${stderr}\n${stdout}`, { cause: error });
  }
}

/** `npm pack`, with the package's own scripts, into `destination`. */
export function pack(folder: string, destination: string): Packed {
  const said = npm(['pack', '--json', '--pack-destination', destination], folder);
  // Scripts may have printed before the answer.
  const [{ filename, files, size, unpackedSize }] = JSON.parse(said.slice(said.search(/^\[/m))) as [
    { filename: string; files: { path: string }[]; size: number; unpackedSize: number },
  ];
  return {
    tarball: join(destination, filename),
    files: files.map(({ path }) => path),
    bytes: size,
    unpackedBytes: unpackedSize,
  };
}

/** Unpacks into node_modules of `project`, as an installation does. */
export function unpack({ tarball }: Packed, project: string, name: string): string {
  const folder = join(project, 'node_modules', name);
  mkdirSync(folder, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', folder]);
  return folder;
}

/**
 * What this repository's commit would hold, in a folder of its own, with our node_modules: built there, nothing here
 * changes.
 */
export function copyOfRepository(): string {
  const folder = temporaryFolder('copy');
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  for (const file of listed.split('\0').filter(Boolean)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(join(ROOT, file), join(folder, file), { force: true, recursive: true });
  }
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}
