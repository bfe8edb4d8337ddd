// What is dropped on the page, and what a run that goes on takes from the form.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { goOnConfig } from '../../src/app/training/form/go-on.ts';
import { receive } from '../../src/app/training/files/receive.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { goldenModel } from '../support/local-run.ts';

const given = (path: string, content: string | Uint8Array<ArrayBuffer>): { path: string; file: File } => ({
  path,
  file: new File([content], path.split('/').at(-1)!),
});
const form = parseRunConfig([['model', 'gpt2-nano']]);
const manyLetters = Array.from({ length: 500 }, (_, i) => String.fromCodePoint(0x4e00 + i)).join('');

describe('what is dropped', () => {
  it('is a text with its distinct characters, and the tokenizer that suits them', async () => {
    const few = await receive([given('a.txt', 'aabbc')], form);
    expect(few).toMatchObject({ kind: 'text', name: 'a.txt', characters: 3, tokenizer: form.tokenizer });
    const many = await receive([given('b.txt', manyLetters)], { ...form, tokenizer: 'auto' });
    expect(many).toMatchObject({ kind: 'text', characters: 500, tokenizer: 'bytes' });
    // A model of one's own has its own tokenizer.
    const own = await receive([given('b.txt', manyLetters)], { model: 'mine', tokenizer: 'auto' });
    expect(own).toMatchObject({ tokenizer: 'auto' });
    // Bytes need not be a text.
    const bytes = await receive([given('c.bin', new Uint8Array([0xff, 0xfe, 0]))], { ...form, tokenizer: 'bytes' });
    expect(bytes).toMatchObject({ kind: 'text', characters: 0, tokenizer: 'bytes' });
  });

  it('is a model folder, if it has a config.json', async () => {
    const folder = ['config.json', 'model.safetensors'].map((name) =>
      given(`mine/${name}`, new Uint8Array(readFileSync(`${goldenModel('gpt2-tiny')}/${name}`))),
    );
    expect(await receive(folder, form)).toMatchObject({ kind: 'model', name: 'mine' });
  });

  it('is refused when it is several texts, no text, or no checkpoint; nothing is nothing', async () => {
    expect(await receive([], form)).toBeUndefined();
    const two = [given('a.txt', 'a'), given('b.txt', 'b')];
    await expect(receive(two, form)).rejects.toThrow('files: 2 files, and no config.json among them');
    await expect(receive([given('c.png', new Uint8Array([0x89, 0x50, 0, 0xff]))], form)).rejects.toThrow(/c\.png/);
    await expect(receive([given('w.safetensors', new Uint8Array(4))], form)).rejects.toThrow('checkpoint');
  });
});

describe('a run that goes on', () => {
  const config = parseRunConfig([
    ['layout', 'dp=1'],
    ['batch', 8],
    ['steps', 10],
    ['seed', 77],
  ]);

  it("is split as the form says, in microbatches that fit; all else is the checkpoint's", () => {
    const split = parseRunConfig([
      ['layout', 'dp=2,pp=2'],
      ['batch', 12],
      ['microbatches', 3],
      ['steps', 20],
    ]);
    const { layout, steps, batch, microbatches, seed } = goOnConfig({ step: 10, config }, split);
    expect([layout.dp, layout.pp, steps, batch, seed]).toEqual([2, 2, 20, 8, 77]);
    expect((batch / layout.dp) % microbatches).toBe(0);
  });

  it('has steps left to do', () => {
    expect(() => goOnConfig({ step: 10, config }, parseRunConfig([['steps', 10]]))).toThrow(
      'steps: the checkpoint has 10 steps already, and the form says 10 in all; say more than 10 to go on',
    );
  });
});
