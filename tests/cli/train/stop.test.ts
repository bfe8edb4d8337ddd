// A run that is asked to end early ends after its step, keeps what it was asked to keep, and says so: Ctrl-C, SIGTERM,
// SIGHUP, a reader that is gone, output that cannot be written. A second Ctrl-C ends at once and leaves the old files
// whole. These are real processes with real signals.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RandomStream } from '../../../src/base/random.ts';
import { readSafetensors } from '../../../src/base/safetensors.ts';
import { openCheckpoint } from '../../../src/train/resume/open-checkpoint.ts';
import { ALL } from '../../support/sample.ts';
import { tabmesh } from './support.ts';

const program = fileURLToPath(new URL('../../../bin/tabmesh.mjs', import.meta.url));
let folder: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tabmesh-stop-'));
});
afterEach(() => {
  for (const child of children.splice(0))
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

const at = (name: string): string => join(folder, name);
const steps = (): number => (existsSync(at('log')) ? readFileSync(at('log'), 'utf8').trim().split('\n').length : 0);
const savedStep = (): number => Number(readSafetensors(new Uint8Array(readFileSync(at('c')))).metadata.get('step'));

interface Running {
  readonly child: ChildProcess;
  readonly said: () => string;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

/** A long run on the references that logs and keeps; `stdio` of stdout and stderr. */
function start(
  args: readonly string[] = [],
  stdout: 'pipe' | number = 'pipe',
  stderr: 'pipe' | number = 'pipe',
): Running {
  const child = spawn(
    process.execPath,
    [
      program,
      'train',
      '--backend',
      'cpu',
      '--data',
      'copy',
      '--batch',
      '2',
      '--context',
      '8',
      '--eval-every',
      '0',
      '--sample-every',
      '0',
      '--tune',
      'none',
      '--steps',
      '100000',
      '--log',
      at('log'),
      ...args,
    ],
    { stdio: ['ignore', stdout, stderr] },
  );
  children.push(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
  return { child, said: () => said, ended };
}

/** Resolves when the run has logged `count` steps. */
async function logged(run: Running, count: number): Promise<void> {
  let over = false;
  void run.ended.then(() => {
    over = true;
  });
  while (steps() < count) {
    if (over) throw new Error(`the run ended early: ${run.said()}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
}

const keeps = (): string[] => ['--checkpoint', at('c'), '--save', at('m')];

describe.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s', (signal) => {
  test('ends after the step, on all ranks, and keeps checkpoint and model', async () => {
    const run = start(['--layout', 'dp=2', ...keeps()]);
    await logged(run, 2);
    run.child.kill(signal);
    // What npm passes on, beside the terminal, is no second wish.
    run.child.kill(signal);
    expect(await run.ended, run.said()).toEqual({ code: 130, signal: null });
    expect(run.said()).toContain(`stopping after this step (${signal === 'SIGINT' ? 'Ctrl-C' : signal})`);
    expect(run.said()).toContain(`stopped after ${savedStep()} step`);
    expect(savedStep()).toBe(steps());
    expect(readdirSync(at('m')).sort()).toEqual(['config.json', 'model.safetensors']);
  });
});

test('without a file to keep it in, it says that nothing is kept', async () => {
  const run = start();
  await logged(run, 1);
  run.child.kill('SIGINT');
  expect((await run.ended).code).toBe(130);
  expect(run.said()).toContain('nothing is kept without --checkpoint or --save');
});

test('a second Ctrl-C ends at once and leaves the old file', async () => {
  writeFileSync(at('m.safetensors'), 'old');
  // A step of this model takes seconds, so the first wish is still waiting.
  const run = start(['--model', 'gpt2-mini', '--batch', '16', '--context', '64', '--save', at('m.safetensors')]);
  await new Promise<void>((resolve) => {
    run.child.stderr!.on('data', () => {
      if (run.said().includes('parameters')) resolve();
    });
  });
  run.child.kill('SIGINT');
  await new Promise<void>((resolve) => {
    run.child.stderr!.on('data', () => {
      if (run.said().includes('press Ctrl-C again')) resolve();
    });
  });
  await new Promise((resolve) => {
    setTimeout(resolve, 400);
  });
  run.child.kill('SIGINT');
  expect((await run.ended).code).toBe(130);
  expect(run.said()).not.toContain('stopped after');
  expect(readFileSync(at('m.safetensors'), 'utf8')).toBe('old');
  expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([]);
});

test.each(['stderr', 'both'])('a reader that is gone from %s: the run stops and keeps', async (which) => {
  const run = start(['--checkpoint', at('c'), '--sample-every', '0', '--eval-every', '1']);
  await logged(run, 1);
  run.child.stderr!.destroy();
  if (which === 'both') run.child.stdout!.destroy();
  expect((await run.ended).code).toBe(130);
  expect(savedStep()).toBe(steps());
});

test('stderr on a full disk: the run stops, keeps, and has failed', async () => {
  const full = openSync('/dev/full', 'w');
  const run = start(['--checkpoint', at('c')], 'pipe', full);
  closeSync(full);
  expect((await run.ended).code).toBe(1);
  expect(savedStep()).toBeGreaterThan(0);
});

test('a failure of what is kept counts more than the stop', async () => {
  const run = start(['--checkpoint', '/dev/full']);
  await logged(run, 1);
  run.child.kill('SIGINT');
  expect((await run.ended).code).toBe(1);
  expect(run.said()).toMatch(/the checkpoint of step \d+ is lost/);
});

test.each([[['simulate']], [['--help']], [['train', '--help']], [['simulat']]])(
  '%j > /dev/full has failed',
  async (args) => {
    const full = openSync('/dev/full', 'w');
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ['ignore', full, args[0] === 'simulat' ? full : 'pipe'],
    });
    closeSync(full);
    let said = '';
    child.stderr?.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
    const code = await new Promise((resolve) => {
      child.on('close', resolve);
    });
    expect({ code, told: said.includes('ENOSPC') }).toEqual(
      args[0] === 'simulat' ? { code: 2, told: false } : { code: 1, told: true },
    );
  },
);

test('a process that is killed while it keeps a checkpoint of every step leaves a whole one', async () => {
  const random = new RandomStream(Date.now() % 2 ** 32, 'kills');
  // 4 MB each, so that most of the time one is under way.
  const big = ['--model', 'gpt2-micro', '--checkpoint', at('c'), '--checkpoint-every', '1'];
  for (let kill = 0; kill < (ALL ? 20 : 3); kill++) {
    const run = start(big);
    await logged(run, 2);
    await new Promise((resolve) => {
      setTimeout(resolve, random.integer(kill, 400));
    });
    run.child.kill('SIGKILL');
    await run.ended;
    expect(openCheckpoint(new Uint8Array(readFileSync(at('c')))).step).toBeGreaterThan(0);
    rmSync(at('log'));
  }
  const { code, err } = await tabmesh(
    'train',
    '--backend',
    'cpu',
    '--resume',
    at('c'),
    '--steps',
    String(savedStep() + 1),
  );
  expect(code, err).toBe(0);
  // What the killed processes had begun is gone with the first one that lives.
  expect(readdirSync(folder).filter((name) => name.endsWith('.partial'))).toEqual([]);
}, 300_000);

test('a layout that does not fit is bad usage', async () => {
  for (const layout of ['tp=3', 'nonsense', 'dp=0'])
    expect(
      (await tabmesh('train', '--backend', 'cpu', '--data', 'copy', '--steps', '1', '--layout', layout)).code,
    ).toBe(2);
});
