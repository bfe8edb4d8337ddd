import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError, FormatError } from '../../src/base/errors.ts';
import { readMobyDick } from '../../src/server/pages/moby-dick.ts';
import { bpeTokenizer, trainBpe } from '../../src/train/text/bpe.ts';
import { trainMerges } from '../../src/train/text/bpe-training.ts';
import { piecesOf } from '../../src/train/text/pieces.ts';
import { byteTokenizer, charTokenizer, type Tokenizer } from '../../src/train/text/tokenizer.ts';
import { formatTokenizer, makeTokenizer, parseTokenizer } from '../../src/train/text/tokenizer-file.ts';
import { cpuSeconds } from '../support/patience.ts';
import { sample as someOf } from '../support/sample.ts';

const book = readMobyDick();
const sample = book.slice(0, 60_000);
const wellFormed = fc.string({ unit: 'binary', maxLength: 80 });

describe('byte tokenizer', () => {
  it('is the UTF-8 of the text', () => {
    const t = byteTokenizer();
    expect([...t.encode('aé')]).toEqual([97, 0xc3, 0xa9]);
    expect(t.decode([97, 0xc3])).toBe('a\ufffd');
    fc.assert(
      fc.property(wellFormed, (text) => {
        expect(t.decode(t.encode(text))).toBe(text);
      }),
    );
  });
});

describe('character tokenizer', () => {
  it('numbers the code points of its text in order', () => {
    const t = charTokenizer('ba🐋b');
    expect(t.vocab).toBe(3);
    expect([...t.encode('ab🐋')]).toEqual([0, 1, 2]);
    expect(t.decode([2, 0])).toBe('🐋a');
  });

  it('names a character it does not know', () => {
    expect(() => charTokenizer('ab').encode('abc')).toThrow(
      'tokenizer: the character "c" is not among the 2 that this model knows; leave it out or train with the byte or bpe tokenizer',
    );
    expect(() => charTokenizer('')).toThrow(FormatError);
  });
});

describe('BPE', () => {
  it('merges the most frequent pair first, ties by the smaller ids', () => {
    // Pieces: aab, ` aab`, ` cb`: aa 2, ab 2, " a" 1...
    const t = trainBpe('aab aab cb', 259);
    const json = t.toJSON();
    expect(json).toEqual({
      format: 'tabmesh-tokenizer/1',
      kind: 'bpe',
      merges: [
        [97, 97],
        [256, 98],
      ],
    });
    expect(t.vocab).toBe(258);
    expect([...t.encode('aab')]).toEqual([257]);
  });

  it('pairs of equal letters are taken from the left', () => {
    const t = bpeTokenizer([[97, 97]]);
    expect([...t.encode('aaaaa')]).toEqual([256, 256, 97]);
  });

  it('a merge never crosses from a word into a mark, number or another word', () => {
    const t = trainBpe('it is 12! '.repeat(50), 400);
    const tokens = Array.from({ length: t.vocab - 256 }, (_, i) => t.decode([256 + i]));
    expect(tokens).toContain(' is');
    for (const token of tokens) expect(token).toMatch(/^ ?(?:[a-z]+|\d+|!)$|^ +$/);
  });

  it('equal text gives equal merges, and the encoder applies them as plain repeated replacement does', () => {
    const t = trainBpe(sample, 600);
    expect(trainBpe(sample, 600).toJSON()).toEqual(t.toJSON());
    const json = t.toJSON();
    const merges = json.kind === 'bpe' ? json.merges : [];
    for (const word of [' whale', ' never', 'Loomings', ' particular']) {
      let ids = [...new TextEncoder().encode(word)];
      merges.forEach(([a, b], m) => {
        const next: number[] = [];
        while (ids.length) {
          if (ids[0] === a && ids[1] === b) {
            next.push(256 + m);
            ids.splice(0, 2);
          } else next.push(ids.shift()!);
        }
        ids = next;
      });
      expect([...t.encode(word)]).toEqual(ids);
    }
  });

  it('decode undoes encode on any text', () => {
    const t = trainBpe(sample, 500);
    fc.assert(
      fc.property(wellFormed, (text) => {
        expect(t.decode(t.encode(text))).toBe(text);
      }),
    );
    fc.assert(
      fc.property(fc.nat(sample.length - 500), (at) => {
        const text = sample.slice(at, at + 500);
        expect(t.decode(t.encode(text))).toBe(text);
      }),
      { numRuns: 20 },
    );
  });

  it('learns 1,000 merges from the whole book in seconds, and shortens it well', () => {
    const since = process.cpuUsage();
    const t = trainBpe(book, 1256);
    const tokens = t.encode(book);
    expect(cpuSeconds(since)).toBeLessThan(30);
    expect(t.vocab).toBe(1256);
    expect(tokens).toBeInstanceOf(Uint16Array);
    expect(book.length / tokens.length).toBeGreaterThan(2.5);
    expect(t.decode(tokens)).toBe(book);
  });

  it('one endless word does not take quadratic time, nor give an endless token', () => {
    const since = process.cpuUsage();
    const t = trainBpe('ab'.repeat(2000), 300);
    const long = 'ab'.repeat(200_000);
    const tokens = t.encode(long);
    expect(cpuSeconds(since)).toBeLessThan(10);
    expect(t.decode(tokens)).toBe(long);
    expect(tokens.length).toBeGreaterThanOrEqual(long.length / 1024);
    expect(tokens.length).toBeLessThan(long.length / 500);
  });

  it('uses 32-bit ids beyond 65,536 tokens', () => {
    // Every pair of two bytes: 65,536 merges.
    const t = bpeTokenizer(Array.from({ length: 65_536 }, (_, i) => [i >> 8, i & 255] as const));
    expect(t.encode('ab')).toBeInstanceOf(Uint32Array);
    expect([...t.encode('ab')]).toEqual([256 + 97 * 256 + 98]);
  });
});

