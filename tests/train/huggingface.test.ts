// Tokenizers of Hugging Face: ids that follow from the definition, texts that come back, and what is refused.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/base/errors.ts';
import { readSafetensors } from '../../src/base/safetensors.ts';
import { formatModelConfig } from '../../src/model/config.ts';
import { presetConfig } from '../../src/model/presets.ts';
import { initialWeight, weightSpecs } from '../../src/model/weights.ts';
import { writeCheckpoint } from '../../src/train/checkpoint.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { huggingFaceTokenizer } from '../../src/train/text/huggingface.ts';
import { formatTokenizer, parseTokenizer, tokenizerFiles } from '../../src/train/text/tokenizer-file.ts';
import { BYTE_CHARACTERS, gpt2Like, llamaLike } from '../support/huggingface-tokenizers.ts';
import { cpuSeconds } from '../support/patience.ts';

const make = (json: Record<string, unknown>, config?: Record<string, unknown>) =>
  huggingFaceTokenizer(JSON.stringify(json), config && JSON.stringify(config));
const wellFormed = fc.string({ unit: 'binary', maxLength: 80 });

describe('byte-level BPE, as GPT-2 has it', () => {
  const t = make(gpt2Like());

  it('merges by rank within pieces, bytes are the rest', () => {
    expect(t.vocab).toBe(263);
    expect([...t.encode('the the')]).toEqual([257, 258]);
    expect([...t.encode('haaaa')]).toEqual([259, 260, 97]);
    expect([...t.encode('aaaaa')]).toEqual([261, 97]);
    expect([...t.encode('é\n')]).toEqual([0xc3, 0xa9, 10]);
    // A merge never crosses from a word into a mark: "th" and "e" are apart.
    expect([...t.encode('th e')]).toEqual([256, 32, 101]);
  });

  it('finds added tokens in the text, and puts none in', () => {
    expect([...t.encode('the<|endoftext|>the')]).toEqual([257, 262, 257]);
    expect(t.prefix).toEqual([]);
    expect(t.decode([257, 262])).toBe('the<|endoftext|>');
  });

  it('decode undoes encode on any text', () => {
    fc.assert(
      fc.property(wellFormed, (text) => {
        expect(t.decode(t.encode(text))).toBe(text);
      }),
      { numRuns: 300 },
    );
    for (const text of ['', " . , ! ' s n't", '\ufeffx\ufeff', '\r\n\t\u0085\u00a0\u3000', '🐋🇨🇿👩‍👩‍👧', 'a\u0301'])
      expect(t.decode(t.encode(text))).toBe(text);
  });

  it('white space is that of Unicode: a byte order mark is a letter-like mark, a next line is space', () => {
    // In the library's own pattern \s is JavaScript's: it would glue U+0085 to the mark before it.
    const json = gpt2Like();
    const model = json['model'] as { vocab: Record<string, number>; merges: string[] };
    const [c2, x85, mark] = [0xc2, 0x85, 0x21].map((byte) => BYTE_CHARACTERS[byte]!);
    model.vocab[mark + c2] = 263;
    model.merges = [`${mark} ${c2}`];
    expect(x85).toBeDefined();
    expect([...make(json).encode('!\u0085')]).toEqual([0x21, 0xc2, 0x85]);
  });

  it('decodes a half character and holes in the vocabulary without failing', () => {
    expect(t.decode([0xc3])).toBe('\ufffd');
    expect(t.decode([])).toBe('');
    const holes = make(gpt2Like({ added_tokens: [{ id: 300, content: '<x>', special: true, normalized: false }] }));
    expect(holes.vocab).toBe(301);
    expect(holes.decode([97, 280, 300])).toBe('a<x>');
    expect(() => holes.decode([301])).toThrow('token 0 is 301, expected 0 to 300');
  });

  it('reads the older spellings: merges as pairs, no type', () => {
    const json = gpt2Like();
    const { type: _, ...model } = json['model'] as Record<string, unknown> & { merges: string[] };
    const older = make({ ...json, model: { ...model, merges: model.merges.map((merge) => merge.split(' ')) } });
    expect([...older.encode('the aaaa')]).toEqual([257, 32, 261]);
  });

  it('a piece without end gives what a short one gives, and takes no quadratic time', () => {
    // The library alone needs 240 s and 1.4 GB for 5 million of them.
    const since = process.cpuUsage();
    const long = t.encode('a'.repeat(5_000_002));
    expect(cpuSeconds(since)).toBeLessThan(60);
    expect(long.length).toBe(1_250_001);
    expect([...long.subarray(0, 2), ...long.subarray(-1)]).toEqual([261, 261, 260]);
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'h', 't', 'e'), { minLength: 2001, maxLength: 2300 }), (letters) => {
        // The library merges pieces up to 2000: the same letters in one piece by our code, against the definition.
        const text = letters.join('');
        expect([...t.encode(text)]).toEqual(byDefinition(text));
      }),
      { numRuns: 10 },
    );
  });

  /** The lowest rank first, of equal ones the leftmost, one merge at a time. */
  function byDefinition(text: string): number[] {
    const { merges, vocab } = gpt2Like()['model'] as { merges: string[]; vocab: Record<string, number> };
    let symbols = [...text];
    for (;;) {
      let best = Infinity;
      for (let i = 0; i + 1 < symbols.length; i++) {
        const rank = merges.indexOf(`${symbols[i]} ${symbols[i + 1]}`);
        if (rank >= 0 && rank < best) best = rank;
      }
      if (best === Infinity) return symbols.map((symbol) => vocab[symbol]!);
      const [left, right] = merges[best]!.split(' ');
      const out: string[] = [];
      for (let i = 0; i < symbols.length; i++)
        if (symbols[i] === left && symbols[i + 1] === right) {
          out.push(left! + right!);
          i++;
        } else out.push(symbols[i]!);
      symbols = out;
    }
  }
});

