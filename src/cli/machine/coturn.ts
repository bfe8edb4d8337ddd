// Finds coturn's turnserver for the test of relayed connections, or gives this machine a copy of Debian's. The package
// is unpacked into our own cache folder and not installed, because an installed coturn is a service that listens on all
// interfaces.

import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { NoDeviceError } from '../../base/errors.ts';
import { canInstallPackages } from './browser.ts';
import { cacheFolder, completeLibraries, downloadPackage, runTool, withLists } from './packages.ts';

/** The path of turnserver: of the PATH, of the usual places, or our own copy; undefined if there is none. */
export function findTurnserver(
  env: NodeJS.ProcessEnv = process.env,
  exists: (path: string) => boolean = existsSync,
): string | undefined {
  const folders = [
    ...(env['PATH'] ?? '').split(delimiter).filter(Boolean),
    '/usr/bin',
    '/usr/sbin',
    '/usr/local/bin',
    '/usr/local/sbin',
    cacheFolder('coturn'),
  ];
  return folders.map((folder) => join(folder, 'turnserver')).find((path) => exists(path));
}

/** The same, after getting a copy where that is possible (root on Debian or Ubuntu); otherwise throws NoDeviceError. */
export function ensureTurnserver(say: (line: string) => void): string {
  const found = findTurnserver();
  if (found !== undefined) return found;
  if (!canInstallPackages()) throw new NoDeviceError('coturn: expected turnserver, found none; install coturn');
  const [folder, work] = [cacheFolder('coturn'), mkdtempSync(join(tmpdir(), 'tabmesh-coturn-'))];
  try {
    say(`coturn: downloading it into ${folder} (no service is installed)`);
    let deb = '';
    withLists('coturn', () => {
      deb = downloadPackage('coturn', 'coturn', work);
    });
    runTool('coturn', 'dpkg-deb', ['-x', deb, join(work, 'root')]);
    const unpacked = join(work, 'root', 'usr', 'bin', 'turnserver');
    // The rest of what it depends on are tools for its service.
    completeLibraries('coturn', unpacked, deb, say, (name) => name.startsWith('lib'));
    mkdirSync(folder, { recursive: true });
    // Under its own name only when it is whole.
    copyFileSync(unpacked, join(folder, 'turnserver.part'));
    renameSync(join(folder, 'turnserver.part'), join(folder, 'turnserver'));
    return join(folder, 'turnserver');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