describe('files', () => {
  const all: Tokenizer[] = [byteTokenizer(), charTokenizer(sample), trainBpe(sample, 400)];

  it.each(all)('$kind reads back', (t) => {
    const again = parseTokenizer(formatTokenizer(t));
    expect(again.toJSON()).toEqual(t.toJSON());
    expect(again.encode(sample).join()).toBe(t.encode(sample).join());
    expect(again.vocab).toBe(t.vocab);
  });

  it.each(all)('$kind refuses ids outside its vocabulary', (t) => {
    for (const bad of [t.vocab, -1, 0.5, NaN])
      expect(() => t.decode([0, bad])).toThrow(`tokenizer: token 1 is ${bad}, expected 0 to ${t.vocab - 1}`);
  });

  const file = (fields: object): string => JSON.stringify({ format: 'tabmesh-tokenizer/1', ...fields });
  it.each<[string, string, string]>([
    ['no JSON', 'x', 'expected a value'],
    ['a list', '[]', 'expected an object with format'],
    ['another format', '{"format":"tabmesh-tokenizer/2","kind":"bytes"}', 'expected an object with format'],
    ['an unknown kind', file({ kind: 'words' }), 'kind must be bytes, chars or bpe'],
    ['an unknown field', file({ kind: 'bytes', merges: [] }), 'unknown field "merges"'],
    ['no characters', file({ kind: 'chars' }), 'characters must be a string'],
    ['empty characters', file({ kind: 'chars', characters: '' }), 'needs a text with at least one character'],
    ['a repeated character', file({ kind: 'chars', characters: 'aab' }), 'characters must stand once each'],
    ['unsorted characters', file({ kind: 'chars', characters: 'ba' }), 'characters must stand once each'],
    ['merges that are no list', file({ kind: 'bpe', merges: {} }), 'merges must be a list'],
    ['a merge of three', file({ kind: 'bpe', merges: [[1, 2, 3]] }), 'merge 0 must be two whole numbers'],
    ['a merge of fractions', file({ kind: 'bpe', merges: [[1, 2.5]] }), 'merge 0 must be two whole numbers'],
    [
      'a merge of later tokens',
      file({ kind: 'bpe', merges: [[1, 256]] }),
      'merge 0 joins 1 and 256, expected two tokens from 0 to 255',
    ],
    ['a negative token', file({ kind: 'bpe', merges: [[-1, 2]] }), 'expected two tokens from 0 to 255'],
    [
      'a repeated merge',
      file({
        kind: 'bpe',
        merges: [
          [1, 2],
          [1, 2],
        ],
      }),
      'merge 1 joins 1 and 2, as merge 0 does',
    ],
    [
      'doublings without end',
      file({ kind: 'bpe', merges: Array.from({ length: 40 }, (_, i) => (i ? [255 + i, 255 + i] : [1, 1])) }),
      'makes a token of 2048 bytes, expected at most 1024',
    ],
    ['a duplicate key', '{"format":"tabmesh-tokenizer/1","kind":"bytes","kind":"chars"}', 'stands twice'],
    ['a huge file', ' '.repeat(4 << 20), 'expected less than'],
  ])('refuses %s', (_, text, message) => {
    expect(() => parseTokenizer(text)).toThrow(FormatError);
    expect(() => parseTokenizer(text)).toThrow(message);
  });
});