describe('SentencePiece BPE with byte fallback, as Llama has it', () => {
  const t = make(llamaLike());
  const byte = (value: number): number => 3 + value;

  it('prefixes a space, merges by rank, spells the rest in bytes', () => {
    expect([...t.encode('a')]).toEqual([262]);
    // ▁ a b: the first merge takes ▁a, so ab is not made.
    expect([...t.encode('ab')]).toEqual([262, 261]);
    expect([...t.encode('bab')]).toEqual([259, 261, 263]);
    expect([...t.encode('a  a')]).toEqual([262, 259, 262]);
    expect([...t.encode('b   b')]).toEqual([259, 261, 264, 259, 261]);
    expect([...t.encode('é\n')]).toEqual([259, byte(0xc3), byte(0xa9), byte(10)]);
    expect([...t.encode('a</s>a')]).toEqual([262, 2, 262]);
  });

  it('a prompt begins with <s>, the training text does not', () => {
    expect(t.prefix).toEqual([1]);
    expect(make(llamaLike(), { add_bos_token: false, bos_token: '<s>' }).prefix).toEqual([]);
    expect(
      make(llamaLike({ post_processor: null }), { add_bos_token: true, bos_token: { content: '<s>' } }).prefix,
    ).toEqual([1]);
    const closing = {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
      pair: [],
    };
    expect(make(llamaLike({ post_processor: closing })).prefix).toEqual([]);
  });

  it('decode undoes encode where the text has no ▁ and no special token', () => {
    fc.assert(
      fc.property(
        wellFormed.filter((text) => !/[▁\ufeff]|<unk>|<\/?s>/.test(text)),
        (text) => {
          expect(t.decode(t.encode(text))).toBe(text);
        },
      ),
      { numRuns: 300 },
    );
    expect(t.decode([byte(0xc3)])).toBe('\ufffd');
  });

  it('the words may be found one by one, since no merge crosses into a ▁; where one does, the text stays whole', () => {
    const crossing = llamaLike();
    const model = crossing['model'] as { vocab: Record<string, number>; merges: string[] };
    model.vocab['b▁'] = 265;
    model.merges = ['b ▁', ...model.merges];
    expect([...make(crossing).encode('b b')]).toEqual([259, 265, 261]);
  });

  it('the newer form: Metaspace for the first part only, not split', () => {
    const newer = make(
      llamaLike({
        normalizer: null,
        pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: false },
      }),
    );
    expect([...newer.encode('ab b  b')]).toEqual([262, 261, 259, 261, 264, 261]);
    expect([...newer.encode('a</s>b')]).toEqual([262, 2, 261]);
  });

  it('Metaspace that splits makes a piece of every ▁', () => {
    const split = make(
      llamaLike({
        normalizer: null,
        pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'never', split: true },
      }),
    );
    expect([...split.encode('b  b')]).toEqual([261, 259, 259, 261]);
    const older = make(
      llamaLike({
        normalizer: null,
        pre_tokenizer: { type: 'Metaspace', replacement: '▁', add_prefix_space: false },
        decoder: { type: 'Metaspace', replacement: '▁', add_prefix_space: false },
      }),
    );
    expect([...older.encode('a')]).toEqual([260]);
    expect(older.decode([262, 262])).toBe(' a a');
  });
});

