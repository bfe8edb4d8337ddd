// The specialiser: constants, unrolling, registers, and nothing else.

import { describe, expect, test } from 'vitest';
import { evaluate, specialise } from '../../src/device/specialise.ts';

const squeeze = (text: string): string => text.replace(/\s+/g, ' ').trim();

describe('constants', () => {
  test('u32, i32 and f32 literals replace the values of named lines only', () => {
    const text = specialise(
      'const N: u32 = 1u;\nconst K: i32 = 1;\nconst S: f32 = 1.0;\nconst M: u32 = N * 2u;\nlet N2 = N;',
      { N: 7, K: -3, S: 0.5 },
    );
    expect(text).toBe(
      'const N: u32 = 7u;\nconst K: i32 = -3i;\nconst S: f32 = 0.5;\nconst M: u32 = N * 2u;\nlet N2 = N;',
    );
  });

  test('whole f32 values stay floating-point, tiny ones keep their exponent', () => {
    expect(specialise('const S: f32 = 1.0;', { S: 3 })).toBe('const S: f32 = 3.0;');
    expect(Number(/= ([^;]+);/.exec(specialise('const S: f32 = 1.0;', { S: 1e-8 }))![1])).toBe(Math.fround(1e-8));
  });

  test.each([
    ['2u * 3u + 1u', 7],
    ['(N - 1u) / 4u', 2],
    ['N % 4u', 1],
    ['-N + 10u', 1],
    ['N * x', undefined],
    ['N +', undefined],
    ['a[0]', undefined],
  ])('%s', (expression, value) => {
    expect(evaluate(expression, new Map([['N', 9]]))).toBe(value);
  });
});

describe('lanes', () => {
  const text =
    'const LANES: u32 = 1u;\nalias Value = f32;\nfn total(v: Value) -> f32 { let a = vec4<f32>(v); if (LANES == 1u) { return a.x; } return a.x + a.y; }';

  test('4 make a Value a vector, and a branch on their number costs nothing', () => {
    expect(squeeze(specialise(text, { LANES: 4 }))).toBe(
      'const LANES: u32 = 4u; alias Value = vec4<f32>; fn total(v: Value) -> f32 { let a = vec4<f32>(v); return a.x + a.y; }',
    );
  });

  test('otherwise a Value stays a number', () => {
    expect(squeeze(specialise(text, {}))).toBe(
      'const LANES: u32 = 1u; alias Value = f32; fn total(v: Value) -> f32 { let a = vec4<f32>(v); { return a.x; }}',
    );
  });
});

