// What `tabmesh verify` says of a folder that is no folder, lacks something or is broken: one sentence that names it, 2
// for paths and 1 for contents, before anything runs.

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { run } from '../../src/cli/main.ts';
import { RUN_FILES } from '../../src/cli/verify/folder.ts';
import { writeSafetensors } from '../../src/base/safetensors.ts';
import { MATMUL, torchFolder } from '../support/case-folder.ts';
import { goldenModel } from '../support/local-run.ts';

let work: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'tabmesh-verify-'));
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

async function verify(...args: string[]): Promise<{ code: number; out: string[]; err: string[] }> {
  const lines = { out: [] as string[], err: [] as string[] };
  const io = {
    out: (line: string) => lines.out.push(line),
    err: (line: string) => lines.err.push(line),
    signal: new AbortController().signal,
    interactive: false,
    columns: 120,
  };
  return { code: await run(['verify', ...args, '--backend', 'cpu'], io), ...lines };
}

/**
 * What every refusal has in common: nothing on stdout, no stack, no code of the system; one sentence, and an option
 * is wrong, where to read on.
 */
async function refusal(folder: string, ...args: string[]): Promise<{ code: number; sentence: string }> {
  const { code, out, err } = await verify(folder, ...args);
  expect(out).toEqual([]);
  // Before it stands at most which adapter there is.
  const sentence = err.at(err.at(-1) === 'tabmesh verify --help lists the options' ? -2 : -1)!;
  expect(sentence).toMatch(/^tabmesh verify: \S/);
  expect(sentence).not.toMatch(/\n|ENO|EACC|EIS/);
  return { code, sentence: sentence.slice('tabmesh verify: '.length) };
}

const put = (name: string, content: string | Uint8Array): void => {
  rmSync(join(work, name), { recursive: true, force: true });
  writeFileSync(join(work, name), content);
};

describe('paths', () => {
  it.each<[string, () => string, RegExp]>([
    ['no folder', () => '', /^FOLDER: expected a folder with .*, got none$/],
    [
      'a path that does not exist',
      () => join(work, 'nowhere'),
      /^FOLDER: expected .*nowhere' cannot be read: it does not exist$/,
    ],
    [
      'a path through a file',
      () => {
        put('file', 'x');
        return join(work, 'file', 'inner');
      },
      /cannot be read: it is no folder$/,
    ],
    [
      'a file',
      () => {
        put('file', 'x');
        return join(work, 'file');
      },
      /'.*file' is a file$/,
    ],
    ['an empty folder', () => work, /is empty$/],
    [
      'a folder of other things',
      () => {
        put('notes.txt', 'x');
        mkdirSync(join(work, 'inner'));
        symlinkSync('nowhere', join(work, 'broken'));
        return work;
      },
      /has none of them$/,
    ],
    [
      'a circle of links',
      () => {
        symlinkSync('loop', join(work, 'loop'));
        return join(work, 'loop');
      },
      /cannot be read: a circle of links$/,
    ],
    [
      'a model',
      () => {
        put('config.json', '{}');
        put('model.safetensors', '');
        return work;
      },
      /is a model without run\.json, the settings and losses/,
    ],
  ])('%s', async (_, make, sentence) => {
    const got = await refusal(make());
    expect(got).toEqual({ code: 2, sentence: expect.stringMatching(sentence) });
  });
});

