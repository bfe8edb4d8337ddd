// What `tabmesh train` writes is whole or not there: a write that fails is told, costs nothing that was there before,
// and makes the run fail at its end; places where nothing can be written are told before the first step, and two
// outputs in one file are refused.

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FileError } from '../../../src/base/errors.ts';
import { readSafetensors } from '../../../src/base/safetensors.ts';
import { replaceFiles, tryFile } from '../../../src/cli/train/atomic-file.ts';
import { cutLog, StepLog } from '../../../src/cli/train/step-log.ts';
import { tabmesh } from './support.ts';

const program = fileURLToPath(new URL('../../../bin/tabmesh.mjs', import.meta.url));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tabmesh-files-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string): string => join(folder, name);
const text = (name: string): string => readFileSync(at(name), 'utf8');
const bytes = (content: string): Uint8Array => new TextEncoder().encode(content);
const small = [
  '--backend',
  'cpu',
  '--data',
  'copy',
  '--batch',
  '4',
  '--context',
  '16',
  '--eval-every',
  '0',
  '--sample-every',
  '0',
  '--tune',
  'none',
];
const train = (...args: string[]) => tabmesh('train', ...small, ...args);
const stepOf = (name: string): string | undefined =>
  readSafetensors(new Uint8Array(readFileSync(at(name)))).metadata.get('step');

describe('replaceFiles', () => {
  test('keeps the generation before, also through links, and leaves nothing else', () => {
    mkdirSync(at('real'));
    symlinkSync(at('real/a'), at('link'));
    for (const content of ['one', 'two', 'three'])
      replaceFiles([{ path: at('link'), bytes: bytes(content) }], { keep: true });
    expect([text('real/a'), text('real/a.previous')]).toEqual(['three', 'two']);
    expect(readdirSync(folder).sort()).toEqual(['link', 'real']);
    expect(readdirSync(at('real')).sort()).toEqual(['a', 'a.previous']);
  });
  test('a reader that has the old file open, or a hard link to it, keeps the old bytes', () => {
    writeFileSync(at('a'), 'old');
    linkSync(at('a'), at('other'));
    replaceFiles([{ path: at('a'), bytes: bytes('new') }], { keep: false });
    expect([text('a'), text('other'), existsSync(at('a.previous'))]).toEqual(['new', 'old', false]);
  });
  test('replaces all or none', () => {
    writeFileSync(at('a'), 'old');
    writeFileSync(at('plain'), '');
    expect(() =>
      replaceFiles(
        [
          { path: at('a'), bytes: bytes('new') },
          { path: at('plain/b'), bytes: bytes('new') },
        ],
        { keep: true },
      ),
    ).toThrow(FileError);
    expect(text('a')).toBe('old');
    expect(readdirSync(folder).sort()).toEqual(['a', 'plain']);
  });
  test('writes into a device as it is', () => {
    replaceFiles([{ path: '/dev/null', bytes: bytes('gone') }], { keep: true });
    expect(() => replaceFiles([{ path: '/dev/full', bytes: bytes('x') }], { keep: true })).toThrow(
      /'\/dev\/full' cannot be written: ENOSPC/,
    );
  });
});

describe('tryFile', () => {
  test('leaves no trace, makes the folder, and clears away what a killed process left', () => {
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    mkdirSync(at('new'));
    writeFileSync(at(`new/c.${dead}.partial`), 'half');
    writeFileSync(at(`new/c.${process.ppid}.partial`), 'another run is writing');
    tryFile(at('new/c'), 1000);
    tryFile(at('deep/er/c'), 1000);
    expect(readdirSync(at('new'))).toEqual([`c.${process.ppid}.partial`]);
    expect(readdirSync(at('deep/er'))).toEqual([]);
  });
  test.each([
    ['a folder', () => at('.'), 'a folder of that name is there'],
    ['a name that ends as a folder', () => `${at('x')}/`, 'names a folder'],
    ['a file in place of a folder', () => at('plain/x'), "plain' is a file, and nothing"],
    ['a file in place of a folder further up', () => at('plain/a/b/x'), "plain' is a file, and nothing"],
    ['more than the disk has', () => at('huge'), 'its disk has|EFBIG|ENOSPC'],
    ['links in a circle', () => at('round'), 'circle|ELOOP'],
  ])('%s', (_what, path, reason) => {
    writeFileSync(at('plain'), '');
    symlinkSync(at('round'), at('round'));
    expect(() => tryFile(path(), path() === at('huge') ? 2 ** 52 : 10)).toThrow(
      new RegExp(`cannot be written: .*(${reason})`),
    );
    expect(existsSync(at('huge'))).toBe(false);
  });
});