describe('unrolling', () => {
  test('a marked loop becomes a block per turn, nested ones too', () => {
    const text = specialise(
      'const T: u32 = 2u;\nfn main() { for (var i = 0u; i < T; i++) { // unroll\n for (var j = i; j < 4u; j += 2u) { // unroll\n f(i, j); } } }',
      { T: 2 },
    );
    expect(squeeze(text)).toBe(
      'const T: u32 = 2u; fn main() { { {f(0u, 0u); } {f(0u, 2u); } } { {f(1u, 1u); } {f(1u, 3u); } } }'
        .replace(/\{f/g, '{ f')
        .replace(/\{ \{/g, '{ {'),
    );
  });

  test('an unmarked loop stays', () => {
    const source = 'for (var i = 0u; i < 3u; i++) { f(i); }';
    expect(specialise(source, {})).toBe(source);
  });

  test.each([
    'for (var i = 0u; i != 3u; i++) { // unroll\n f(i); }',
    'while (true) { // unroll\n f(i); }',
    'for (var i = 0u; i < 3u; i++) // unroll\n { f(i); }',
  ])('a mark on anything else is refused: %j', (source) => {
    expect(() => specialise(source, {})).toThrow('internal: unroll: expected a loop');
  });

  test('bounds that are not constant are our own bug', () => {
    expect(() => specialise('for (var i = 0u; i < n; i++) { // unroll\n f(i); }', {})).toThrow('internal: unroll');
  });
});

test('f16 storage turns the alias and enables the extension; without it the text stays', () => {
  const source = 'alias scalar = f32;\nvar<workgroup> tile: array<vec4<scalar>, 4>;';
  expect(specialise(source, {}, true)).toBe(
    'enable f16;\nalias scalar = f16;\nvar<workgroup> tile: array<vec4<scalar>, 4>;',
  );
  expect(specialise(source, {})).toBe(source);
});

describe('branches', () => {
  test.each([
    ['if (A == 1u) { x(); } else { y(); }', '{ x(); }'],
    ['if (A != 1u) { x(); } else { y(); }', '{ y(); }'],
    ['if (A > 1u) { x(); } z();', 'z();'],
    ['if (A == 2u) { x(); } else if (B % 4u == 3u) { y(); } else { z(); }', '{ { y(); } }'],
    [
      'if (A == 2u) { x(); } else if (n == 3u) { y(); } else { z(); } w();',
      '{ if (n == 3u) { y(); } else { z(); } } w();',
    ],
    ['if (n == 2u) { x(); } else if (A == 1u) { y(); }', 'if (n == 2u) { x(); } else { y(); }'],
    ['if (A == 1u) { if (B == 7u) { x(); } }', '{ { x(); } }'],
    ['if ((A == 2u) | (n == 1u)) { x(); }', 'if ((A == 2u) | (n == 1u)) { x(); }'],
    ['fn f() { if (A == 1u) { return x; } y(); return z; } fn g() { }', 'fn f() { { return x; }} fn g() { }'],
    ['fn f() { if (A == 2u) { return x; } y(); return z; }', 'fn f() { y(); return z; }'],
    ['if (S == 1.0) { x(); }', 'if (S == 1.0) { x(); }'],
  ])('%s', (source, expected) => {
    const head = 'const A: u32 = 1u; const S: f32 = 1.0;\nconst B: u32 = 7u;\n';
    expect(squeeze(specialise(head.replace('; const S', ';\nconst S') + source, {}))).toBe(
      squeeze(head.replace('; const S', ';\nconst S') + expected),
    );
  });

  test('of an unrolled loop see the number of the turn', () => {
    expect(
      squeeze(specialise('for (var i = 0u; i < 2u; i++) { // unroll\n if (i == 0u) { x(); } else { y(); } }', {})),
    ).toBe('{ { x(); } } { { y(); } }');
  });
});

describe('registers', () => {
  test('constant indices become names', () => {
    const text = specialise(
      'const T: u32 = 2u;\nfn main() { var acc: array<f32, T * T>; // registers\n for (var i = 0u; i < T; i++) { // unroll\n acc[i * T + 1u] += acc[i * T]; } }',
      { T: 2 },
    );
    expect(squeeze(text)).toContain('var acc_0: f32; var acc_1: f32; var acc_2: f32; var acc_3: f32;');
    expect(squeeze(text)).toContain('acc_1 += acc_0;');
    expect(squeeze(text)).toContain('acc_3 += acc_2;');
  });

  test.each([
    ['acc[lane] = 1.0;', 'registers: acc[lane] has an index that is not constant'],
    ['take(acc);', 'registers: the array acc is used whole'],
  ])('%s is refused', (use, why) => {
    expect(() => specialise(`fn main() { var acc: array<f32, 4>; // registers\n ${use} }`, {})).toThrow(why);
  });

  test.each(['var<private> acc: array<f32, 4>; // registers', 'var acc = array<f32, 4>(); // registers'])(
    'a mark on anything else is refused: %s',
    (line) => {
      expect(() => specialise(`fn main() { ${line}\n acc[0] = 1.0; }`, {})).toThrow(
        'internal: registers: expected a line',
      );
    },
  );

  test('so is a size that is not constant', () => {
    expect(() => specialise('fn main() { var acc: array<f32, SIZE>; // registers\n acc[0] = 1.0; }', {})).toThrow(
      'registers: the size of "var acc: array<f32, SIZE>; // registers" is not constant',
    );
  });

  test('a member of the same name is no use of the array', () => {
    expect(squeeze(specialise('fn main() { var x: array<f32, 1>; // registers\n x[0] = v.x; }', {}))).toBe(
      'fn main() { var x_0: f32; x_0 = v.x; }',
    );
  });
});
