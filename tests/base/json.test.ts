import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/base/errors.ts';
import { decodeUtf8, isObject, parseJson, toPlain } from '../../src/base/json.ts';

const parse = (text: string): unknown => toPlain(parseJson(text, { format: 'test', maxDepth: 64 }));

describe('parseJson', () => {
  it('agrees with JSON.parse on JSON, spaced or not', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), fc.constantFrom(0, 2, '\t'), (text, space) => {
        const value = JSON.parse(text) as unknown;
        const spaced = JSON.stringify(value, null, space);
        // Half a surrogate pair is the one thing that JSON.parse takes and we do not.
        if (/\\ud[89a-f]/i.test(spaced)) return;
        expect(parse(spaced)).toEqual(value);
      }),
      { numRuns: 3000, seed: 1 },
    );
  });

  it('refuses what JSON.parse refuses', () => {
    const alphabet = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '"a"',
      '\\',
      '1',
      '-',
      '.',
      'e',
      '0',
      'true',
      'null',
      ' ',
      '\n',
      '\u00a0',
      '\u0000',
    );
    fc.assert(
      fc.property(
        fc.array(alphabet, { maxLength: 9 }).map((parts) => parts.join('')),
        (text) => {
          let ours: unknown, theirs: unknown;
          try {
            ours = parse(text);
          } catch (error) {
            if (!(error instanceof FormatError)) throw error;
            ours = error;
          }
          try {
            theirs = JSON.parse(text);
          } catch (error) {
            theirs = error;
          }
          if (theirs instanceof Error) expect(ours).toBeInstanceOf(FormatError);
          else if (!(ours instanceof Error && /stands twice/.test(ours.message))) expect(ours).toEqual(theirs);
        },
      ),
      { numRuns: 20_000, seed: 2 },
    );
  });

  it('keeps every escape', () => {
    expect(parse('"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud83d\\udc0b"')).toBe('"\\/\b\f\n\r\tA🐋');
  });

  it('objects are Maps: __proto__ and constructor are keys like others', () => {
    const value = parseJson('{"__proto__":{"x":1},"constructor":2}', { format: 'test' });
    expect(isObject(value) && [...value.keys()]).toEqual(['__proto__', 'constructor']);
    expect(Object.keys(toPlain(value) as object)).toEqual(['__proto__', 'constructor']);
    expect((toPlain(value) as { x?: number }).x).toBeUndefined();
  });

  it('says where', () => {
    expect(() => parseJson('{"a":1,"a":2}', { format: 'control message' })).toThrow(
      'control message: JSON at character 10: the key "a" stands twice in one object',
    );
    expect(() => parseJson('[[[]]]', { format: 'x', maxDepth: 2 })).toThrow(
      'x: JSON at character 2: nested deeper than 2 levels',
    );
  });
});

describe('decodeUtf8', () => {
  it('refuses broken bytes and keeps a byte order mark', () => {
    expect(decodeUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 97), 'x')).toBe('\ufeffa');
    expect(() => decodeUtf8(Uint8Array.of(0xc3), 'x')).toThrow(FormatError);
  });
});
