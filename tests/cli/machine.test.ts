// Finding browsers and drivers, without any of them: platform, environment and files are arguments or texts.

import { describe, expect, it } from 'vitest';
import { findBrowser, installHint, launchOptions, whyNotStarted } from '../../src/cli/machine/browser.ts';
import { findFirefox, firefoxHint } from '../../src/cli/machine/firefox.ts';
import { findTurnserver } from '../../src/cli/machine/coturn.ts';
import { backportsList, backportsSources } from '../../src/cli/machine/lavapipe.ts';
import { plainDependencies } from '../../src/cli/machine/packages.ts';

describe('findBrowser', () => {
  const only =
    (...present: string[]) =>
    (path: string) =>
      present.includes(path);
  it('takes CHROME_PATH first and refuses one that does not exist', () => {
    expect(findBrowser('linux', { CHROME_PATH: '/my/chrome' }, only('/my/chrome', '/usr/bin/chromium'))).toBe(
      '/my/chrome',
    );
    expect(() => findBrowser('linux', { CHROME_PATH: '/my/chrome' }, only('/usr/bin/chromium'))).toThrow(
      'browser: CHROME_PATH is /my/chrome, which does not exist; correct it or unset it',
    );
  });
  it('knows the usual places of each platform', () => {
    expect(findBrowser('linux', {}, only('/usr/bin/chromium'))).toBe('/usr/bin/chromium');
    expect(findBrowser('linux', { PATH: '/odd/bin' }, only('/odd/bin/google-chrome'))).toBe('/odd/bin/google-chrome');
    const mac = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome';
    expect(findBrowser('darwin', {}, only(mac))).toBe(mac);
    expect(findBrowser('win32', { PROGRAMFILES: 'C:' }, (path) => path.endsWith('msedge.exe'))).toContain('msedge.exe');
  });
  it('finds nothing where there is nothing, and each platform hears how to install one', () => {
    expect(findBrowser('linux', {}, () => false)).toBeUndefined();
    for (const platform of ['linux', 'darwin', 'win32'] as const)
      expect(installHint(platform)).toMatch(
        /^browser: expected Chrome, Chromium or Edge, found none; install one \(.+\) or set CHROME_PATH to it$/,
      );
  });
  it('always starts the browser with WebGPU', () => {
    expect(launchOptions('/usr/bin/chromium', false)).toMatchObject({
      executablePath: '/usr/bin/chromium',
      headless: false,
      args: expect.arrayContaining(['--enable-unsafe-webgpu']),
    });
  });
});

describe('findFirefox', () => {
  const only =
    (...present: string[]) =>
    (path: string) =>
      present.includes(path);
  it('takes FIREFOX_PATH first, then the usual places, then the PATH', () => {
    expect(findFirefox('linux', { FIREFOX_PATH: '/my/fox' }, only('/my/fox', '/usr/bin/firefox-esr'))).toBe('/my/fox');
    expect(() => findFirefox('linux', { FIREFOX_PATH: '/my/fox' }, only('/usr/bin/firefox-esr'))).toThrow(
      'firefox: FIREFOX_PATH is /my/fox, which does not exist; correct it or unset it',
    );
    expect(findFirefox('linux', { PATH: '/odd/bin' }, only('/usr/bin/firefox-esr', '/odd/bin/firefox'))).toBe(
      '/usr/bin/firefox-esr',
    );
    expect(findFirefox('linux', { PATH: '/odd/bin' }, only('/odd/bin/firefox'))).toBe('/odd/bin/firefox');
    expect(findFirefox('darwin', {}, only('/Applications/Firefox.app/Contents/MacOS/firefox'))).toMatch(/Firefox\.app/);
    expect(findFirefox('win32', { PROGRAMFILES: 'C:' }, (path) => path.endsWith('firefox.exe'))).toMatch(
      /Mozilla Firefox/,
    );
  });
  it('finds nothing where there is nothing, and each platform hears how to install it', () => {
    expect(findFirefox('linux', {}, () => false)).toBeUndefined();
    for (const platform of ['linux', 'darwin', 'win32'] as const)
      expect(firefoxHint(platform)).toMatch(/^firefox: expected Firefox .*; install one \(.+\) or set FIREFOX_PATH/);
  });
});

