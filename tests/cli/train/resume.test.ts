// `--resume`: the checkpoint says settings, seed, tokenizer and model; what contradicts it is refused, what differs is
// told, and the log goes on without double steps. The result is the one of a run that was never interrupted, byte for
// byte.

import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readSafetensors, toFloat32, writeSafetensors } from '../../../src/base/safetensors.ts';
import { tabmesh } from './support.ts';

let folder: string;
const at = (name: string): string => join(folder, name);
const text = 'the whale, the white whale. there she blows, a hump like a snow hill. '.repeat(12);
const basic = ['train', '--backend', 'cpu', '--tune', 'none'];
const settings = [
  '--data',
  '',
  '--batch',
  '2',
  '--context',
  '8',
  '--seed',
  '7',
  '--lr',
  '0.01',
  '--warmup',
  '2',
  '--decay',
  'cosine',
  '--eval-every',
  '0',
  '--sample-every',
  '0',
];
const bytes = (name: string): Buffer => readFileSync(at(name));
const logged = (name: string): number[] =>
  readFileSync(at(name), 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { step: number }).step);
const resume = (...args: string[]) => tabmesh(...basic, '--resume', at('half'), ...args);
/** The checkpoint with other metadata. */
function rewrite(name: string, change: (metadata: Map<string, string>) => void): void {
  const { tensors, metadata } = readSafetensors(new Uint8Array(bytes('half')));
  const changed = new Map(metadata);
  change(changed);
  writeFileSync(
    at(name),
    writeSafetensors(
      [...tensors].map(
        ([key, entry]) => [key, { dtype: 'F32' as const, shape: entry.shape, data: toFloat32(entry) }] as const,
      ),
      changed,
    ),
  );
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tabmesh-resume-'));
  writeFileSync(at('text.txt'), text);
  settings[1] = at('text.txt');
  // Steps 4 and 8 of one run: half.previous becomes half.
  const whole = await tabmesh(
    ...basic,
    ...settings,
    '--steps',
    '8',
    '--checkpoint',
    at('whole'),
    '--checkpoint-every',
    '4',
    '--save',
    at('whole.safetensors'),
    '--log',
    at('log'),
  );
  expect(whole.code, whole.err).toBe(0);
  copyFileSync(at('whole.previous'), at('half'));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ['the file alone', []],
  ['the same options again', settings],
])('%s goes on to the same bytes', async (_what, again) => {
  copyFileSync(at('log'), at('log2'));
  const { code, out, err } = await resume(...again, '--save', at('again.safetensors'), '--log', at('log2'));
  expect(code, err).toBe(0);
  expect(bytes('again.safetensors').equals(bytes('whole.safetensors'))).toBe(true);
  expect(out).toBe('trained 4 steps, 8 in all');
  expect(logged('log2')).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(logged('log2.previous')).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(err).toContain('4 lines of the log, from step 4 on, are made again');
  expect(err).toContain('going on from step 4 of 8');
  expect(err).not.toContain('resuming with');
});

test('a log of other things is refused before anything happens', async () => {
  writeFileSync(at('diary'), 'dear diary\n');
  const { code, err } = await resume('--log', at('diary'));
  expect(err).toContain('line 1');
  expect({ code, diary: readFileSync(at('diary'), 'utf8') }).toEqual({ code: 2, diary: 'dear diary\n' });
});

