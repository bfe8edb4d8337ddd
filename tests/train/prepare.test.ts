// What a run learns from: whose tokenizer cuts the text, what fits the model, and what is refused before anything
// starts.

import { describe, expect, it } from 'vitest';
import { readFileSync } from 'node:fs';
import { ConfigError } from '../../src/base/errors.ts';
import { writeSafetensors } from '../../src/base/safetensors.ts';
import { presetConfig } from '../../src/model/presets.ts';
import { initialWeight, weightSpecs } from '../../src/model/weights.ts';
import { formatModelConfig } from '../../src/model/config.ts';
import { prepareLanguage } from '../../src/train/tasks/language/prepare.ts';
import type { PreparedLanguage } from '../../src/train/tasks/language/prepare.ts';
import type { RunFiles } from '../../src/train/prepare.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { trainBpe } from '../../src/train/text/bpe.ts';
import { formatTokenizer } from '../../src/train/text/tokenizer-file.ts';
import { byteTokenizer, charTokenizer } from '../../src/train/text/tokenizer.ts';
import { gpt2Like, llamaLike } from '../support/huggingface-tokenizers.ts';

const text = 'the whale, the white whale: there she blows. '.repeat(30);
const prepare = (settings: Record<string, unknown>, files: RunFiles = {}): PreparedLanguage =>
  prepareLanguage(parseRunConfig(Object.entries({ context: 8, batch: 2, evalEvery: 0, ...settings })), files);

function folder(vocab: number): RunFiles {
  const model = presetConfig('gpt2-nano', vocab, { layers: 1, context: 16 });
  const weights = writeSafetensors(
    weightSpecs(model).map((spec) => [spec.name, { dtype: 'F32', shape: spec.shape, data: initialWeight(spec, 1) }]),
  );
  return { modelConfig: formatModelConfig(model), weights };
}
const data = { model: 'some/folder', data: 'a.txt' };