describe('other parts', () => {
  const words = (pre: Record<string, unknown> | null, vocab: readonly string[], more: Record<string, unknown> = {}) =>
    make({
      version: '1.0',
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: pre,
      post_processor: null,
      decoder: null,
      model: {
        type: 'WordLevel',
        vocab: Object.fromEntries(['[UNK]', ...vocab].map((token, id) => [token, id])),
        unk_token: '[UNK]',
      },
      ...more,
    });

  it('Whitespace takes words of all scripts', () => {
    expect([...words({ type: 'Whitespace' }, ['café', '!?', 'вот']).encode('café!? вот x')]).toEqual([1, 2, 3, 0]);
  });

  it('Digits, Punctuation, Split', () => {
    expect([...words({ type: 'Digits', individual_digits: true }, ['a', '1', '٣']).encode('a1٣1')]).toEqual([
      1, 2, 3, 2,
    ]);
    expect([...words({ type: 'Punctuation', behavior: 'Isolated' }, ['a', '!', '+']).encode('a!!+a')]).toEqual([
      1, 2, 2, 3, 1,
    ]);
    expect([...words({ type: 'Punctuation', behavior: 'Contiguous' }, ['a', '!!+']).encode('a!!+a')]).toEqual([
      1, 2, 1,
    ]);
    expect([
      ...words({ type: 'Split', pattern: { String: '.' }, behavior: 'Removed', invert: false }, ['a', 'b']).encode(
        'a.b.a',
      ),
    ]).toEqual([1, 2, 1]);
    expect([
      ...words({ type: 'Split', pattern: { Regex: '\\d' }, behavior: 'Isolated', invert: true }, [
        'a',
        '1',
        '2',
      ]).encode('a12'),
    ]).toEqual([1, 2, 3]);
  });

  it('a dollar in a replacement is a dollar', () => {
    expect([
      ...words({ type: 'WhitespaceSplit' }, ['$&x'], {
        normalizer: { type: 'Replace', pattern: { String: '#' }, content: '$&' },
      }).encode('#x'),
    ]).toEqual([1]);
  });

  it('a vocabulary with the names of our language', () => {
    expect([
      ...words({ type: 'WhitespaceSplit' }, ['constructor', '__proto__', 'toString']).encode('toString constructor'),
    ]).toEqual([3, 1]);
    const text = JSON.stringify(gpt2Like()).replace('"Ġthe":258', '"__proto__":258');
    expect(huggingFaceTokenizer(text).vocab).toBe(263);
  });
});

