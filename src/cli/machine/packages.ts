// Debian packages for tests, without installing what would change the machine: a program or driver is downloaded and
// unpacked into our own cache folder (an installed driver would be picked up by browsers, an installed server would
// start); only libraries that it lacks are installed, and those replace nothing.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { NoDeviceError } from '../../base/errors.ts';

/** Runs a tool and gives its stdout; a failure is a NoDeviceError that starts with `what`. */
export function runTool(
  what: string,
  name: string,
  args: readonly string[],
  options: { cwd?: string; aptConfig?: string } = {},
): string {
  const env = {
    ...process.env,
    LC_ALL: 'C',
    DEBIAN_FRONTEND: 'noninteractive',
    ...(options.aptConfig === undefined ? {} : { APT_CONFIG: options.aptConfig }),
  };
  const { status, stdout, stderr } = spawnSync(name, args, { cwd: options.cwd, env, encoding: 'utf8' });
  if (status !== 0)
    throw new NoDeviceError(
      `${what}: \`${name} ${args.join(' ')}\` failed (${status}): ${(stderr || stdout || '').trim().split('\n').at(-1)}`,
    );
  return stdout;
}

/** Our own copy of `what` lies in this folder. */
export function cacheFolder(what: string): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'tabmesh', what);
}

/**
 * A fresh machine has no package lists yet: tries again after getting them; the second failure is the one to report.
 */
export function withLists(what: string, ask: () => void): void {
  try {
    ask();
  } catch {
    runTool(what, 'apt-get', ['update', '-q']);
    ask();
  }
}

/** Downloads a package into the empty folder `work` and gives its file's path. */
export function downloadPackage(what: string, name: string, work: string, aptConfig?: string): string {
  runTool(what, 'apt-get', ['download', '-q', name], { cwd: work, ...(aptConfig === undefined ? {} : { aptConfig }) });
  const file = readdirSync(work).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith('.deb'));
  if (file === undefined) throw new NoDeviceError(`${what}: apt-get download left no ${name} package`);
  return join(work, file);
}

/** Names of a Depends field without versions, alternatives and drivers of real GPUs. */
export function plainDependencies(depends: string): string[] {
  return depends
    .split(',')
    .map((part) =>
      part
        .split('|')[0]
        .replace(/\(.*\)/, '')
        .trim(),
    )
    .filter((name) => name !== '' && !/^libdrm-|^libc6$|^libgcc-s1$/.test(name));
}

export function installLibraries(what: string, names: readonly string[], say: (line: string) => void): void {
  say(`${what}: installing libraries that are missing: ${names.join(' ')}`);
  withLists(what, () => {
    runTool(what, 'apt-get', [
      'install',
      '-y',
      '-q',
      '--no-install-recommends',
      '--no-upgrade',
      '--no-remove',
      ...names,
    ]);
  });
}

/**
 * Installs those packages that `deb` depends on and `wanted` takes, if the program or driver `binary` unpacked from it
 * lacks a library.
 */
export function completeLibraries(
  what: string,
  binary: string,
  deb: string,
  say: (line: string) => void,
  wanted: (name: string) => boolean = () => true,
): void {
  const missing = () =>
    runTool(what, 'ldd', [binary])
      .split('\n')
      .filter((line) => line.includes('not found'))
      .map((line) => line.trim().split(' ')[0]);
  if (missing().length === 0) return;
  installLibraries(what, plainDependencies(runTool(what, 'dpkg-deb', ['-f', deb, 'Depends'])).filter(wanted), say);
  if (missing().length > 0)
    throw new NoDeviceError(`${what}: it needs ${missing().join(', ')}, which no package provided`);
}
