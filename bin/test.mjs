#!/usr/bin/env node
// The test command: every kind of test in turn (node, gpu, browser, tabs), each in a process of its own, so that a
// driver or browser that dies takes only its own kind with it. It says where it is and about how long is left. The last
// line is `N passed, N failed`. A test that was skipped, a file that could not be loaded, an error outside of tests and
// a kind that ran no test at all count as failed. Arguments go to vitest: `node bin/test.mjs ring -t 'two ranks'` runs
// only these files and names; TABMESH_TESTS=node,gpu runs only these kinds. --all (`npm run test:all`): all of what is
// exhaustive, of which a sample runs otherwise.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
// A slow or busy machine may take any time; a run in which no test ends for longer than any test's own limit has hung.
const SILENCE_LIMIT_MS = 20 * 60_000;
const INSIST_MS = 10_000;
const LINE_EVERY_MS = 30_000;
const kinds = process.env.TABMESH_TESTS?.split(',') ?? ['node', 'gpu', 'browser', 'tabs'];
const all = process.argv.includes('--all');
const filters = process.argv.slice(2).filter((word) => word !== '--all');
const words = filters.filter((word, i) => !word.startsWith('-') && !(filters[i - 1] ?? '').startsWith('-'));
const work = mkdtempSync(join(tmpdir(), 'tabmesh-test-'));

/** Loads one of our TypeScript files. */
const load = async (path) =>
  (await runnerImport(join(root, path), { root, configFile: false, envFile: false, logLevel: 'error' })).module;

let child;
let stopped = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    // The second time nothing is waited for.
    signalAll(stopped ? 'SIGKILL' : signal);
    stopped = true;
    setTimeout(() => signalAll('SIGKILL'), INSIST_MS).unref();
  });
}

/** Signals the running kind with all that it started: workers in the middle of a loop, browsers. */
function signalAll(signal) {
  if (child?.pid === undefined) return;
  try {
    if (process.platform === 'win32') child.kill(signal);
    else process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/**
 * Runs one kind of test and streams its progress. Resolves to the exit code (null if it was killed) and the seconds of
 * each file.
 * @param progress TestProgress of all kinds.
 */
function runVitest(kind, reportFile, progress) {
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  // Narrowed by the user, a kind may have no file; otherwise that is a failure.
  const narrowed = filters.length > 0 ? ['--passWithNoTests'] : [];
  const reporters = [
    `--reporter=${join(root, 'src/cli/testing/reporter.ts')}`,
    '--reporter=json',
    `--outputFile.json=${reportFile}`,
  ];
  const startedAt = performance.now();
  const seconds = {};
  let saidAt = startedAt;
  let heardAt = startedAt;
  console.log(`\n${progress.headline(kind, startedAt)}`);
  child = spawn(process.execPath, [vitest, 'run', '--project', kind, ...reporters, ...narrowed, ...filters], {
    // A group of its own, so that nothing of it is left behind.
    cwd: root,
    env: { ...process.env, ...(all ? { TABMESH_TEST_ALL: '1' } : {}) },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    detached: process.platform !== 'win32',
  });
  const say = (now) => {
    saidAt = now;
    const running = progress.running(kind);
    console.log(`${progress.line(kind, now)}${running.length > 0 ? `; running ${running.join(', ')}` : ''}`);
  };
  child.on('message', (message) => {
    const now = performance.now();
    heardAt = now;
    if (message.kind === 'planned') progress.planned(kind, message.files);
    else if (message.kind === 'began') progress.began(kind, message.file, now);
    else if (message.kind === 'finished')
      seconds[message.file] = Math.round(10 * progress.finished(kind, message.file, now)) / 10;
  });
  let insist;
  const watch = setInterval(() => {
    const now = performance.now();
    if (now - saidAt >= LINE_EVERY_MS) say(now);
    if (now - heardAt < SILENCE_LIMIT_MS || insist !== undefined) return;
    console.error(
      `${kind}: no test has ended for ${SILENCE_LIMIT_MS / 60_000} minutes; ending this kind (running: ${progress.running(kind).join(', ') || 'no file'})`,
    );
    signalAll('SIGTERM');
    insist = setTimeout(() => signalAll('SIGKILL'), INSIST_MS);
  }, 1000);
  return new Promise((resolve) => {
    const end = (code) => {
      clearInterval(watch);
      clearTimeout(insist);
      signalAll('SIGKILL');
      child = undefined;
      progress.ended(kind);
      resolve({ code, files: seconds, wall: Math.round((performance.now() - startedAt) / 100) / 10 });
    };
    child.on('error', () => end(null));
    child.on('exit', end);
  });
}

const total = { passed: 0, failed: 0 };
const failures = [];
try {
  const { ensureChromium } = await load('src/cli/machine/browser.ts');
  const { ensureFirefox } = await load('src/cli/machine/firefox.ts');
  const { countReport } = await load('src/cli/testing/test-count.ts');
  const { TestProgress } = await load('src/cli/testing/progress.ts');
  const { readDurations, rememberDurations, testFiles } = await load('src/cli/testing/durations.ts');
  for (const [name, ensure] of [
    ['CHROME_PATH', ensureChromium],
    ['FIREFOX_PATH', ensureFirefox],
  ]) {
    try {
      process.env[name] = ensure((line) => console.log(line));
    } catch (error) {
      // The tests that need no browser still run; the others fail and say the same.
      console.error(error.message);
    }
  }
  const progress = new TestProgress(testFiles(root, kinds, words), readDurations(root), performance.now());
  for (const kind of kinds) {
    if (stopped) break;
    const reportFile = join(work, `${kind}.json`);
    const { code, files, wall } = await runVitest(kind, reportFile, progress);
    const {
      passed,
      failed,
      failures: own,
    } = countReport(existsSync(reportFile) ? readFileSync(reportFile, 'utf8') : undefined, code, filters.length > 0);
    failures.push(...own.map((failure) => `failed: ${kind}: ${failure.replaceAll(root, '')}`));
    if (filters.length === 0 && !all && failed === 0) rememberDurations(root, kind, { wall, files });
    total.passed += passed;
    total.failed += failed;
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
if (total.passed + total.failed === 0) total.failed = 1;
if (stopped) {
  console.error('stopped before all tests had run');
  total.failed += 1;
}
// Again at the end: they happened thousands of lines ago.
for (const failure of failures) console.error(failure);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;
