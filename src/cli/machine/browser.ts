// Finds the Chromium-family browser of this machine for demos, benches and tests; Chrome, Chromium and Edge run the
// same code. Order: CHROME_PATH, then the usual places of this platform, then the PATH, then what Playwright has
// downloaded. Only a root user on Debian or Ubuntu gets a browser installed, and is told so; everybody else is told
// what to install.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { homedir } from 'node:os';
import { NoDeviceError } from '../../base/errors.ts';

export interface LaunchOptions {
  readonly executablePath: string;
  readonly headless: boolean;
  readonly args: string[];
  readonly ignoreDefaultArgs: string[];
}

const NAMES = [
  'google-chrome',
  'google-chrome-stable',
  'chromium',
  'chromium-browser',
  'microsoft-edge',
  'microsoft-edge-stable',
  'google-chrome-beta',
  'google-chrome-unstable',
];

function usualPlaces(platform: NodeJS.Platform, env: NodeJS.ProcessEnv): string[] {
  if (platform === 'darwin') {
    const apps = ['Google Chrome', 'Chromium', 'Microsoft Edge', 'Google Chrome Canary'];
    return ['/Applications', join(homedir(), 'Applications')].flatMap((folder) =>
      apps.map((app) => join(folder, `${app}.app`, 'Contents', 'MacOS', app)),
    );
  }
  if (platform === 'win32') {
    const roots = [env['PROGRAMFILES'], env['PROGRAMFILES(X86)'], env['LOCALAPPDATA']].filter(
      (root) => root !== undefined,
    );
    const apps = [
      ['Google', 'Chrome', 'Application', 'chrome.exe'],
      ['Microsoft', 'Edge', 'Application', 'msedge.exe'],
      ['Chromium', 'Application', 'chrome.exe'],
    ];
    return apps.flatMap((app) => roots.map((root) => join(root, ...app)));
  }
  return ['/usr/bin', '/usr/local/bin', '/snap/bin', '/opt/google/chrome', '/opt/microsoft/msedge'].flatMap((folder) =>
    [...NAMES, 'chrome', 'msedge'].map((name) => join(folder, name)),
  );
}

/**
 * Full Chromium builds of Playwright's cache, newest first. Its headless shell is left out: that is built without
 * WebGPU.
 */
function playwrightDownloads(platform: NodeJS.Platform, env: NodeJS.ProcessEnv): string[] {
  const cache =
    platform === 'darwin'
      ? join(homedir(), 'Library', 'Caches')
      : platform === 'win32'
        ? (env['LOCALAPPDATA'] ?? homedir())
        : join(homedir(), '.cache');
  const folder = env['PLAYWRIGHT_BROWSERS_PATH'] ?? join(cache, 'ms-playwright');
  if (!existsSync(folder)) return [];
  const builds = readdirSync(folder)
    .filter((name) => /^chromium-\d+$/.test(name))
    .sort((a, b) => Number(b.slice(9)) - Number(a.slice(9)));
  const binaries = [
    'chrome-linux/chrome',
    'chrome-linux64/chrome',
    'chrome-win/chrome.exe',
    'chrome-win64/chrome.exe',
    'chrome-mac/Chromium.app/Contents/MacOS/Chromium',
    'chrome-mac-arm64/Google Chrome for Testing.app/Contents/MacOS/Google Chrome for Testing',
  ];
  return builds.flatMap((build) => binaries.map((binary) => join(folder, build, binary)));
}

/**
 * The path of an installed Chrome, Chromium or Edge; undefined if there is none. A CHROME_PATH that does not exist is
 * an error.
 */
export function findBrowser(
  platform: NodeJS.Platform = process.platform,
  env: NodeJS.ProcessEnv = process.env,
  exists: (path: string) => boolean = existsSync,
): string | undefined {
  const chosen = env['CHROME_PATH'] ?? env['PLAYWRIGHT_CHROMIUM_EXECUTABLE_PATH'];
  if (chosen) {
    if (exists(chosen)) return chosen;
    throw new NoDeviceError(`browser: CHROME_PATH is ${chosen}, which does not exist; correct it or unset it`);
  }
  const onPath =
    platform === 'win32'
      ? []
      : (env['PATH'] ?? '')
          .split(delimiter)
          .filter(Boolean)
          .flatMap((folder) => NAMES.map((name) => join(folder, name)));
  return [...usualPlaces(platform, env), ...onPath, ...playwrightDownloads(platform, env)].find((path) => exists(path));
}

