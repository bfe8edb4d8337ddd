// `tabmesh train` on texts and tokens of all kinds: whose tokenizer, what is saved with the model, what is refused and
// how it ends.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeSafetensors, type WriteEntry } from '../../../src/base/safetensors.ts';
import { run } from '../../../src/cli/main.ts';
import { formatModelConfig } from '../../../src/model/config.ts';
import { presetConfig } from '../../../src/model/presets.ts';
import { initialWeight, weightSpecs } from '../../../src/model/weights.ts';
import { gpt2Like } from '../../support/huggingface-tokenizers.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tabmesh-text-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string): string => join(folder, name);
const put = (name: string, content: string | Uint8Array): string => {
  writeFileSync(at(name), content);
  return at(name);
};
const base = [
  'train',
  '--backend',
  'cpu',
  '--batch',
  '2',
  '--context',
  '8',
  '--eval-every',
  '0',
  '--sample-every',
  '0',
];

async function tabmesh(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const lines = { out: [] as string[], err: [] as string[] };
  const code = await run(args, {
    out: (line) => lines.out.push(line),
    err: (line) => lines.err.push(line),
    signal: new AbortController().signal,
    interactive: false,
    columns: 100,
  });
  return { code, out: lines.out.join('\n'), err: lines.err.join('\n') };
}

function modelFolder(name: string, vocab: number, files: Record<string, string> = {}): string {
  mkdirSync(at(name));
  const model = presetConfig('gpt2-nano', vocab, { layers: 1, context: 16 });
  put(join(name, 'config.json'), formatModelConfig(model));
  put(
    join(name, 'model.safetensors'),
    writeSafetensors(
      weightSpecs(model).map((spec) => [spec.name, { dtype: 'F32', shape: spec.shape, data: initialWeight(spec, 1) }]),
    ),
  );
  for (const [file, content] of Object.entries(files)) put(join(name, file), content);
  return at(name);
}

const text = 'the whale, the white whale: there she blows. '.repeat(20);
const FILES = {
  'tokenizer.json': `${JSON.stringify(gpt2Like(), null, 2)}\n`,
  'tokenizer_config.json': '{"model_max_length":  16}',
};

it("a folder's tokenizer.json reads the text, writes the samples, and is saved byte for byte", async () => {
  const model = modelFolder('model', 300, FILES);
  const result = await tabmesh(
    ...base,
    '--model',
    model,
    '--data',
    put('a.txt', text),
    '--steps',
    '2',
    '--sample-every',
    '2',
    '--save',
    at('saved'),
  );
  expect(result.code, result.err).toBe(0);
  expect(result.err).toContain('step 2: "');
  expect(readdirSync(at('saved')).sort()).toEqual([
    'config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  for (const [name, content] of Object.entries(FILES)) expect(readFileSync(at(`saved/${name}`), 'utf8')).toBe(content);
  // The saved folder goes on.
  expect((await tabmesh(...base, '--model', at('saved'), '--data', at('a.txt'), '--steps', '1')).code).toBe(0);
});

it('no tokenizer is made up for a folder, none is contradicted, two are one too many', async () => {
  const data = put('a.txt', text);
  const refusals: [string, string[], string][] = [
    [
      modelFolder('bare', 300),
      [],
      'has none (tokenizer.json or tokenizer.tabmesh.json), so its 300 tokens have no meaning here',
    ],
    [
      modelFolder('own', 300, FILES),
      ['--tokenizer', 'chars'],
      `"chars" contradicts the model's own tokenizer, tokenizer.json with 263 tokens; leave the setting out`,
    ],
    [
      modelFolder('two', 300, {
        ...FILES,
        'tokenizer.tabmesh.json': '{"format":"tabmesh-tokenizer/1","kind":"bytes"}',
      }),
      [],
      'has two tokenizers, tokenizer.tabmesh.json and tokenizer.json',
    ],
    [
      modelFolder('older', 300, { 'tokenizer.model': '' }),
      [],
      'has its tokenizer as tokenizer.model, which is not read; make a tokenizer.json of it',
    ],
    [
      modelFolder('small', 262, FILES),
      [],
      'tokenizer.json with 263 tokens, has more tokens than the model, whose vocabulary is 262',
    ],
  ];
  for (const [model, more, message] of refusals) {
    const result = await tabmesh(
      ...base,
      '--model',
      model,
      '--data',
      data,
      '--steps',
      '1',
      '--save',
      at('x.safetensors'),
      ...more,
    );
    expect(result.err).toContain(message);
    expect(result.code).not.toBe(0);
  }
  expect(existsSync(at('x.safetensors'))).toBe(false);
  expect(
    (await tabmesh(...base, '--model', at('bare'), '--data', data, '--steps', '1', '--tokenizer', 'bytes')).code,
  ).toBe(0);
  // A task and tokens need no tokenizer, and leave the folder's where it is.
  const task = await tabmesh(...base, '--model', at('own'), '--data', 'copy', '--steps', '1', '--save', at('task'));
  expect(task.code, task.err).toBe(0);
  expect(readFileSync(at('task/tokenizer.json'), 'utf8')).toBe(FILES['tokenizer.json']);
});

it('a folder with the tokenizer of another model is not saved into', async () => {
  modelFolder('other', 300, FILES);
  const result = await tabmesh(...base, '--data', put('a.txt', text), '--steps', '1', '--save', at('other'));
  expect(result.err).toContain(
    'has the tokenizer.json of another model; save into another folder, or remove that file',
  );
  expect(result.code).not.toBe(0);
});

it('files that are no UTF-8 text are refused with what they look like, or trained on as bytes', async () => {
  const utf16 = put('utf16.txt', Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(text, 'utf16le')]));
  const latin = put('latin.txt', Buffer.from(text.replaceAll('e', 'é'), 'latin1'));
  for (const [file, message] of [
    [utf16, 'its byte order mark says UTF-16LE'],
    [latin, 'it looks like Latin-1'],
    [put('empty.txt', ''), 'is empty'],
    [put('x.zip', Buffer.concat([Buffer.from('PK\u0003\u0004'), Buffer.alloc(400, 7)])), 'a zip archive'],
  ] as const) {
    const result = await tabmesh(...base, '--data', file, '--steps', '1');
    expect(result.err).toContain(message);
    expect(result.code).not.toBe(0);
  }
  for (const file of [utf16, latin, at('x.zip')])
    expect((await tabmesh(...base, '--data', file, '--steps', '1', '--tokenizer', 'bytes')).code).toBe(0);
  const marked = await tabmesh(...base, '--data', put('bom.txt', `\ufeff${text}`), '--steps', '1');
  expect([marked.code, marked.err]).toEqual([
    0,
    expect.stringContaining('begins with a byte order mark, which is left out'),
  ]);
});

