// Finds Firefox, which the tests drive beside Chromium: rooms have members of both. Order: FIREFOX_PATH, the usual
// places of this platform, the PATH. Only a root user on Debian gets one installed (firefox-esr); everybody else is
// told what to install.

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { NoDeviceError } from '../../base/errors.ts';
import { canInstallPackages, installPackage } from './browser.ts';

const NAMES = ['firefox-esr', 'firefox'];

function usualPlaces(platform: NodeJS.Platform, env: NodeJS.ProcessEnv): string[] {
  if (platform === 'darwin') {
    const folders = ['/Applications', join(homedir(), 'Applications')];
    return folders.map((folder) => join(folder, 'Firefox.app', 'Contents', 'MacOS', 'firefox'));
  }
  if (platform === 'win32') {
    const roots = [env['PROGRAMFILES'], env['PROGRAMFILES(X86)'], env['LOCALAPPDATA']].filter(
      (root) => root !== undefined,
    );
    return roots.map((root) => join(root, 'Mozilla Firefox', 'firefox.exe'));
  }
  return ['/usr/bin', '/usr/local/bin', '/opt/firefox', '/snap/bin'].flatMap((folder) =>
    NAMES.map((name) => join(folder, name)),
  );
}

/** The path of an installed Firefox; undefined if there is none. A FIREFOX_PATH that does not exist is an error. */
export function findFirefox(
  platform: NodeJS.Platform = process.platform,
  env: NodeJS.ProcessEnv = process.env,
  exists: (path: string) => boolean = existsSync,
): string | undefined {
  const chosen = env['FIREFOX_PATH'];
  if (chosen) {
    if (exists(chosen)) return chosen;
    throw new NoDeviceError(`firefox: FIREFOX_PATH is ${chosen}, which does not exist; correct it or unset it`);
  }
  const folders = platform === 'win32' ? [] : (env['PATH'] ?? '').split(delimiter).filter(Boolean);
  return [...usualPlaces(platform, env), ...folders.flatMap((folder) => NAMES.map((name) => join(folder, name)))].find(
    (path) => exists(path),
  );
}

/** What to tell somebody who has no Firefox, by platform. */
export function firefoxHint(platform: NodeJS.Platform = process.platform): string {
  const how =
    platform === 'darwin'
      ? 'brew install --cask firefox'
      : platform === 'win32'
        ? 'winget install Mozilla.Firefox'
        : 'sudo apt-get install firefox-esr';
  return `firefox: expected Firefox 141 or newer, found none; install one (${how}) or set FIREFOX_PATH to it`;
}

/**
 * The Firefox of this machine. Without one, a root user on Debian gets it from apt-get (said through `say`); others get
 * NoDeviceError.
 */
export function ensureFirefox(say: (line: string) => void): string {
  const found = findFirefox();
  if (found !== undefined) return found;
  if (!canInstallPackages()) throw new NoDeviceError(firefoxHint());
  say('no Firefox found; installing firefox-esr with apt-get');
  installPackage('firefox-esr');
  const installed = findFirefox();
  if (installed === undefined) throw new NoDeviceError(`${firefoxHint()} (apt-get could not install it)`);
  return installed;
}