describe('a training run', () => {
  beforeEach(() => cpSync(goldenModel('llama-tiny'), work, { recursive: true }));

  it.each(RUN_FILES.filter((name) => name !== 'run.json'))('without %s', async (name) => {
    rmSync(join(work, name));
    const { code, sentence } = await refusal(work);
    expect(code).toBe(2);
    expect(sentence).toContain(` lacks ${name}; a golden training run has config.json, model.safetensors, `);
  });

  it('without several files: all of them in one sentence', async () => {
    for (const name of ['grads.safetensors', 'grads_noise.json', 'final.safetensors']) rmSync(join(work, name));
    expect((await refusal(work)).sentence).toContain(
      ' lacks grads.safetensors, grads_noise.json and final.safetensors; ',
    );
  });

  it.each(RUN_FILES)('whose %s is a folder', async (name) => {
    rmSync(join(work, name));
    mkdirSync(join(work, name));
    const { code, sentence } = await refusal(work);
    expect(code).toBe(2);
    expect(sentence).toContain(`${join(work, name)} cannot be read: it is a folder`);
  });

  const cut = (name: string): Uint8Array =>
    writeSafetensors([[name, { dtype: 'F32', shape: [4], data: new Float32Array(4) }]]).subarray(0, 60);
  it.each<[string, string, string | Uint8Array, RegExp]>([
    ['no JSON', 'run.json', '{"format":', /^run\.json: /],
    ['nothing', 'run.json', '', /^run\.json: /],
    ['another format', 'run.json', '{"format":"x"}', /run\.json: expected format torch-run\/1/],
    ['no JSON', 'config.json', '{', /^config\.json: /],
    ['nothing', 'grads_noise.json', '', /grads_noise\.json: expected JSON, got an empty file$/],
    ['a list', 'grads_noise.json', '[]', /grads_noise\.json: expected an object, got a list$/],
    [
      'a text for a number',
      'final_noise.json',
      '{"w":"1"}',
      /final_noise\.json: w: expected a number of at least 0, got "1"$/,
    ],
    ['nothing', 'model.safetensors', '', /model\.safetensors: expected at least 8 bytes, got 0/],
    ['a file cut off', 'tokens.safetensors', cut('tokens'), /tokens\.safetensors: .*the file is cut off/],
    ['nothing', 'grads.safetensors', '', /grads\.safetensors: expected at least 8 bytes/],
    ['a file cut off', 'final.safetensors', cut('w'), /final\.safetensors: .*the file is cut off/],
    ['no tensors', 'grads.safetensors', writeSafetensors([]), /grads\.safetensors: expected tensors, got none$/],
    [
      'other weights',
      'model.safetensors',
      writeSafetensors([['w', { dtype: 'F32', shape: [1], data: new Float32Array(1) }]]),
      /does not fit config\.json/,
    ],
  ])('with %s in %s', async (_, name, content, sentence) => {
    put(name, content);
    expect(await refusal(work)).toEqual({ code: 2, sentence: expect.stringMatching(sentence) });
  });

  it.each<[string, object, RegExp]>([
    ['fewer losses than steps', { losses: [1, 2] }, /run\.json: losses: expected a list of 10 numbers/],
    ['no norms', { grad_norms: null }, /grad_norms: expected a list/],
    ['a noise that is no number', { losses_noise: Array(10).fill('x') }, /losses_noise: expected a list/],
    ['noisy ranges of another shape', { noisy: { w: [1] } }, /noisy: expected an object/],
  ])('with %s', async (_, change, sentence) => {
    put(
      'run.json',
      JSON.stringify({ ...(JSON.parse(readFileSync(join(work, 'run.json'), 'utf8')) as object), ...change }),
    );
    expect(await refusal(work)).toEqual({ code: 2, sentence: expect.stringMatching(sentence) });
  });

  it('of a model that is not implemented is skipped by name, and nothing is a success without a check', async () => {
    put(
      'config.json',
      JSON.stringify({
        ...(JSON.parse(readFileSync(join(work, 'config.json'), 'utf8')) as object),
        residual: 'ladder',
      }),
    );
    const { code, out } = await verify(work);
    expect([code, out.at(-1)]).toEqual([1, '0 passed, 0 failed, 1 skipped']);
    expect(out[0]).toMatch(/^skip \S+ dp=1 on cpu: residual: /);
  });

  it('in a layout that does not fit it', async () => {
    const { code, sentence } = await refusal(work, '--layout', 'tp=3');
    expect([code, sentence]).toEqual([2, expect.stringContaining('does not divide')]);
  });
});

describe('operator cases', () => {
  const { manifest, bytes } = torchFolder([MATMUL]);
  const write = (text = JSON.stringify(manifest), tensors: Uint8Array | undefined = bytes): void => {
    put('manifest.json', text);
    if (tensors) put('ops.safetensors', tensors);
  };

  it.each<[string, string, RegExp]>([
    ['half of it', JSON.stringify(manifest).slice(0, 50), /manifest\.json: expected JSON, got something else/],
    ['nothing', '', /manifest\.json: expected JSON, got an empty file$/],
    ['null', 'null', /^manifest\.json: the file: expected an object$/],
    ['no format', '{}', /^manifest\.json: format: expected torch-golden\/1 or/],
    ['no cases', '{"format":"torch-golden/1","files":{}}', /^manifest\.json: cases: expected a list$/],
  ])('with %s as the manifest', async (_, text, sentence) => {
    write(text);
    expect(await refusal(work)).toEqual({ code: 2, sentence: expect.stringMatching(sentence) });
  });

  it('without the tensors', async () => {
    write();
    rmSync(join(work, 'ops.safetensors'));
    expect(await refusal(work)).toEqual({
      code: 2,
      sentence: expect.stringMatching(/ lacks ops\.safetensors; its manifest names ops\.safetensors$/),
    });
  });

  it('with tensors that are cut off', async () => {
    write(undefined, bytes.subarray(0, bytes.length - 4));
    expect(await refusal(work)).toEqual({ code: 2, sentence: expect.stringMatching(/ops\.safetensors: /) });
  });

  it('of which none is chosen', async () => {
    write();
    expect(await refusal(work, '--only', 'softmax')).toEqual({
      code: 2,
      sentence: "--only: no case has 'softmax' in its name or operator",
    });
  });
});

it('one broken folder among others fails and does not keep them from being checked', async () => {
  cpSync(goldenModel('llama-tiny'), join(work, 'a-broken'), { recursive: true });
  rmSync(join(work, 'a-broken', 'final.safetensors'));
  mkdirSync(join(work, 'b-cases'));
  const { manifest, bytes } = torchFolder([MATMUL]);
  put('b-cases/manifest.json', JSON.stringify(manifest));
  put('b-cases/ops.safetensors', bytes);
  mkdirSync(join(work, 'c-model'));
  put('c-model/config.json', '{}');
  const { code, out } = await verify(work);
  expect(out.map((line) => line.slice(0, 14))).toEqual([
    'FAIL a-broken:',
    expect.stringMatching(/^ok/),
    'skip c-model: ',
    '3 passed, 1 fa',
  ]);
  expect(out[0]).toContain('lacks final.safetensors');
  expect(out.at(-1)).toBe('3 passed, 1 failed, 1 skipped');
  expect(code).toBe(1);
});

it.each(['gpt2-tiny', 'llama-tiny', 'mixtral-tiny'])('the golden run %s holds', async (name) => {
  expect(await verify(goldenModel(name))).toMatchObject({
    code: 0,
    out: [expect.stringMatching(/^ok/), expect.stringMatching(/^\d+ passed, 0 failed, 0 skipped$/)],
  });
});
