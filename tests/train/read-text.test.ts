// Bytes that are text, and bytes that are not: refused with what they look like, where, and what to do.

import fc from 'fast-check';
import { deflateRawSync, gzipSync, deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/base/errors.ts';
import { writeSafetensors } from '../../src/base/safetensors.ts';
import { firstBrokenByte } from '../../src/train/text/encoding.ts';
import { checkText, readText } from '../../src/train/text/read-text.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const bytes = (...values: readonly (number | string | Uint8Array)[]): Uint8Array =>
  Uint8Array.from(
    values.flatMap((value) =>
      typeof value === 'number'
        ? [value]
        : typeof value === 'string'
          ? [...value].map((c) => c.charCodeAt(0))
          : [...value],
    ),
  );
const utf16 = (text: string, little: boolean): Uint8Array =>
  Uint8Array.from(
    [...Array(text.length).keys()].flatMap((i) => {
      const unit = text.charCodeAt(i);
      return little ? [unit & 255, unit >> 8] : [unit >> 8, unit & 255];
    }),
  );
const utf32 = (text: string, little: boolean): Uint8Array =>
  Uint8Array.from(
    [...text].flatMap((c) => {
      const code = c.codePointAt(0)!;
      const out = [code & 255, (code >> 8) & 255, code >> 16, 0];
      return little ? out : out.reverse();
    }),
  );
const message = (data: Uint8Array): string => {
  try {
    readText(data, 'a.txt');
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  return 'accepted';
};

const english = 'The quick brown fox jumps over the lazy dog; so it goes.\nAnd again.\n'.repeat(20);
const german = 'Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. '.repeat(20);
const russian = 'Съешь же ещё этих мягких французских булок, да выпей чаю. '.repeat(20);
const japanese = 'いろはにほへと ちりぬるを 我が世誰ぞ 常ならむ。色は匂へど散りぬるを。'.repeat(20);

describe('text', () => {
  it.each([
    ['ASCII', english],
    ['German', german],
    ['Russian', russian],
    ['Japanese', japanese],
    ['emoji', '🐋👩‍👩‍👧🇨🇿'],
    ['line ends of all kinds', 'a\r\nb\rc\nd\u2028e\f'],
    ['one character', 'x'],
    ['terminal colours', `${'plain words '.repeat(20)}\u001b[31mred\u001b[0m`],
    ['a replacement character of its own', 'a\ufffdb'],
    ['letters that files begin with', 'GIF8 and PAR1 and MZ are the first letters. RIFF.'],
    ['BM at the beginning', 'BM was a company'],
    ['MZ', 'MZ'],
    ['a stray control character', `${'many plain words '.repeat(10)}\u0001`],
  ])('%s comes back as it is', (_, text) => {
    expect(readText(utf8(text), 'a.txt')).toEqual({ text, notes: [] });
  });

  it('a byte order mark is left out, and said', () => {
    expect(readText(utf8(`\ufeff${german}`), 'a.txt')).toEqual({
      text: german,
      notes: ["'a.txt' begins with a byte order mark, which is left out"],
    });
    expect(readText(utf8(`a\ufeffb`), 'a.txt').text).toBe('a\ufeffb');
  });

  it('nothing, and nothing but white space, is no text', () => {
    expect(message(bytes())).toBe("data: 'a.txt' is empty; expected a text");
    expect(message(utf8(' \n\t\r\n'))).toBe("data: 'a.txt' has only white space (5 characters); expected a text");
    expect(message(utf8('\ufeff'))).toContain('only white space');
    expect(() => checkText('', 'a.txt')).toThrow("data: 'a.txt' is empty; expected a text");
    expect(() => checkText('ab\ud83dc', 'a.txt')).toThrow(
      "data: 'a.txt' has half a surrogate pair at character 2, which is no text; take it out",
    );
    expect(checkText('ab🐋', 'a.txt')).toBeUndefined();
  });
});

describe('two bytes of 8 bits, which make a letter of 16 bits as well, are not called UTF-16', () => {
  const repeated = (...values: number[]): Uint8Array<ArrayBuffer> =>
    Uint8Array.from({ length: 300 * values.length }, (_, i) => values[i % values.length]!);
  const codes = (text: string): number[] => [...text].map((c) => c.charCodeAt(0));
  /** Code page 500. */
  const ebcdic = (text: string): number[] =>
    codes(text).map((c) => {
      if (c === 32) return 0x40;
      const letter = c - 97;
      return letter < 9 ? 0x81 + letter : letter < 18 ? 0x91 + letter - 9 : 0xa2 + letter - 18;
    });

  it.each<[string, Uint8Array, RegExp]>([
    [
      'code page 437',
      repeated(...codes('sch'), 0x94, ...codes('ne Gr'), 0x81, 0xe1, ...codes('e ')),
      /Windows-1252|older encoding/,
    ],
    ['EBCDIC', repeated(...ebcdic('call me ishmael some years ago ')), /binary data or an older encoding/],
    ['words that end with a zero', repeated(...codes('hello\0world ')), /binary data/],
    ['a surrogate in UTF-8', repeated(97, 98, 99, 0xed, 0xa0, 0x80), /binary data|Latin-1|Windows-1252/],
    ['an overlong character', repeated(97, 98, 99, 0xc0, 0xaf), /binary data|Latin-1|Windows-1252/],
  ])('%s', (_, data, expected) => {
    expect(message(data)).toMatch(expected);
    expect(message(data)).not.toContain('UTF-16');
  });
});

describe('other encodings are named', () => {
  it.each<[string, Uint8Array, string]>([
    [
      'UTF-16LE with a mark',
      bytes(0xff, 0xfe, utf16(english, true)),
      "its byte order mark says UTF-16LE; save it as UTF-8 (iconv -f UTF-16LE -t UTF-8 'a.txt'), or choose the tokenizer bytes (--tokenizer bytes), which trains on the bytes of any file as they are",
    ],
    ['UTF-16BE with a mark', bytes(0xfe, 0xff, utf16(russian, false)), 'its byte order mark says UTF-16BE'],
    ['UTF-32LE with a mark', bytes(0xff, 0xfe, 0, 0, utf32(german, true)), 'its byte order mark says UTF-32LE'],
    ['UTF-32BE with a mark', bytes(0, 0, 0xfe, 0xff, utf32(german, false)), 'its byte order mark says UTF-32BE'],
    ['UTF-16LE', utf16(english, true), 'byte 1 of 2720 is 0x00): it looks like UTF-16LE'],
    ['UTF-16BE', utf16(english, false), 'byte 0 of 2720 is 0x00): it looks like UTF-16BE'],
    ['UTF-16LE, German', utf16(german, true), 'it looks like UTF-16LE'],
    ['UTF-16LE, Russian', utf16(russian, true), 'it looks like UTF-16LE'],
    ['UTF-16BE, Russian', utf16(russian, false), 'it looks like UTF-16BE'],
    ['UTF-16LE, Russian, no spaces', utf16(russian.replace(/[ ,.]/g, ''), true), 'it looks like UTF-16LE'],
    ['UTF-16LE, Japanese', utf16(japanese, true), 'it looks like UTF-16LE'],
    ['UTF-16BE, Japanese', utf16(japanese, false), 'it looks like UTF-16BE'],
    ['UTF-32LE', utf32(german, true), 'it looks like UTF-32LE'],
    ['UTF-32BE', utf32(german, false), 'it looks like UTF-32BE'],
    [
      'Latin-1',
      bytes(german),
      'byte 2 of 1300 is 0xF6): it looks like Latin-1 (ISO 8859-1) or Windows-1252; save it as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8',
    ],
    ['Windows-1252', bytes(english, 0x93, 'quoted', 0x94), 'it looks like Windows-1252'],
    [
      'windows-1251',
      bytes(
        ...[...russian].map((c) => {
          const code = c.charCodeAt(0);
          return code >= 0x410 && code < 0x450 ? code - 0x350 : code < 128 ? code : 0xb8;
        }),
      ),
      'an older encoding',
    ],
  ])('%s', (_, data, expected) => {
    expect(message(data)).toContain(expected);
  });
});

describe('broken UTF-8 says where', () => {
  it.each<[string, Uint8Array, string]>([
    [
      'a lone continuation byte',
      bytes(utf8(russian), 0x80, utf8(russian)),
      `byte ${utf8(russian).length} of ${2 * utf8(russian).length + 1} is 0x80): it looks like UTF-8 with broken bytes (1 among`,
    ],
    ['an encoded surrogate', bytes(utf8(russian), 0xed, 0xa0, 0x80, utf8(russian)), `byte ${utf8(russian).length} of`],
    ['an overlong form', bytes(utf8(russian), 0xc0, 0xaf, utf8(russian)), `is 0xC0`],
    [
      'a file that is cut off',
      utf8(russian.trimEnd().replace(/.$/, 'ю')).subarray(0, -1),
      'its last character, at byte 2078 of 2079, is cut off): it looks like UTF-8 that was cut off',
    ],
    [
      'a zero among letters',
      bytes(english, 0, english),
      `byte ${english.length} of ${2 * english.length + 1} is 0x00): it looks like binary data`,
    ],
  ])('%s', (_, data, expected) => {
    expect(message(data)).toContain(expected);
  });

  it('the first broken byte is the one at which a strict decoder stops', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (data) => {
        const valid = (end: number): boolean => {
          try {
            new TextDecoder('utf-8', { fatal: true }).decode(data.subarray(0, end));
            return true;
          } catch {
            return false;
          }
        };
        const at = firstBrokenByte(data);
        expect(at < 0).toBe(valid(data.length));
        if (at >= 0) expect(valid(at)).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('binary files are named', () => {
  const noise = deflateRawSync(utf8(english + german + russian + japanese));
  it.each<[string, Uint8Array, string]>([
    ['zip', bytes('PK', 3, 4, noise), 'it looks like a zip archive'],
    ['png', bytes(0x89, 'PNG\r\n', 0x1a, '\n', deflateSync(noise)), 'a PNG image'],
    ['pdf', bytes('%PDF-1.7\n%', noise), 'a PDF document'],
    ['a PDF of plain letters', utf8('%PDF-1.4\n1 0 obj'), 'a PDF document'],
    ['gzip', new Uint8Array(gzipSync(english)), 'a gzip file'],
    ['jpeg', bytes(0xff, 0xd8, 0xff, 0xe0, noise), 'a JPEG image'],
    [
      'safetensors',
      writeSafetensors([['x', { dtype: 'F32', shape: [64], data: new Float32Array(64).fill(1) }]]),
      'a safetensors file',
    ],
    ['bzip2', bytes('BZh91AY&SY', noise), 'like a bzip2 file'],
    ['gguf', bytes('GGUF', 3, 0, 0, 0, noise), 'like a GGUF model'],
    ['a Windows program', bytes('MZ', 0x90, 0, 3, 0, noise), 'like a Windows program'],
    ['wav', bytes('RIFF', 4, 0, 0, 0, 'WAVEfmt ', noise), 'like a RIFF file'],
    ['tar', bytes('a'.repeat(100), ...Array<number>(157).fill(0), 'ustar', 0), 'like a tar archive'],
    ['sqlite', bytes('SQLite format 3', 0, 16, 0, 1), 'a SQLite database'],
    ['ELF', bytes(0x7f, 'ELF', 2, 1, 1), 'an ELF program'],
    ['zeros', new Uint8Array(500), 'like binary data'],
    ['compressed data without a head', new Uint8Array(noise.subarray(7)), 'like binary data'],
    ['floats', new Uint8Array(Float32Array.from({ length: 300 }, (_, i) => Math.sin(i)).buffer), 'like binary data'],
  ])('%s', (_, data, expected) => {
    expect(message(data)).toContain(expected);
    expect(message(data)).toContain('(--tokenizer bytes), which trains on the bytes of any file as they are');
  });

  it('random bytes are never taken for text, and never for UTF-16', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 300, maxLength: 600 }), (data) => {
        const told = message(Uint8Array.from(data, (byte, i) => (i === 0 ? 0x91 : byte)));
        expect(told).toContain('is no UTF-8 text');
      }),
      { numRuns: 200 },
    );
    let seed = 7;
    const random = Uint8Array.from({ length: 4000 }, () => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return seed >>> 24;
    });
    expect(message(random)).not.toContain('UTF-16');
  });
});