it('tokens train a preset, with the steps and rows of the file', async () => {
  const tokens = put(
    't.safetensors',
    writeSafetensors([
      ['tokens', { dtype: 'I32', shape: [3, 4, 9], data: Int32Array.from({ length: 108 }, (_, i) => i % 37) }],
    ]),
  );
  const plain = ['train', '--backend', 'cpu', '--tokens', tokens, '--eval-every', '0', '--sample-every', '0'];
  const result = await tabmesh(...plain, '--save', at('m'));
  expect([result.code, result.out]).toEqual([0, expect.stringContaining('trained 3 steps')]);
  expect(result.err).toContain(`the vocabulary is 37: the largest id in ${tokens} is 36`);
  expect(JSON.parse(readFileSync(at('m/config.json'), 'utf8'))).toMatchObject({ vocab_size: 37, n_positions: 8 });
  const tooMany = await tabmesh(...plain, '--steps', '4', '--save', at('n'));
  expect(tooMany.err).toContain(`steps: is 4, but ${tokens} has 3 steps ([3, 4, 9]); use steps=3 or a file with more`);
  expect([tooMany.code !== 0, existsSync(at('n'))]).toEqual([true, false]);
  const other = await tabmesh(...plain, '--batch', '2');
  expect(other.err).toContain('batch: is 2, but the data has 4 rows a step; use batch=4');
});

it.each<[string, WriteEntry | Uint8Array, string]>([
  ['cut off', new Uint8Array(7), 'expected at least 8 bytes, got 7'],
  [
    'of another shape',
    { dtype: 'I32', shape: [1, 2], data: new Int32Array(2) },
    'tokens: expected [steps, batch, T + 1]',
  ],
  [
    'of no whole numbers',
    { dtype: 'F32', shape: [1, 1, 2], data: new Float32Array(2) },
    'tokens: expected whole numbers',
  ],
  [
    'negative',
    { dtype: 'I32', shape: [1, 1, 2], data: Int32Array.of(1, -1) },
    'token 1 (step 0, row 0, column 1) is -1',
  ],
  [
    'beyond 32 bits',
    { dtype: 'I64', shape: [1, 1, 2], data: BigInt64Array.of(1n, 2n ** 33n) },
    'tokens: I64 element 1 is 8589934592, which is no 32-bit whole number',
  ],
])('a file of tokens that is %s is refused by its path, as bad input', async (_, content, sentence) => {
  const tokens = put('odd.st', content instanceof Uint8Array ? content : writeSafetensors([['tokens', content]]));
  const result = await tabmesh('train', '--backend', 'cpu', '--tokens', tokens);
  expect(result.err).toContain(`${tokens}: ${sentence}`);
  expect(result.code).toBe(2);
});

it('a small text trains where nobody evaluates', async () => {
  const data = put('a.txt', text.slice(0, 60));
  expect((await tabmesh(...base, '--data', data, '--steps', '1')).code).toBe(0);
  const result = await tabmesh(
    'train',
    '--backend',
    'cpu',
    '--data',
    data,
    '--context',
    '8',
    '--batch',
    '2',
    '--steps',
    '1',
  );
  expect(result.err).toContain(
    'a context of 8 needs 9 tokens to evaluate on, but the held-out text has 6 of 60; use a text of 90 tokens or more, a context of at most 5, or no evaluation (evalEvery 0)',
  );
  expect(result.code).not.toBe(0);
});
