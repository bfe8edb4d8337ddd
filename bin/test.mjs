#!/usr/bin/env node
// The test command: every kind of test in turn (node, gpu, browser, tabs), each in a process of its own, so that a driver or browser that dies takes
// only its own kind with it. The last line is `N passed, N failed`. A test that was skipped, a file that could not be loaded, an error outside of tests
// and a kind that ran no test at all count as failed. Arguments go to vitest: `node bin/test.mjs ring -t 'two ranks'` runs only these files and names;
// TABMESH_TESTS=node,gpu runs only these kinds.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const PROJECT_LIMIT_MS = 15 * 60_000;
const projects = process.env.TABMESH_TESTS?.split(',') ?? ['node', 'gpu', 'browser', 'tabs'];
const filters = process.argv.slice(2);
const work = mkdtempSync(join(tmpdir(), 'tabmesh-test-'));

/** Loads one of our TypeScript files. */
const load = async (path) => (await runnerImport(join(root, path), { root, configFile: false, envFile: false, logLevel: 'error' })).module;

let child;
let stopped = false;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => { stopped = true; child?.kill(signal); });
}

/** Runs one kind of test and streams its progress. Resolves to the exit code; null if it was killed. */
function runVitest(project, reportFile) {
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  // Narrowed by the user, a kind may have no file; otherwise that is a failure.
  const narrowed = filters.length > 0 ? ['--passWithNoTests'] : [];
  child = spawn(process.execPath, [vitest, 'run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`, ...narrowed, ...filters], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  const limit = setTimeout(() => child.kill('SIGKILL'), PROJECT_LIMIT_MS);
  return new Promise((resolve) => {
    child.on('error', () => resolve(null));
    child.on('exit', (code) => { clearTimeout(limit); resolve(code); });
  });
}

const total = { passed: 0, failed: 0 };
try {
  const { ensureChromium } = await load('src/cli/machine/browser.ts');
  const { countReport } = await load('src/cli/test-report.ts');
  try {
    process.env.CHROME_PATH = ensureChromium((line) => console.log(line));
  } catch (error) {
    // The tests that need no browser still run; the others fail with vitest's own message.
    console.error(error.message);
  }
  for (const project of projects) {
    if (stopped) break;
    const reportFile = join(work, `${project}.json`);
    const code = await runVitest(project, reportFile);
    const { passed, failed, notes } = countReport(existsSync(reportFile) ? readFileSync(reportFile, 'utf8') : undefined, code, filters.length > 0);
    for (const note of notes) console.error(`${project}: ${note}`);
    total.passed += passed;
    total.failed += failed;
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
if (total.passed + total.failed === 0) total.failed = 1;
if (stopped) { console.error('stopped before all tests had run'); total.failed += 1; }
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;