describe('files', () => {
  it('keeps both files byte for byte, also inside one file of ours', () => {
    const [json, config] = [`${JSON.stringify(gpt2Like(), null, 2)}\n\n`, ' {"model_max_length": 1e30 }'];
    const t = parseTokenizer(json, config);
    expect([...tokenizerFiles(t)]).toEqual([
      ['tokenizer.json', json],
      ['tokenizer_config.json', config],
    ]);
    const again = parseTokenizer(formatTokenizer(t));
    expect([...tokenizerFiles(again)]).toEqual([...tokenizerFiles(t)]);
    expect([...again.encode('the')]).toEqual([257]);
    expect([...tokenizerFiles(parseTokenizer(json)).keys()]).toEqual(['tokenizer.json']);
  });

  it(
    "a checkpoint carries files of the size of Llama 3's, and one that would not fit is refused",
    { timeout: 60_000 },
    () => {
      const padded = JSON.stringify(gpt2Like(), null, 2) + ' '.repeat(17_000_000);
      const t = huggingFaceTokenizer(padded);
      const model = presetConfig('gpt2-nano', 263, { layers: 1, context: 8 });
      const whole = new Map(
        weightSpecs(model).map((spec) => [spec.name, { shape: spec.shape, data: initialWeight(spec, 1) }]),
      );
      const bytes = writeCheckpoint({
        step: 3,
        weights: whole,
        m: whole,
        v: whole,
        config: parseRunConfig([]),
        modelConfig: formatModelConfig(model),
        tokenizer: t,
        dataIdentity: 'task:copy',
      });
      const kept = readSafetensors(bytes).metadata.get('tokenizer')!;
      expect(tokenizerFiles(parseTokenizer(kept)).get('tokenizer.json') === padded).toBe(true);
      const quotes = JSON.stringify({ ...gpt2Like(), note: '"'.repeat(17_000_000) });
      expect(() => huggingFaceTokenizer(quotes)).toThrow(
        'bytes in a checkpoint, but at most 90000000 fit; write it without indentation',
      );
    },
  );

  const model = (change: Record<string, unknown>) =>
    gpt2Like({ model: { ...(gpt2Like()['model'] as object), ...change } });
  it.each<[string, Record<string, unknown>, string]>([
    ['no model', gpt2Like({ model: null }), 'expected an object with a model'],
    [
      'an unknown model',
      model({ type: 'Neural' }),
      'the model "Neural" is not supported; cut the text into tokens elsewhere and train with --tokens',
    ],
    ['dropout', model({ dropout: 0.1 }), 'BPE dropout (0.1) is not supported'],
    ['a prefix of parts', model({ continuing_subword_prefix: '##' }), 'continuing_subword_prefix is not supported'],
    ['no merges', model({ merges: undefined }), 'has no merges'],
    ['an id that is none', model({ vocab: { a: -1 } }), 'the token "a" has no id from 0 to'],
    [
      'an added token without an id',
      gpt2Like({ added_tokens: [{ content: 'x' }] }),
      'an added token needs a content and an id',
    ],
    [
      'whole words only',
      gpt2Like({ added_tokens: [{ id: 262, content: 'x', single_word: true }] }),
      'the added token "x" with single_word is not supported',
    ],
    [
      'a map of characters',
      gpt2Like({ normalizer: { type: 'Sequence', normalizers: [{ type: 'Precompiled' }] } }),
      'the normalizer "Precompiled" is not supported',
    ],
    [
      'another splitting',
      gpt2Like({ pre_tokenizer: { type: 'Split', pattern: { String: 'x' }, behavior: 'MergedWithNext' } }),
      'Split with behavior "MergedWithNext" is not supported',
    ],
    [
      'another pre-tokenizer',
      gpt2Like({ pre_tokenizer: { type: 'UnicodeScripts' } }),
      'the pre-tokenizer "UnicodeScripts" is not supported',
    ],
    ['another decoder', gpt2Like({ decoder: { type: 'Magic' } }), 'this tokenizer cannot be read'],
    [
      'a pattern that is none',
      gpt2Like({ pre_tokenizer: { type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated' } }),
      'this tokenizer cannot be read',
    ],
  ])('refuses %s by name', (_, json, message) => {
    expect(() => make(json)).toThrow(FormatError);
    expect(() => make(json)).toThrow(message);
  });

  it('refuses what is no JSON, no object, or too large', () => {
    expect(() => huggingFaceTokenizer('{')).toThrow('tokenizer.json: is no JSON');
    expect(() => huggingFaceTokenizer('[]')).toThrow('tokenizer.json: expected a JSON object');
    expect(() => huggingFaceTokenizer(JSON.stringify(gpt2Like()), '\ufeff{}')).toThrow(
      'tokenizer_config.json: is no JSON',
    );
    expect(() => huggingFaceTokenizer(JSON.stringify(gpt2Like()), ' '.repeat(40_000_000))).toThrow(
      'at most 40000000 are accepted',
    );
  });

  it('a model that has no token for a character and none for the unknown leaves the character out, as the original does', () => {
    const json = gpt2Like({ pre_tokenizer: null, decoder: null });
    expect([...make(json).encode('aéa')]).toEqual([97, BYTE_CHARACTERS.indexOf('é'), 97]);
    expect([...make(json).encode('a日a')]).toEqual([97, 97]);
  });
});
