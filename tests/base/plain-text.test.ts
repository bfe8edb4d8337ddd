import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plainLines, plainText, visibleJson } from '../../src/base/plain-text.ts';

describe('text of other people', () => {
  test.each([
    ['an escape sequence', '\u001b]0;owned\u0007\u001b[31mCALL\u001b[0m', ']0;owned[31mCALL[0m'],
    ['controls of eight bits', 'a\u009b31mb\u0085c', 'a31mb c'],
    ['what turns the line around', 'user\u202etxt.exe\u2066x\u2069\u200f', 'usertxt.exex'],
    ['what is not seen', 'Ad\u200ba\u200d\u00ad\ufeff\u2060\u{e0041}', 'Ada'],
    ['fillers alone', '\u3164\u115f', ''],
    ['line breaks and tabs', 'two\r\nlines\tand\u2028more', 'two lines and more'],
    ['what is hidden between spaces', 'a\t\u0000\tb', 'a b'],
    ['too many marks', `o${'\u0301'.repeat(50)}`, `o${'\u0301'.repeat(4)}`],
    ['a lone surrogate', 'a\ud800b', 'ab'],
    ['other scripts and pictures', 'Ünïcode 日本 עברית 🦊', 'Ünïcode 日本 עברית 🦊'],
  ])('loses %s', (_, text, plain) => {
    expect(plainText(text, 64)).toBe(plain);
  });

  test('is cut to its length, not in the middle of a character', () => {
    expect(plainText('abcdef', 5)).toBe('abcd…');
    expect(plainText('abc🦊🦊', 5)).toBe('abc…');
    expect(plainText('🦊', 2)).toBe('🦊');
    expect(plainText('x'.repeat(1e6), 64)).toHaveLength(64);
  });

  test('of several lines keeps them', () => {
    expect(plainLines('a\r\n\tb\u001b[2J\u0000c\n', 100)).toBe('a\n\tb[2Jc\n');
  });

  test('whatever it is: short, visible, and the same when it is made plain again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), fc.integer({ min: 1, max: 64 }), (text, most) => {
        const plain = plainText(text, most);
        expect(plain.length).toBeLessThanOrEqual(most);
        expect(plain).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
        expect(plainText(plain, most)).toBe(plain);
      }),
      { numRuns: 300 },
    );
  });

  test('as JSON shows what is invisible', () => {
    expect(visibleJson('a\u009b\u202e"\u{e0041}')).toBe('"a\\u009b\\u202e\\"\\udb40\\udc41"');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(JSON.parse(visibleJson(text))).toBe(text);
      }),
    );
  });
});
