// What a model folder asks for and training does not do reaches the user of the command line: refused by name, or told
// as a note.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readSafetensors, writeSafetensors, type WriteEntry } from '../../src/base/safetensors.ts';
import { run } from '../../src/cli/main.ts';

const GOLDEN = join(import.meta.dirname, '../golden/models');
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tabmesh-models-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function tabmesh(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const lines = { out: [] as string[], err: [] as string[] };
  const io = { out: (line: string) => lines.out.push(line), err: (line: string) => lines.err.push(line) };
  const code = await run(args, { ...io, signal: new AbortController().signal, interactive: false, columns: 100 });
  return { code, out: lines.out.join('\n'), err: lines.err.join('\n') };
}

/** A copy of a golden folder with other fields in its config. */
function model(name: string, fields: Readonly<Record<string, unknown>>): string {
  const path = join(folder, 'model');
  cpSync(join(GOLDEN, name), path, { recursive: true });
  const config = JSON.parse(readFileSync(join(GOLDEN, name, 'config.json'), 'utf8')) as object;
  writeFileSync(join(path, 'config.json'), JSON.stringify({ ...config, ...fields }));
  return path;
}

const train = (path: string, ...args: string[]): ReturnType<typeof tabmesh> =>
  tabmesh(
    'train',
    '--backend',
    'cpu',
    '--model',
    path,
    '--tokens',
    join(path, 'tokens.safetensors'),
    '--batch',
    '4',
    '--steps',
    '1',
    '--sample-every',
    '0',
    ...args,
  );

test('dropout is told once, and training goes on', async () => {
  const { code, err } = await train(
    model('gpt2-tiny', { resid_pdrop: 0.1, embd_pdrop: 0.1, attn_pdrop: 0.1 }),
    '--layout',
    'dp=2',
    '--devices',
    '2',
  );
  const notes = err.split('\n').filter((line) => line.startsWith('note: '));
  expect(notes).toEqual([
    'note: config.json asks for dropout (resid_pdrop 0.1, embd_pdrop 0.1, attn_pdrop 0.1), which is not applied: training here has none',
  ]);
  expect(code, err).toBe(0);
});

test.each<[string, Record<string, unknown>, string]>([
  ['llama-tiny', { residual: 'ladder' }, 'residual: only null is supported, got "ladder"'],
  [
    'llama-tiny',
    { rope_parameters: { type: 'linear', factor: 2 } },
    'rope_parameters.type: only "default" is supported, got "linear"',
  ],
  ['mixtral-tiny', { norm_topk_prob: false }, 'norm_topk_prob: only true is supported, got false'],
  [
    'mixtral-tiny',
    { output_router_logits: true },
    'output_router_logits: only false is supported, got true with router_aux_loss_coef 0.001',
  ],
  ['mixtral-tiny', { sliding_window: 8 }, 'sliding_window: expected at least the context of 16, got 8'],
  [
    'lasp2h-tiny',
    {},
    'linear_attention_layers: only [] is supported, got [0,1,2]: layers with linear attention are not implemented',
  ],
  ['gpt2-tiny', { hidden_size: 64 }, 'hidden_size: is another name of n_embd'],
])('%s with %j is refused by name', async (name, fields, sentence) => {
  const { code, out, err } = await train(model(name, fields), '--context', '16');
  expect(err).toContain(sentence);
  expect(code).toBe(2);
  expect(out).toBe('');
});

test('a window that the context does not outgrow trains', async () => {
  const { code, err } = await train(model('mixtral-tiny', { sliding_window: 16 }), '--context', '16');
  expect(code, err).toBe(0);
});

test('a saved folder says float32, which its weights are', async () => {
  const { code, err } = await train(
    model('llama-tiny', { torch_dtype: 'bfloat16' }),
    '--context',
    '16',
    '--save',
    join(folder, 'out'),
  );
  expect(code, err).toBe(0);
  expect(JSON.parse(readFileSync(join(folder, 'out/config.json'), 'utf8'))).toMatchObject({ torch_dtype: 'float32' });
  expect(
    readSafetensors(new Uint8Array(readFileSync(join(folder, 'out/model.safetensors')))).tensors.get('lm_head.weight')!
      .dtype,
  ).toBe('F32');
});

test('verify skips by name what is not implemented, runs the rest, and is no success when nothing ran', async () => {
  const path = model('llama-tiny', { residual: 'ladder' });
  const one = await tabmesh('verify', path, '--backend', 'cpu');
  expect(one).toMatchObject({
    code: 1,
    out: expect.stringContaining('skip model dp=1 on cpu: residual: only null is supported, got "ladder"'),
  });
  expect(one.out).toContain('0 passed, 0 failed, 1 skipped');
});

test('what stands beside the tokens and is not known is refused by name', async () => {
  const path = model('llama-tiny', {});
  const { tensors } = readSafetensors(new Uint8Array(readFileSync(join(path, 'tokens.safetensors'))));
  const entries: [string, WriteEntry][] = [...tensors].map(([name, { dtype, shape, bytes }]) => [
    name,
    { dtype, shape, data: bytes },
  ]);
  const mask: WriteEntry = { dtype: 'I32', shape: [1, 4, 16], data: new Int32Array(64) };
  writeFileSync(join(path, 'tokens.safetensors'), writeSafetensors([...entries, ['attention_mask', mask]]));
  const { code, err } = await train(path, '--context', '16');
  expect(err).toContain('tokens.safetensors: expected the tensors tokens, documents, targets, got also attention_mask');
  expect(code).toBe(2);
});
