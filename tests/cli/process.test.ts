// The programs in bin/ as processes: exit codes and output that scripts rely on.

import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const tabmesh = (...args: string[]) =>
  spawnSync(process.execPath, [join(root, 'bin/tabmesh.mjs'), ...args], { encoding: 'utf8', cwd: tmpdir() });

describe('bin/tabmesh.mjs', () => {
  it('runs from any folder and prints only the result', () => {
    const { status, stdout, stderr } = tabmesh('simulate', '--stages', '2', '--microbatches', '2');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('rank 1 |.  F0 B0--- F1 B1--- .  .  |\n');
  });
  it('prints complete JSON even when it is large', () => {
    const { stdout } = tabmesh('simulate', '--json', '--microbatches', '2000');
    expect(stdout.length).toBeGreaterThan(300_000);
    expect(JSON.parse(stdout)).toMatchObject({ schedule: '1f1b', makespan: 6009, peakLive: [4, 3, 2, 1] });
  });
  it('ends with 2 for bad usage', () => {
    expect(tabmesh('simulate', '--chunks', '2')).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining('--schedule: 1f1b: expected 1 chunk per rank, got 2; use chunks=1'),
    });
    expect(tabmesh('nonsense').status).toBe(2);
  });
  it('does not fail when its reader has seen enough', async () => {
    const child = spawn(
      process.execPath,
      [join(root, 'bin/tabmesh.mjs'), 'simulate', '--json', '--microbatches', '2000'],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let stderr = '';
    child.stderr.on('data', (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    child.stdout.once('data', () => child.stdout.destroy());
    const code = await new Promise((resolve) => {
      child.on('exit', resolve);
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});

describe('bin/test.mjs', () => {
  /** Without what a test inside a test inherits. */
  const env = {
    ...Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(VITEST|TEST|NODE_ENV|DEV|PROD|MODE|SSR)/.test(name)),
    ),
    TABMESH_TESTS: 'node',
  };
  it('says where it is, how long is left and how it ended', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'bin/test.mjs'), 'base/json'], {
      encoding: 'utf8',
      cwd: tmpdir(),
      env,
    });
    expect(stdout, stderr).toMatch(/^== node tests \(1 of 1\): 1 files; 0:00 so far, about \d+:\d\d left$/m);
    expect(stdout).toMatch(/\n[1-9]\d* passed, 0 failed\n$/);
    expect(status).toBe(0);
  });
  it('fails where a chosen test does not exist in any kind', () => {
    const { status, stdout } = spawnSync(process.execPath, [join(root, 'bin/test.mjs'), 'no/such/test'], {
      encoding: 'utf8',
      cwd: tmpdir(),
      env,
    });
    expect(stdout).toMatch(/\n0 passed, 1 failed\n$/);
    expect(status).toBe(1);
  });
});

describe('bin/link.mjs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tabmesh-link-'));
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('links the command, over an old link too, and never fails', () => {
    mkdirSync(join(folder, 'bin'), { recursive: true });
    for (const name of ['link.mjs', 'tabmesh.mjs']) copyFileSync(join(root, 'bin', name), join(folder, 'bin', name));
    const link = () => spawnSync(process.execPath, [join(folder, 'bin', 'link.mjs')], { encoding: 'utf8' });
    expect(link()).toMatchObject({ status: 0, stderr: '' });
    expect(existsSync(join(folder, 'node_modules'))).toBe(false);
    mkdirSync(join(folder, 'node_modules'));
    expect([link().status, link().status]).toEqual([0, 0]);
    expect(readlinkSync(join(folder, 'node_modules', '.bin', 'tabmesh'))).toBe('../../bin/tabmesh.mjs');
    // Without the program itself there is nothing to link: a warning, no failure.
    rmSync(join(folder, 'bin', 'tabmesh.mjs'));
    expect(link()).toMatchObject({ status: 0, stderr: expect.stringContaining('could not link the command') });
  });
  it('is what npm runs after an install', () => {
    expect(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))).toMatchObject({
      scripts: { prepare: 'node bin/link.mjs', test: 'node bin/test.mjs' },
    });
  });
});