it('a browser that does not start is told in one sentence', () => {
  // What Playwright says, as it was seen, shortened.
  const launch =
    'browserType.launch: Target page, context or browser has been closed\nBrowser logs:\n\n<launching> /b --no-sandbox\n';
  const cases: readonly (readonly [string, boolean, RegExp])[] = [
    [
      `${launch}<launched> pid=1\n[pid=1][err] Missing X server or $DISPLAY\n[pid=1] <process did exit: exitCode=1, signal=null>`,
      false,
      /^browser: no window can be opened on display .*; correct DISPLAY, or add --headless$/,
    ],
    [
      `${launch}<launched> pid=1\n[pid=1] <process did exit: exitCode=3, signal=null>`,
      true,
      /^browser: \/b does not start \(it ended with exit code 3\); start it by hand/,
    ],
    [
      `${launch}<launched> pid=1\n[pid=1] <process did exit: exitCode=null, signal=SIGSEGV>`,
      true,
      /^browser: \/b does not start \(it ended with SIGSEGV\)/,
    ],
    [
      `${launch}[pid=1][err] /b: error while loading shared libraries: libnss3.so: cannot open`,
      true,
      /^browser: \/b lacks the library libnss3\.so; install it/,
    ],
    [
      'browserType.launch: Failed to launch: Error: spawn /b EACCES\nCall log:\n  - x',
      true,
      /^browser: \/b is no program that this user may start/,
    ],
    ['browserType.launch: Timeout 180000ms exceeded.\nCall log', true, /^browser: \/b did not answer in time/],
    ['something else\nentirely', true, /^browser: \/b does not start; start it by hand/],
  ];
  for (const [report, headless, sentence] of cases) {
    const said = whyNotStarted('/b', headless, report);
    expect(said).toMatch(sentence);
    expect(said).not.toContain('\n');
  }
});

it('turnserver is found on the PATH first, then in the usual places and in our own copy', () => {
  expect(
    findTurnserver({ PATH: '/odd/bin' }, (path) => ['/odd/bin/turnserver', '/usr/bin/turnserver'].includes(path)),
  ).toBe('/odd/bin/turnserver');
  expect(findTurnserver({}, (path) => path === '/usr/bin/turnserver')).toBe('/usr/bin/turnserver');
  expect(findTurnserver({}, (path) => path.endsWith('/tabmesh/coturn/turnserver'))).toMatch(/tabmesh/);
  expect(findTurnserver({}, () => false)).toBeUndefined();
});

describe('backports', () => {
  const SOURCES = [
    '# note',
    'Types: deb',
    'URIs: http://mirror.example/debian',
    'Suites: bookworm bookworm-updates',
    'Components: main',
    '',
    'Types: deb',
    'URIs: http://mirror.example/debian-security',
    'Suites: bookworm-security',
    'Components: main',
    '',
  ].join('\n');
  it('derives its source from the sources of the machine, without security and other suites', () => {
    expect(backportsSources(SOURCES, 'bookworm')).toBe(
      'Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\n',
    );
    expect(backportsSources(SOURCES, 'trixie')).toBe('');
  });
  it('reads one-line sources too', () => {
    const list =
      '# deb http://old.example/debian bookworm main\ndeb [signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib\ndeb http://mirror.example/debian bookworm-updates main\n';
    expect(backportsList(list, 'bookworm')).toBe(
      'deb [signed-by=/k.gpg] http://mirror.example/debian bookworm-backports main contrib\n',
    );
  });
  it('asks only for libraries, of any version', () => {
    expect(
      plainDependencies('libvulkan1, libc6 (>= 2.34), libdrm2 (>= 2.4.121), libllvm15 | libllvm16, libxcb1 (>= 1.9.2)'),
    ).toEqual(['libvulkan1', 'libdrm2', 'libllvm15', 'libxcb1']);
  });
});