describe('the tokenizer', () => {
  it('of a folder is its own, and its files are kept byte for byte', () => {
    const [tokenizer, tokenizerConfig] = [JSON.stringify(gpt2Like(), null, 1), '{ "model_max_length": 16 }'];
    const run = prepare(data, { ...folder(300), text, tokenizer, tokenizerConfig });
    expect([run.tokenizer?.kind, run.tokenizer?.vocab, run.model.vocab, run.dataset.vocab]).toEqual([
      'huggingface',
      263,
      300,
      263,
    ]);
    expect([...run.tokenizerFiles]).toEqual([
      ['tokenizer.json', tokenizer],
      ['tokenizer_config.json', tokenizerConfig],
    ]);
    expect(Math.max(...run.dataset.batchAt(0).tokens)).toBeGreaterThan(255);
    // As a checkpoint carries it.
    const resumed = prepare(data, { ...folder(300), text, tokenizer: formatTokenizer(run.tokenizer!) });
    expect(resumed.dataset.batchAt(3)).toEqual(run.dataset.batchAt(3));
    expect([...resumed.tokenizerFiles]).toEqual([...run.tokenizerFiles]);
    expect(resumed.dataIdentity).toBe(run.dataIdentity);
  });

  it('of a folder that was trained here is read as before', () => {
    const tokenizer = formatTokenizer(charTokenizer(text));
    const run = prepare(data, { ...folder(30), text, tokenizer });
    expect([...run.tokenizerFiles]).toEqual([['tokenizer.tabmesh.json', tokenizer]]);
  });

  it('of a preset is characters, unless another is asked for', () => {
    expect(prepare({ data: 'a.txt' }, { text }).tokenizer?.kind).toBe('chars');
    expect(prepare({ data: 'a.txt', tokenizer: 'bytes' }, { text }).model.vocab).toBe(256);
    expect(prepare({ data: 'a.txt', tokenizer: 'bpe:270' }, { text }).tokenizer?.vocab).toBe(270);
  });

  it('is never made up for a folder: it is asked for by name, and fits', () => {
    expect(() => prepare(data, { ...folder(300), text })).toThrow(
      'tokenizer: the model "some/folder" has none (tokenizer.json or tokenizer.tabmesh.json), so its 300 tokens have no meaning here; put its tokenizer.json beside it, or train it on bytes with --tokenizer bytes',
    );
    expect(() => prepare(data, { ...folder(64), text })).toThrow(
      'put its tokenizer.json beside it; --tokenizer bytes needs a vocabulary of 256',
    );
    expect(prepare({ ...data, tokenizer: 'bytes' }, { ...folder(300), text }).tokenizer?.kind).toBe('bytes');
    expect(() => prepare({ ...data, tokenizer: 'bytes' }, { ...folder(64), text })).toThrow(
      'tokenizer: bytes with 256 tokens, has more tokens than the model, whose vocabulary is 64 (vocab_size in config.json); use the tokenizer that the model was trained with',
    );
  });

  it('of a folder is not contradicted', () => {
    const huggingFace = { ...folder(300), text, tokenizer: JSON.stringify(gpt2Like()) };
    for (const tokenizer of ['bytes', 'chars', 'bpe:300'])
      expect(() => prepare({ ...data, tokenizer }, huggingFace)).toThrow(
        `tokenizer: "${tokenizer}" contradicts the model's own tokenizer, tokenizer.json with 263 tokens; leave the setting out`,
      );
    const bpe = { ...folder(300), text, tokenizer: formatTokenizer(trainBpe(text, 270)) };
    expect(prepare({ ...data, tokenizer: 'bpe:270' }, bpe).tokenizer?.vocab).toBe(270);
    expect(prepare({ ...data, tokenizer: 'bpe:290' }, bpe).notes).toContain(
      "bpe:290 is a vocabulary of 270: the model's own tokenizer has no more",
    );
    expect(() => prepare({ ...data, tokenizer: 'bpe:269' }, bpe)).toThrow('contradicts');
    expect(() =>
      prepare({ ...data, tokenizer: 'chars' }, { ...bpe, tokenizer: formatTokenizer(byteTokenizer()) }),
    ).toThrow('"chars" contradicts the model\'s own tokenizer, bytes with 256 tokens');
  });

  it('with more tokens than the model is refused, added ones included', () => {
    const more = gpt2Like({ added_tokens: [{ id: 300, content: '<pad>', special: true }] });
    expect(() => prepare(data, { ...folder(300), text, tokenizer: JSON.stringify(more) })).toThrow(
      'tokenizer.json with 301 tokens, has more tokens than the model, whose vocabulary is 300',
    );
    expect(prepare(data, { ...folder(301), text, tokenizer: JSON.stringify(more) }).tokenizer?.vocab).toBe(301);
  });

  it('is kept where the data needs none, also one that cannot be read here', () => {
    const tokenizer = JSON.stringify(gpt2Like({ normalizer: { type: 'Precompiled' } }));
    const tokens = writeSafetensors([
      ['tokens', { dtype: 'I32', shape: [5, 2, 9], data: new Int32Array(90).fill(299) }],
    ]);
    const run = prepare({ ...data, data: 'tokens', steps: 5 }, { ...folder(300), tokens, tokenizer });
    expect([run.tokenizer, [...run.tokenizerFiles]]).toEqual([undefined, [['tokenizer.json', tokenizer]]]);
    expect(run.notes.join()).toContain('no samples: tokenizer.json: the normalizer "Precompiled" is not supported');
    expect(() => prepare(data, { ...folder(300), text, tokenizer })).toThrow(
      'is not supported; cut the text into tokens elsewhere and train with --tokens',
    );
    const good = JSON.stringify(llamaLike());
    expect(prepare({ ...data, data: 'copy' }, { ...folder(300), tokenizer: good })).toMatchObject({
      tokenizer: undefined,
      tokenizerFiles: new Map([['tokenizer.json', good]]),
    });
    expect(
      prepare({ ...data, data: 'tokens', steps: 5 }, { ...folder(300), tokens, tokenizer: good }).tokenizer?.prefix,
    ).toEqual([1]);
  });

  it('bpe with fewer merges than asked for is said', () => {
    expect(prepare({ data: 'a.txt', tokenizer: 'bpe:9999' }, { text }).notes.join()).toMatch(
      /bpe:9999 is a vocabulary of \d+: no further pair of tokens stands twice in this text/,
    );
  });
});