test('a layout may change; a longer run and another rate are told', async () => {
  const { code, err } = await resume('--layout', 'dp=2', '--steps', '9', '--lr', '0.005');
  expect(code, err).toBe(0);
  expect(err).toContain(
    'resuming with layout "dp=2"; the checkpoint has "dp=1": the run goes on equal within rounding'.replaceAll('"', ''),
  );
  expect(err).toContain('resuming with steps 9; the checkpoint has 8: the learning rate decays towards the new end');
  // The shape of the rate stays.
  expect(err).toMatch(
    /resuming with lr \{"peak":0.005,"warmupSteps":2,"decay":"cosine","floor":0\}; the checkpoint has \{"peak":0.01,/,
  );
});

describe('what contradicts the checkpoint is refused', () => {
  test.each([
    [
      'another text of the same characters and size',
      () => ['--data', at('same.txt')],
      'the text is not the one that it was trained on',
    ],
    [
      'another text',
      () => ['--data', at('other.txt')],
      'the tokenizer of the checkpoint cannot read it .*give what it was trained on',
    ],
    ['a task', () => ['--data', 'copy'], 'other data'],
    ['another seed', () => ['--seed', '8'], "seed: is 8, but the checkpoint's run has 7"],
    ['another tokenizer', () => ['--tokenizer', 'bytes'], 'goes on with its own tokenizer'],
    ['another model', () => ['--model', 'gpt2-micro'], 'another model: .*hidden is 128 and was 64'],
    [
      'a model with other heads of the same shapes',
      () => ['--model', at('heads')],
      'another model: .*heads is 8 and was 4',
    ],
    ['fewer steps than it has', () => ['--steps', '3'], 'steps: is 3, but the checkpoint is of step 4 already'],
    ['gradients of the first step', () => ['--grads', at('g')], 'behind it'],
    ['a folder in place of the checkpoint', () => ['--save', at('half')], 'cannot be written'],
    [
      'weights in place of the checkpoint',
      () => ['--resume', at('h.safetensors'), '--save', at('h.safetensors')],
      'the file of --resume',
    ],
  ])('%s', async (_what, args, sentence) => {
    copyFileSync(at('half'), at('h.safetensors'));
    writeFileSync(at('same.txt'), text.replaceAll('whale', 'elahw'));
    writeFileSync(at('other.txt'), text.replaceAll('whale', 'zebra'));
    if (!existsSync(at('heads'))) {
      const saved = await resume('--save', at('heads'));
      expect(saved.code, saved.err).toBe(0);
      const config = JSON.parse(readFileSync(at('heads/config.json'), 'utf8')) as Record<string, unknown>;
      writeFileSync(at('heads/config.json'), JSON.stringify({ ...config, n_head: 8 }));
    }
    const before = bytes('half');
    const { code, err } = await resume(...args());
    expect(err).toMatch(new RegExp(sentence));
    expect(code === 0).toBe(false);
    expect(bytes('half').equals(before)).toBe(true);
  });
});

test('a rotary base that differs is another model', async () => {
  const llama = [
    '--model',
    'llama-nano',
    '--data',
    'copy',
    '--batch',
    '2',
    '--context',
    '16',
    '--eval-every',
    '0',
    '--sample-every',
    '0',
  ];
  expect(
    (await tabmesh(...basic, ...llama, '--steps', '1', '--checkpoint', at('llama'), '--save', at('theta'))).code,
  ).toBe(0);
  const config = JSON.parse(readFileSync(at('theta/config.json'), 'utf8')) as Record<string, unknown>;
  writeFileSync(at('theta/config.json'), JSON.stringify({ ...config, rope_theta: 5e5 }));
  const { code, err } = await tabmesh(...basic, '--resume', at('llama'), '--model', at('theta'), '--steps', '2');
  expect(err).toMatch(/another model: .*500000.* and was .*10000/);
  expect(code).toBe(2);
});

test('a model folder need not be there any more', async () => {
  const saved = await resume('--save', at('folder'));
  expect(saved.code, saved.err).toBe(0);
  const more = ['--model', at('folder'), ...settings, '--steps', '4'];
  expect(
    (
      await tabmesh(
        ...basic,
        ...more,
        '--checkpoint',
        at('f'),
        '--checkpoint-every',
        '2',
        '--save',
        at('f1.safetensors'),
      )
    ).code,
  ).toBe(0);
  rmSync(at('folder'), { recursive: true });
  const { code, err } = await tabmesh(...basic, '--resume', at('f.previous'), '--save', at('f2.safetensors'));
  expect(code, err).toBe(0);
  expect(bytes('f2.safetensors').equals(bytes('f1.safetensors'))).toBe(true);
});

test('a run that is over only saves', async () => {
  const { code, out, err } = await tabmesh(...basic, '--resume', at('whole'), '--save', at('over.safetensors'));
  expect({ code, out }, err).toEqual({ code: 0, out: 'trained 0 steps, 8 in all' });
  expect(bytes('over.safetensors').equals(bytes('whole.safetensors'))).toBe(true);
});

test('a text that moved is asked for', async () => {
  rewrite('moved', (metadata) =>
    metadata.set('run', JSON.stringify({ ...(JSON.parse(metadata.get('run')!) as object), data: at('gone.txt') })),
  );
  const lost = await tabmesh(...basic, '--resume', at('moved'));
  expect(lost.err).toContain('say where it is now with --data');
  expect(lost.code).toBe(2);
  expect((await tabmesh(...basic, '--resume', at('moved'), '--data', at('text.txt'))).code).toBe(0);
});

test('a checkpoint of before data had an identity goes on, with a warning', async () => {
  rewrite('old', (metadata) => metadata.delete('data'));
  const { code, err } = await tabmesh(...basic, '--resume', at('old'));
  expect(code, err).toBe(0);
  expect(err).toContain('make sure that the data are the same');
});

test.each([
  ['cut', 1000],
  ['empty', 0],
])('a file that is %s is refused, and the generation before is named', async (_what, size) => {
  copyFileSync(at('whole'), at('torn'));
  copyFileSync(at('half'), at('torn.previous'));
  truncateSync(at('torn'), size);
  const { code, err } = await tabmesh(...basic, '--resume', at('torn'));
  expect(err).toContain(`is no whole checkpoint`);
  expect(err).toContain(`--resume ${at('torn.previous')} (step 4)`);
  expect(code).toBe(2);
});

test.each([
  ['--eval-every 2', 'no held-out part'],
  ['--tokenizer bytes', 'cut already'],
  ['--data copy', 'choose one'],
])('tokens with %s are bad usage', async (line, sentence) => {
  writeFileSync(
    at('tokens.safetensors'),
    writeSafetensors([['tokens', { dtype: 'I32', shape: [3, 2, 9], data: new Int32Array(54).fill(1) }]]),
  );
  const { code, err } = await tabmesh(
    ...basic,
    '--tokens',
    at('tokens.safetensors'),
    '--batch',
    '2',
    '--context',
    '8',
    '--steps',
    '2',
    '--sample-every',
    '0',
    ...line.split(' '),
  );
  expect(err).toContain(sentence);
  expect(code).toBe(2);
});

test.each([
  [['--data', 'copy', '--precision', 'f16'], 'without one'],
  [['--data', 'copy', '--sample-every', '2'], 'no text to sample'],
  [['--lane', 'same-browser'], 'without --tabs'],
])('%j is bad usage', async (args, sentence) => {
  const { code, err } = await tabmesh(...basic, '--steps', '1', ...args);
  expect(err).toContain(sentence);
  expect(code).toBe(2);
});

test.each([
  ['4', 'dp=4'],
  ['3', 'tp=3|layout:'],
  ['16', 'dp=8,pp=2'],
])('%s ranks without a layout get one that fits, and hear of it', async (ranks, layout) => {
  const { code, err } = await tabmesh(
    'train',
    '--backend',
    'cpu',
    '--data',
    'copy',
    '--batch',
    '8',
    '--context',
    '16',
    '--eval-every',
    '0',
    '--sample-every',
    '0',
    '--devices',
    ranks,
    '--steps',
    '1',
  );
  expect(err).toMatch(new RegExp(layout));
  expect(code, err).toBe(ranks === '3' ? 2 : 0);
});