describe('fuzz', () => {
  it('20,000 mutants of tokenizer files: a tokenizer that round-trips, or a FormatError', () => {
    const sources = [charTokenizer('abc é🐋"\\'), trainBpe('the cat and the hat and the bat', 264)].map(
      formatTokenizer,
    );
    const edit = fc.tuple(
      fc.nat(400),
      fc.constantFrom('drop', 'insert', 'replace'),
      fc.constantFrom(...'{}[],:"019-.eabc\\\u0000é', '256', '1e9', 'null', '"kind"'),
    );
    let accepted = 0;
    fc.assert(
      fc.property(fc.constantFrom(...sources), fc.array(edit, { minLength: 1, maxLength: 3 }), (source, edits) => {
        let text = source;
        for (const [at, kind, piece] of edits) {
          const i = at % text.length;
          text = text.slice(0, i) + (kind === 'drop' ? '' : piece) + text.slice(kind === 'insert' ? i : i + 1);
        }
        let t: Tokenizer;
        try {
          t = parseTokenizer(text);
        } catch (error) {
          if (error instanceof FormatError) return;
          throw error;
        }
        accepted++;
        expect(parseTokenizer(formatTokenizer(t)).toJSON()).toEqual(t.toJSON());
        t.decode(Uint32Array.from({ length: t.vocab }, (_, i) => i));
      }),
      { numRuns: 20_000, seed: 4 },
    );
    expect(accepted).toBeGreaterThan(200);
  });
});

describe('makeTokenizer', () => {
  it('knows the three kinds by name', () => {
    expect(
      [makeTokenizer('bytes', ''), makeTokenizer('chars', 'abc'), makeTokenizer('bpe:260', 'abab abab cdcd cdcd')].map(
        (t) => [t.kind, t.vocab],
      ),
    ).toEqual([
      ['bytes', 256],
      ['chars', 3],
      ['bpe', 260],
    ]);
  });

  it.each(['words', 'bpe', 'bpe:255', 'bpe:1e3', 'bpe:65537', 'bpe:10000000'])('refuses %s', (name) => {
    expect(() => makeTokenizer(name, 'abc')).toThrow(ConfigError);
  });
});