describe('the text', () => {
  const utf8 = new TextEncoder().encode(text);
  it('is the same from bytes and from a string', () => {
    const [a, b] = [prepare({ data: 'a.txt' }, { text }), prepare({ data: 'a.txt' }, { text: utf8 })];
    expect(a.dataset.batchAt(2)).toEqual(b.dataset.batchAt(2));
    expect(a.dataIdentity).toBe(b.dataIdentity);
  });

  it('is not what only looks like one; its bytes are trained on when asked', () => {
    const latin = Uint8Array.from(text.replaceAll('e', 'é'), (c) => c.charCodeAt(0));
    for (const tokenizer of ['auto', 'chars', 'bpe:300'])
      expect(() => prepare({ data: 'a.txt', tokenizer }, { text: latin })).toThrow(
        "data: 'a.txt' is no UTF-8 text (byte 2 of 1350 is 0xE9): it looks like Latin-1",
      );
    const run = prepare({ data: 'a.txt', tokenizer: 'bytes' }, { text: latin });
    expect([...run.dataset.batchAt(0).tokens].every((token) => latin.includes(token))).toBe(true);
    expect([...Array.from({ length: 20 }, (_, s) => [...run.dataset.batchAt(s).tokens]).flat()]).toContain(0xe9);
    const zip = Uint8Array.from({ length: 500 }, (_, i) => [0x50, 0x4b, 3, 4][i] ?? (i * 37) % 256);
    expect(prepare({ data: 'a.zip', tokenizer: 'bytes' }, { text: zip }).dataset.vocab).toBe(256);
    expect(() => prepare({ data: 'a.txt', tokenizer: 'bytes' }, { text: new Uint8Array(0) })).toThrow(
      "'a.txt' is empty",
    );
    expect(() => prepare({ data: 'a.txt' }, { text: '\ud83d' })).toThrow('half a surrogate pair at character 0');
  });

  it('too short for the context says how short', () => {
    expect(() => prepare({ data: 'a.txt' }, { text: 'abcdefgh' })).toThrow(
      'context: a context of 8 needs 9 tokens, but the training text has 8 of 8; use a longer text or a context of at most 7',
    );
    expect(prepare({ data: 'a.txt' }, { text: 'abcdefghi' }).dataset.evalBatches).toBe(0);
    expect(() => prepare({ data: 'a.txt', evalEvery: 10 }, { text: 'abcdefghi' })).toThrow(
      'use a text of 90 tokens or more, a shorter context, or no evaluation (evalEvery 0)',
    );
  });
});

describe('tokens', () => {
  const tokens = (steps = 10, most = 40): Uint8Array<ArrayBuffer> =>
    writeSafetensors([
      [
        'tokens',
        {
          dtype: 'I32',
          shape: [steps, 2, 13],
          data: Int32Array.from({ length: steps * 26 }, (_, i) => i % (most + 1)),
        },
      ],
    ]);
  const files = { tokens: tokens() };

  it('train a preset: the vocabulary is one more than the largest, and said; the rows say the context', () => {
    const run = prepare({ data: 'tokens', steps: 10, context: null }, files);
    expect([run.model.vocab, run.model.maxPositions, run.context]).toEqual([41, 12, 12]);
    expect(run.notes).toEqual(['the vocabulary is 41: the largest id in tokens.safetensors is 40']);
    expect(prepare({ data: 'tokens', steps: 10, context: 12, model: 'llama-nano' }, files).model.vocab).toBe(41);
  });

  it('too few for the steps, or of another shape, are said before the start', () => {
    expect(() => prepare({ data: 'tokens', steps: 11, context: 12 }, files)).toThrow(
      'steps: is 11, but tokens.safetensors has 10 steps ([10, 2, 13]); use steps=10 or a file with more',
    );
    expect(() => prepare({ data: 'tokens', steps: 10, context: 8 }, files)).toThrow(
      'context: is 8, but the data has 12 tokens a row; use context=12',
    );
    expect(() => prepare({ data: 'tokens', steps: 10, context: 12, batch: 4 }, files)).toThrow(
      'batch: is 4, but the data has 2 rows a step; use batch=2',
    );
    expect(() => prepare({ data: 'tokens', steps: 1 }, {})).toThrow(ConfigError);
    expect(() =>
      prepare({ ...data, data: 'tokens', steps: 10, context: 12 }, { ...folder(40), tokens: tokens() }),
    ).toThrow(/token 40 \(step 1, row 1, column 1\) is 40, but the model knows 0 to 39/);
    expect(() =>
      prepare(
        { data: 'tokens', steps: 1 },
        { tokens: new Uint8Array(readFileSync(new URL('../golden/models/gpt2-tiny/config.json', import.meta.url))) },
      ),
    ).toThrow('tokens.safetensors');
  });
});