describe('the log', () => {
  const log = (steps: readonly number[]): string => steps.map((step) => `${JSON.stringify({ step })}\n`).join('');

  test.each([
    ['the steps that come again', [0, 1, 2, 3], '', [0, 1]],
    ['those of the last run alone', [0, 1, 2, 3, 0, 1, 2], '', [0, 1, 2, 3, 0, 1]],
    ['a torn last line', [0, 1], '{"step":2,"lo', [0, 1]],
    ['nothing, where the log ends before', [0], '', [0]],
  ])('cutLog takes away %s', (_what, before, torn, after) => {
    writeFileSync(at('log'), log(before) + torn);
    cutLog(at('log'), 2);
    expect(text('log')).toBe(log(after));
    expect(existsSync(at('log.previous'))).toBe(before.length !== after.length || torn !== '');
  });
  test('cutLog refuses what is no log and leaves it', () => {
    writeFileSync(at('log'), 'dear diary\n');
    expect(() => cutLog(at('log'), 0)).toThrow(/line 1/);
    expect(text('log')).toBe('dear diary\n');
    expect(cutLog(at('none'), 3)).toBe(0);
  });
  test('lines that found no space come later, in order and whole', () => {
    const steps = new StepLog(at('log'));
    steps.add({ step: 0 });
    // The place is gone for a while: a folder stands there.
    const before = text('log');
    rmSync(at('log'));
    mkdirSync(at('log'));
    expect(() => steps.add({ step: 1 })).toThrow(FileError);
    expect(() => steps.add({ step: 2 })).toThrow(FileError);
    expect(steps.missing).toBe(2);
    rmSync(at('log'), { recursive: true });
    writeFileSync(at('log'), before);
    steps.add({ step: 3 });
    expect([text('log'), steps.missing]).toEqual([log([0, 1, 2, 3]), 0]);
  });
  test('a torn last line of a run that was killed does not swallow the next', () => {
    writeFileSync(at('log'), '{"step":7,"lo');
    new StepLog(at('log')).add({ step: 0 });
    expect(text('log')).toBe('{"step":7,"lo\n{"step":0}\n');
  });
});