/** What to tell somebody who has no browser, by platform. */
export function installHint(platform: NodeJS.Platform = process.platform): string {
  const how =
    platform === 'darwin'
      ? 'brew install --cask google-chrome'
      : platform === 'win32'
        ? 'winget install Google.Chrome'
        : 'sudo apt-get install chromium';
  return `browser: expected Chrome, Chromium or Edge, found none; install one (${how}) or set CHROME_PATH to it`;
}

/** True where packages can be installed without asking: root, with apt-get. */
export function canInstallPackages(): boolean {
  return (
    process.platform === 'linux' &&
    process.getuid?.() === 0 &&
    existsSync('/usr/bin/apt-get') &&
    existsSync('/etc/debian_version')
  );
}

/**
 * Installs a Debian package, with lists got anew where the first try fails. Whether it is there then is for the caller
 * to see.
 */
export function installPackage(name: string): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: string[]): boolean =>
    spawnSync('apt-get', args, { stdio: ['ignore', 'ignore', 'inherit'], env }).status === 0;
  const install = (): boolean => apt('install', '-y', '-q', '--no-install-recommends', name);
  if (install()) return;
  apt('update', '-q');
  install();
}

/**
 * The browser of this machine. Without one, a root user on Debian gets Chromium from apt-get (said through `say`);
 * others get NoDeviceError.
 */
export function ensureChromium(say: (line: string) => void): string {
  const found = findBrowser();
  if (found !== undefined) return found;
  if (!canInstallPackages()) throw new NoDeviceError(installHint());
  say('no Chrome, Chromium or Edge found; installing Chromium with apt-get');
  installPackage('chromium');
  const installed = findBrowser();
  if (installed === undefined) throw new NoDeviceError(`${installHint()} (apt-get could not install it)`);
  return installed;
}

/**
 * How every demo and test starts the browser. `--enable-unsafe-webgpu` lets a machine without a GPU run on SwiftShader;
 * the sandbox is off only for root, who cannot have it.
 */
export function launchOptions(executablePath: string, headless = true): LaunchOptions {
  const root = process.platform === 'linux' && process.getuid?.() === 0;
  return {
    executablePath,
    headless,
    ignoreDefaultArgs: [],
    args: [
      ...(root ? ['--no-sandbox'] : []),
      '--enable-unsafe-webgpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  };
}

/** One sentence from the many lines that a browser's driver leaves. `report`: what it said. */
export function whyNotStarted(executable: string, headless: boolean, report: string): string {
  const how =
    process.env['CHROME_PATH'] || process.env['PLAYWRIGHT_CHROMIUM_EXECUTABLE_PATH']
      ? 'correct CHROME_PATH or unset it'
      : 'set CHROME_PATH to another Chrome, Chromium or Edge';
  if (
    !headless &&
    /Missing X server|Unable to open X display|cannot open display|ozone_platform_x11|Failed to connect to Wayland/i.test(
      report,
    )
  ) {
    return `browser: no window can be opened on display ${process.env['DISPLAY'] || process.env['WAYLAND_DISPLAY'] || '(none)'}; correct DISPLAY, or add --headless`;
  }
  if (/\b(EACCES|ENOEXEC|ENOENT|ENOTDIR|EISDIR)\b|Exec format error/.test(report))
    return `browser: ${executable} is no program that this user may start; ${how}`;
  const ended = /exitCode=(\d+|null)(?:, signal=(\w+))?/.exec(report);
  const end =
    ended === null ? '' : ` (it ended with ${ended[2] && ended[2] !== 'null' ? ended[2] : `exit code ${ended[1]}`})`;
  const library = /error while loading shared libraries: ([\w.+-]+)/.exec(report)?.[1];
  if (library !== undefined) return `browser: ${executable} lacks the library ${library}; install it, or ${how}`;
  if (/Timeout .* exceeded/.test(report)) return `browser: ${executable} did not answer in time; ${how}`;
  return `browser: ${executable} does not start${end}; start it by hand to see why, or ${how}`;
}