describe('BPE against its definition', () => {
  const PATTERN = /'(?:[stmd]|ll|re|ve)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
  const mixed = fc
    .array(
      fc.oneof(
        fc.constantFrom(
          ' ',
          '  ',
          '\n',
          "'s",
          "'ll",
          "'",
          'a',
          'ab',
          '1',
          '٣',
          '!?',
          '🐋',
          '𝐀',
          '日本',
          '\u0085',
          '\ufeff',
          'e\u0301',
        ),
        fc.string({ unit: 'binary', maxLength: 3 }),
      ),
      { maxLength: 30 },
    )
    .map((parts) => parts.join(''));

  it('the pieces are those of the pattern', () => {
    fc.assert(
      fc.property(mixed, (text) => {
        expect([...piecesOf(text)]).toEqual([...text.matchAll(PATTERN)].map(([piece]) => piece));
      }),
      { numRuns: 3000 },
    );
  });

  /** One merge after the other over all words, counting every pair anew. */
  function slowly(text: string, count: number): [number, number][] {
    const seen = new Map<string, number>();
    for (const [piece] of text.matchAll(PATTERN)) seen.set(piece, (seen.get(piece) ?? 0) + 1);
    let words = [...seen].map(([piece, weight]) => ({ ids: [...new TextEncoder().encode(piece)], weight }));
    const merges: [number, number][] = [];
    while (merges.length < count) {
      const counts = new Map<string, number>();
      for (const { ids, weight } of words)
        for (let i = 0; i + 1 < ids.length; i++)
          counts.set(`${ids[i]},${ids[i + 1]}`, (counts.get(`${ids[i]},${ids[i + 1]}`) ?? 0) + weight);
      const [best] = [...counts]
        .map(([pair, n]) => ({ pair: pair.split(',').map(Number) as [number, number], n }))
        .filter(({ n }) => n > 1)
        .sort((x, y) => y.n - x.n || x.pair[0] - y.pair[0] || x.pair[1] - y.pair[1]);
      if (!best) break;
      const [left, right] = best.pair;
      words = words.map(({ ids, weight }) => {
        const out: number[] = [];
        for (let i = 0; i < ids.length; i++)
          if (ids[i] === left && ids[i + 1] === right) {
            out.push(256 + merges.length);
            i++;
          } else out.push(ids[i]!);
        return { ids: out, weight };
      });
      merges.push([left, right]);
    }
    return merges;
  }

  it('training finds the merges of the plain procedure', () => {
    const letters = fc
      .array(fc.constantFrom('a', 'b', 'ab', 'aaa', ' ', ' a', 'é', '!'), { maxLength: 120 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(letters, (text) => {
        expect(trainMerges(text, 40)).toEqual(slowly(text, 40));
      }),
      { numRuns: 300 },
    );
    expect(trainMerges(sample.slice(0, 4000), 60)).toEqual(slowly(sample.slice(0, 4000), 60));
  });

  it('long pieces are merged as short ones are', () => {
    const t = trainBpe('abababab aab abb abab babab '.repeat(9), 290);
    const json = t.toJSON();
    const merges = json.kind === 'bpe' ? json.merges : [];
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 200 }), (letters) => {
        let ids = letters.map((letter) => letter.charCodeAt(0));
        merges.forEach(([left, right], m) => {
          const out: number[] = [];
          for (let i = 0; i < ids.length; i++)
            if (ids[i] === left && ids[i + 1] === right) {
              out.push(256 + m);
              i++;
            } else out.push(ids[i]!);
          ids = out;
        });
        expect([...t.encode(letters.join(''))]).toEqual(ids);
      }),
      { numRuns: 300 },
    );
  });
});

describe('BPE takes 5 million characters without a space', () => {
  let seed = 1;
  const random = (): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
  const drawn = (count: number, one: () => string): string => {
    const parts: string[] = [];
    for (let i = 0; i < count; i++) parts.push(one());
    return parts.join('');
  };

  it.each(
    someOf<[string, () => string]>(
      [
        ['one character', () => 'a'.repeat(5_000_000)],
        ['letters', () => drawn(5_000_000, () => String.fromCharCode(97 + Math.floor(26 * random() ** 2)))],
        [
          'Han, nothing repeated on purpose',
          () => drawn(5_000_000, () => String.fromCharCode(0x4e00 + Math.floor(20_000 * random()))),
        ],
        ['emoji', () => drawn(2_500_000, () => String.fromCodePoint(0x1f300 + Math.floor(500 * random())))],
      ],
      2,
    ),
  )('%s', { timeout: 240_000 }, (_, make) => {
    const text = make();
    const told: string[] = [];
    const t = trainBpe(text, 1256, (line) => told.push(line));
    expect(t.decode(t.encode(text)) === text).toBe(true);
    expect(told[0]).toBe('BPE: cutting the text into pieces');
    expect(told.length).toBeLessThan(13);
  });
});