describe('before the first step', () => {
  test.each([
    ['--save', 'plain/out.safetensors'],
    ['--save', 'plain'],
    ['--checkpoint', 'plain/c'],
    ['--checkpoint', '.'],
    ['--log', 'plain/x.jsonl'],
    ['--trace', 'plain/t.json'],
    ['--grads', 'plain/g.safetensors'],
    ['--save', '/dev/null/nope/out.safetensors'],
  ])('%s %s ends with 1 and the reason', async (option, path) => {
    writeFileSync(at('plain'), 'kept');
    const { code, err } = await train('--steps', '2', option, path.startsWith('/') ? path : at(path));
    expect(err).toMatch(/cannot be written: .*(' is a file, and nothing can lie below it|a folder of that name)/);
    expect(err).not.toContain('step 1/');
    expect({ code, plain: text('plain') }).toEqual({ code: 1, plain: 'kept' });
  });
  test.each([
    ['--save weights.bin', 'safetensors'],
    ['--save model.pt', "or '"],
    ['--checkpoint-every 2', 'add --checkpoint FILE'],
    ['--save c.safetensors --checkpoint ./c.safetensors', 'the file of --save'],
    ['--save c.safetensors --checkpoint link', 'the file of --save'],
    ['--log l --trace l', 'the file of --log'],
    ['--grads g --checkpoint g', 'the file of --grads'],
    ['--save m --checkpoint m/model.safetensors', 'the file of --save'],
    ['--data t.txt --log t.txt', 'the file of --data'],
    ['--checkpoint c --trace c.previous', 'the file of --trace|the file of --checkpoint'],
    ['--log ', 'expected the name'],
  ])('%s is bad usage', async (line, sentence) => {
    writeFileSync(at('t.txt'), 'kept');
    symlinkSync(at('c.safetensors'), at('link'));
    // Names of files lie in the folder; the spelling stays.
    const args = line
      .split(' ')
      .map((part) =>
        part.startsWith('--') || part === '' || /^\d+$/.test(part)
          ? part
          : part.startsWith('./')
            ? `${relative(process.cwd(), folder)}/./${part.slice(2)}`
            : at(part),
      );
    const { code, err } = await tabmesh(
      'train',
      '--backend',
      'cpu',
      '--steps',
      '1',
      ...(line.includes('--data') ? [] : ['--data', 'copy']),
      ...args,
    );
    expect(err).toMatch(new RegExp(sentence));
    expect({ code, data: text('t.txt') }).toEqual({ code: 2, data: 'kept' });
  });
  test('a folder may have a dot in its name', async () => {
    mkdirSync(at('v1.old'));
    for (const name of ['gpt-0.5', 'v1.old', 'v2.new/']) {
      const { code, err } = await train('--steps', '1', '--save', at(name));
      expect(code, err).toBe(0);
      expect(existsSync(join(at(name), 'config.json'))).toBe(true);
    }
  });
});

test('--checkpoint alone keeps the last step', async () => {
  const { code, err } = await train('--steps', '3', '--checkpoint', at('c.st'));
  expect(code, err).toBe(0);
  expect(stepOf('c.st')).toBe('3');
});

test('each checkpoint leaves the one before beside it', async () => {
  expect((await train('--steps', '5', '--checkpoint', at('c'), '--checkpoint-every', '2')).code).toBe(0);
  expect([stepOf('c'), stepOf('c.previous')]).toEqual(['5', '4']);
  expect(readdirSync(folder).sort()).toEqual(['c', 'c.previous']);
});

test('a device that is full: the training goes on, every loss is told, exit 1', async () => {
  const { code, out, err } = await train(
    '--steps',
    '4',
    '--checkpoint',
    '/dev/full',
    '--checkpoint-every',
    '2',
    '--log',
    '/dev/full',
    '--save',
    at('model.safetensors'),
  );
  expect(out).toContain('trained 4 steps');
  for (const step of [2, 4])
    expect(err).toMatch(new RegExp(`the checkpoint of step ${step} is lost: '/dev/full' cannot be written: ENOSPC`));
  expect(err).toContain(
    'not everything could be written: the checkpoint of step 2, the checkpoint of step 4, 4 lines of the log',
  );
  expect(err.match(/no line can be added/g)).toHaveLength(1);
  expect({ code, saved: existsSync(at('model.safetensors')) }).toEqual({ code: 1, saved: true });
});

test('a limit on the size of files stops no training and spoils no checkpoint', async () => {
  expect((await train('--steps', '2', '--checkpoint', at('c'))).code).toBe(0);
  const before = readFileSync(at('c'));
  // Blocks of 1 KiB; a checkpoint of this model has 1.3 MB.
  const limited = (args: string) =>
    spawnSync(
      'bash',
      ['-c', `ulimit -f 900; exec "$0" "$@"`, process.execPath, program, 'train', ...small, ...args.split(' ')],
      { encoding: 'utf8' },
    );
  const refused = limited(`--steps 4 --checkpoint ${at('c')}`);
  expect(refused.stderr).toContain('EFBIG');
  expect(refused.stderr).not.toContain('step 1/');
  expect(refused.status).toBe(1);
  expect(readFileSync(at('c')).equals(before)).toBe(true);
  expect(readdirSync(folder)).toEqual(['c']);
});

describe('what has no end is refused in a moment', () => {
  const sentence = (path: string, what: string): RegExp => new RegExp(`'${path}' cannot be ${what}`);

  test.each([
    ['--checkpoint', 'written: it is a named pipe; give a file'],
    ['--log', 'written: it is a named pipe; give a file'],
    ['--data', 'read \\(it is a named pipe; give a file\\)'],
    ['--resume', 'read \\(it is a named pipe; give a file\\)'],
  ])('a pipe as %s, at whose other end nobody is', async (option, what) => {
    expect(spawnSync('mkfifo', [at('pipe')]).status).toBe(0);
    const data = option === '--data' || option === '--resume' ? [] : ['--data', 'copy'];
    const { code, err } = await tabmesh('train', '--backend', 'cpu', '--steps', '1', ...data, option, at('pipe'));
    expect(code).not.toBe(0);
    expect(err).toMatch(sentence(at('pipe'), what));
  });

  test('a device', async () => {
    const { code, err } = await tabmesh('train', '--resume', '/dev/zero');
    expect([code, err]).toEqual([
      2,
      expect.stringContaining("'/dev/zero' cannot be read (it is a device; give a file)"),
    ]);
  });

  test('the pipe of a shell is read', () => {
    const { status, stderr } = spawnSync(
      'bash',
      [
        '-c',
        `exec node ${program} train --backend cpu --model gpt2-nano --context 16 --batch 2 --steps 1 --eval-every 0 --sample-every 0 --data <(yes 'call me ishmael' | head -200)`,
      ],
      { encoding: 'utf8' },
    );
    expect(status, stderr).toBe(0);
  });

  test.each(['--checkpoint', '--save', '--log', '--trace', '--grads'])(
    'a name that is too long, as %s',
    async (option) => {
      const { code, err } = await tabmesh('train', ...small, option, `${'x'.repeat(300)}.safetensors`);
      expect(code).toBe(1);
      expect(err).toMatch(/cannot be written: ENAMETOOLONG/);
      expect(err).not.toMatch(/^\s+at /m);
    },
  );

  test('a name that is too long, as an input', async () => {
    const { code, err } = await tabmesh('train', '--data', 'x'.repeat(300));
    expect(code).toBe(2);
    expect(err).toMatch(/cannot be read.*ENAMETOOLONG/);
  });
});
