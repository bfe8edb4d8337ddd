import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/base/errors.ts';
import { firstNonFinite } from '../../src/base/finite.ts';
import {
  readSafetensors,
  toFloat32,
  toFloat64,
  toInt32,
  viewFloat32,
  writeSafetensors,
  type ReadOptions,
  type WriteEntry,
} from '../../src/base/safetensors.ts';
import { A, entry, f32, file, rewrite } from './safetensors-bytes.ts';

const golden = fileURLToPath(new URL('../golden/', import.meta.url));

describe('readSafetensors: what must be refused, one by one', () => {
  const cases: [what: string, bytes: Uint8Array, message: string, options?: ReadOptions][] = [
    ['no bytes', new Uint8Array(0), 'safetensors: expected at least 8 bytes, got 0; the file is cut off or empty'],
    ['seven bytes', new Uint8Array(7), 'expected at least 8 bytes, got 7'],
    ['an empty header', file('', 0), 'the header must begin with {'],
    [
      'a header longer than the file',
      file('{}', 0, 3),
      'the header claims 3 bytes, but only 2 follow; the file is cut off',
    ],
    [
      'a header over the limit',
      file('{}', 2 ** 20, 100_000_001),
      'the header claims 100000001 bytes, but at most 100000000 are accepted',
    ],
    [
      'a header of 100 MB that is not there',
      file('{}', 2 ** 20, 100_000_000),
      'the header claims 100000000 bytes, but only 1048578 follow; the file is cut off',
    ],
    [
      'a pointer of Git LFS',
      new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 548105171\n'),
      'it is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`',
    ],
    [
      'a pickled file',
      new TextEncoder().encode('PK\x03\x04archive/data.pkl'),
      'it is a pickled PyTorch file; convert it with safetensors.torch.save_file',
    ],
    ['a page', new TextEncoder().encode('<!DOCTYPE html><html>'), 'it is a web page; download the file itself'],
    ['a header of 2^64 - 1 bytes', new Uint8Array(8).fill(255), 'the header claims'],
    ['a header over a smaller limit', file(`{"a":${A}}`, 8), 'at most 16 are accepted', { maxHeaderBytes: 16 }],
    ['a header that is a list', file('[]', 0), 'the header must begin with {'],
    ['a space before the brace', file(' {}', 0), 'the header must begin with {'],
    ['a byte order mark', file('\ufeff{}', 0), 'the header must begin with {'],
    [
      'not UTF-8',
      ((): Uint8Array => {
        const b = file('{"a":1}', 0);
        b[10] = 0xff;
        return b;
      })(),
      'the text is not valid UTF-8',
    ],
    ['half a surrogate pair', file('{"\\ud800":1}', 0), 'half of a surrogate pair'],
    ['JSON cut short', file('{"a":', 0), 'expected a value'],
    ['bytes after the JSON', file('{}x', 0), 'expected the end of the text'],
    ['a NUL after the JSON', file('{}\0', 0), 'expected the end of the text'],
    ['a trailing comma', file(`{"a":${A},}`, 8), 'expected a key in quotes'],
    ['a duplicate tensor', file(`{"a":${A},"a":${A}}`, 8), 'the key "a" stands twice'],
    ['a duplicate by escape', file(`{"a":${A},"\\u0061":${A}}`, 8), 'the key "a" stands twice'],
    [
      'a duplicate field',
      file('{"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4),
      'the key "dtype" stands twice',
    ],
    ['duplicate metadata', file('{"__metadata__":{"k":"1","k":"2"}}', 0), 'the key "k" stands twice'],
    ['metadata twice', file('{"__metadata__":{},"__metadata__":{}}', 0), 'stands twice'],
    ['metadata that is a list', file('{"__metadata__":[]}', 0), '__metadata__ must be an object of strings'],
    ['metadata with a number', file('{"__metadata__":{"step":1}}', 0), '__metadata__: "step" must be a string'],
    [
      'a missing field',
      file('{"a":{"dtype":"F32","shape":[2]}}', 8),
      'tensor "a": data_offsets must be two whole numbers',
    ],
    [
      'an unknown field',
      file('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]}}', 8),
      'tensor "a": unknown field "strides"',
    ],
    [
      'a tensor that is a number',
      file('{"a":7}', 0),
      'tensor "a": expected an object with dtype, shape and data_offsets',
    ],
    ['F8 of a wrong size', file(`{"a":${entry('[2]', 0, 8, 'F8_E4M3')}}`, 8), 'hold 8 bytes, but F8_E4M3 [2] needs 2'],
    ['F4 of a wrong size', file(`{"a":${entry('[5]', 0, 5, 'F4')}}`, 5), 'hold 5 bytes, but F4 [5] needs 3'],
    [
      'a needed tensor of a foreign type',
      file(`{"a":${entry('[2]', 0, 2, 'F8_E4M3')}}`, 2),
      'tensor "a": expected one of F64, I64, U64, F32, I32, U32, F16, BF16, I16, U16, I8, U8, BOOL, got F8_E4M3',
      { expected: new Set(['a']) },
    ],
    [
      'a dtype from the prototype',
      file(`{"a":${entry('[2]', 0, 8, 'toString')}}`, 8),
      'dtype must be the name of a type, such as F64,',
    ],
    ['an empty dtype', file(`{"a":${entry('[2]', 0, 8, '')}}`, 8), 'dtype must be the name of a type'],
    ['a dtype that is a number', file('{"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}}', 8), 'got no string'],
    [
      'a negative extent',
      file(`{"a":${entry('[-2]', 0, 8)}}`, 8),
      'expected a whole number from 0 to 2^53 - 1, got "-2"',
    ],
    ['a fractional extent', file(`{"a":${entry('[2.5]', 0, 8)}}`, 8), 'expected a whole number'],
    ['an extent with an exponent', file(`{"a":${entry('[2e0]', 0, 8)}}`, 8), 'expected a whole number'],
    ['an extent of 1e308', file(`{"a":${entry('[1e308]', 0, 8)}}`, 8), 'expected a whole number'],
    ['an extent of 1e999', file(`{"a":${entry('[1e999]', 0, 8)}}`, 8), 'is too large'],
    ['an extent of 2^53', file(`{"a":${entry('[9007199254740992]', 0, 8)}}`, 8), 'expected a whole number'],
    ['a product of 2^53 bytes', file(`{"a":${entry('[2251799813685248]', 0, 8)}}`, 8), 'has more than 2^53 bytes'],
    [
      'a product that wraps to 0 in 64 bits',
      file(`{"a":${entry('[4294967296,4294967296]', 0, 0)}}`, 0),
      'has more than 2^53 bytes',
    ],
    [
      'an overflow hidden behind a 0',
      file(`{"a":${entry('[0,4503599627370496,4503599627370496]', 0, 0)}}`, 0),
      'has more than 2^53 bytes',
    ],
    ['a shape that is an object', file(`{"a":${entry('{}', 0, 8)}}`, 8), 'shape must be a list of whole numbers'],
    ['a shape with a string', file(`{"a":${entry('["2"]', 0, 8)}}`, 8), 'shape must be a list of whole numbers'],
    [
      'three offsets',
      file('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}', 8),
      'data_offsets must be two whole numbers',
    ],
    ['offsets backwards', file(`{"a":${entry('[2]', 8, 0)}}`, 8), 'data_offsets [8, 0] run backwards'],
    [
      'offsets past the end',
      file(`{"a":${entry('[3]', 0, 12)}}`, 8),
      'data_offsets [0, 12] reach past the 8 data bytes; the file is cut off',
    ],
    [
      'bytes that disagree with the shape',
      file(`{"a":${entry('[3]', 0, 8)}}`, 8),
      'data_offsets [0, 8] hold 8 bytes, but F32 [3] needs 12',
    ],
    ['bytes that disagree with the dtype', file(`{"a":${entry('[2]', 0, 8, 'F64')}}`, 8), 'F64 [2] needs 16'],
    ['a scalar without bytes', file(`{"a":${entry('[]', 0, 0)}}`, 0), 'F32 [] needs 4'],
    [
      'a hole before the first tensor',
      file(`{"a":${entry('[2]', 4, 12)}}`, 12),
      'tensor "a" begins at byte 4, but the tensor before it ends at 0: a hole of 4 bytes',
    ],
    ['a hole between tensors', file(`{"a":${A},"b":${entry('[2]', 12, 20)}}`, 20), 'a hole of 4 bytes'],
    ['an empty tensor in a hole', file(`{"a":${A},"b":${entry('[0]', 9, 9)}}`, 10), 'a hole of 1 bytes'],
    [
      'an empty tensor inside another',
      file(`{"a":${A},"b":${entry('[0]', 4, 4)}}`, 8),
      'tensor "b" begins at byte 4, inside the tensor before it, which ends at 8',
    ],
    ['overlapping tensors', file(`{"a":${A},"b":${entry('[2]', 4, 12)}}`, 12), 'inside the tensor before it'],
    ['two tensors on the same bytes', file(`{"a":${A},"b":${A}}`, 8), 'inside the tensor before it'],
    [
      'bytes after the last tensor',
      file(`{"a":${A}}`, 9),
      'the tensors end at byte 8 of 9 data bytes; 1 bytes belong to nothing',
    ],
    ['bytes without a tensor', file('{}', 3), '3 bytes belong to nothing'],
    ['an empty name', file(`{"":${A}}`, 8), 'the tensor name "" must match'],
    ['a name with a newline', file(`{"a\\nb":${A}}`, 8), 'must match'],
    ['a name that ends in a newline', file(`{"a\\n":${A}}`, 8), 'must match'],
    ['a name of 129 characters', file(`{"${'a'.repeat(129)}":${A}}`, 8), 'must match'],
    ['a name outside ASCII', file(`{"\u00e9":${A}}`, 8), 'must match'],
    [
      'an unexpected tensor',
      file(`{"__proto__":${A}}`, 8),
      'the tensor "__proto__" is not expected here',
      { expected: new Set(['a']) },
    ],
    ['a missing tensor', file('{}', 0), 'the tensor "a" is missing', { expected: new Set(['a']) }],
    ['deep JSON', file(`{"a":${'['.repeat(500_000)}`, 0), 'nested deeper than 3 levels'],
    ['deep objects', file('{"a":'.repeat(100_000), 0), 'nested deeper than 3 levels'],
    ['a raw control character', file('{"a\u0001":1}', 0), 'a control character stands inside a string'],
    ['single quotes', file("{'a':1}", 0), 'expected a key in quotes'],
    ['a comment', file('{/**/}', 0), 'expected a key in quotes'],
    ['NaN', file('{"a":NaN}', 0), 'expected a value'],
    ['a number with a leading zero', file(`{"a":${entry('[02]', 0, 8)}}`, 8), 'expected a comma or a closing bracket'],
  ];

  it.each(cases)('%s', (_, bytes, message, options) => {
    let error: unknown;
    try {
      readSafetensors(bytes, options);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(FormatError);
    expect((error as FormatError).message).toContain(message);
    expect((error as FormatError).format).toBe('safetensors');
  });

  it('names the file when it has a name', () => {
    expect(() => readSafetensors(new Uint8Array(3), { label: 'model.safetensors' })).toThrow(
      'safetensors: model.safetensors: expected at least 8 bytes',
    );
    expect(() => readSafetensors(file('{"a":', 0), { label: 'model.safetensors' })).toThrow(
      'safetensors: model.safetensors: JSON at character 5',
    );
  });
});

describe('readSafetensors: what must be accepted', () => {
  it('no tensors, empty tensors and scalars', () => {
    expect(readSafetensors(file('{}', 0)).tensors.size).toBe(0);
    const { tensors } = readSafetensors(
      file(`{"z":${entry('[0,3]', 4, 4)},"s":${entry('[]', 0, 4)},"y":${entry('[0]', 0, 0)}}`, 4),
    );
    expect([...tensors.keys()]).toEqual(['y', 's', 'z']);
    expect(tensors.get('z')!.bytes.length).toBe(0);
  });

  it('tensors of types that are not read here, which stand apart and hold their place', () => {
    const { tensors, foreign } = readSafetensors(
      file(
        `{"a":${A},"f8":${entry('[3]', 8, 11, 'F8_E5M2')},"f4":${entry('[3]', 11, 13, 'F4')},"new":${entry('[7]', 13, 14, 'F128_X')},"b":${entry('[1]', 14, 18)}}`,
        18,
      ),
    );
    expect([...tensors.keys()]).toEqual(['a', 'b']);
    expect([...foreign].map(([name, { dtype, shape, bytes }]) => [name, dtype, shape, bytes.length])).toEqual([
      ['f8', 'F8_E5M2', [3], 3],
      ['f4', 'F4', [3], 2],
      ['new', 'F128_X', [7], 1],
    ]);
    expect(tensors.get('b')!.bytes.byteOffset - tensors.get('a')!.bytes.byteOffset).toBe(14);
  });

  it('a header of 12 MB with 100,000 tensors, in seconds', () => {
    const list = Array.from(
      { length: 100_000 },
      (_, i) => `"model.layers.${i}.block_sparse_moe.experts.${i}.w1.weight.part":${entry('[0,4096]', 0, 0)}`,
    );
    const bytes = file(`{${list.join(',')}}`, 0);
    expect(bytes.length).toBeGreaterThan(12_000_000);
    expect(readSafetensors(bytes).tensors.size).toBe(100_000);
  });

  it('a tensor called __proto__ is a tensor and touches no prototype', () => {
    const { tensors } = readSafetensors(file(`{"__proto__":${A},"__metadata__":{"__proto__":"x"}}`, 8));
    expect([...tensors.keys()]).toEqual(['__proto__']);
    expect(({} as { dtype?: unknown }).dtype).toBeUndefined();
  });

  it('tensors in another order than their bytes, and spaces where JSON allows them', () => {
    const { tensors } = readSafetensors(file(`{ "b" :${entry('[1]', 8, 12)} ,\n"a":${A}}   `, 12));
    expect([...tensors.keys()]).toEqual(['a', 'b']);
  });

  it('a view that starts at an odd byte of a larger buffer', () => {
    const inner = writeSafetensors([['a', f32([3], [1, -2, 3.5])]]);
    const outer = new Uint8Array(inner.length + 6).fill(9);
    outer.set(inner, 3);
    expect([...toFloat32(readSafetensors(outer.subarray(3, 3 + inner.length)).tensors.get('a')!)]).toEqual([
      1, -2, 3.5,
    ]);
  });
});

describe('element types', () => {
  const raw = (dtype: WriteEntry['dtype'], data: ArrayBufferView, count: number): number[] => [
    ...toFloat64(readSafetensors(writeSafetensors([['x', { dtype, shape: [count], data }]])).tensors.get('x')!),
  ];

  it('every dtype decodes to its values', () => {
    expect(raw('F64', Float64Array.of(1e300, -0.1), 2)).toEqual([1e300, -0.1]);
    expect(raw('F32', Float32Array.of(0.5, Infinity), 2)).toEqual([0.5, Infinity]);
    expect(raw('F16', Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x3555), 6)).toEqual([
      1,
      -2,
      2 ** -24,
      65504,
      Infinity,
      0.333251953125,
    ]);
    expect(raw('F16', Uint16Array.of(0x7e00), 1)).toEqual([NaN]);
    expect(raw('BF16', Uint16Array.of(0x3f80, 0xc2f7, 0x0080), 3)).toEqual([1, -123.5, 2 ** -126]);
    expect(raw('I64', BigInt64Array.of(-5n, 2n ** 40n), 2)).toEqual([-5, 2 ** 40]);
    expect(raw('U64', BigUint64Array.of(2n ** 63n), 1)).toEqual([2 ** 63]);
    expect(raw('I32', Int32Array.of(-7), 1)).toEqual([-7]);
    expect(raw('U32', Uint32Array.of(4e9), 1)).toEqual([4e9]);
    expect(raw('I16', Int16Array.of(-300), 1)).toEqual([-300]);
    expect(raw('U16', Uint16Array.of(65535), 1)).toEqual([65535]);
    expect(raw('I8', Int8Array.of(-1), 1)).toEqual([-1]);
    expect(raw('U8', Uint8Array.of(255), 1)).toEqual([255]);
    expect(raw('BOOL', Uint8Array.of(0, 1), 2)).toEqual([0, 1]);
  });

  it('toFloat32 rounds to nearest and is a copy; viewFloat32 is the bytes themselves where they are aligned f32', () => {
    const written = writeSafetensors([
      ['d', { dtype: 'F64', shape: [2], data: Float64Array.of(0.1, 1e39) }],
      ['f', f32([2], [1, -2])],
      ['h', { dtype: 'F16', shape: [2], data: Uint16Array.of(0x3555, 0xfc00) }],
      ['b', { dtype: 'BF16', shape: [1], data: Uint16Array.of(0xc2f7) }],
    ]);
    const { tensors } = readSafetensors(written);
    const floats = (name: string): number[] => [...toFloat32(tensors.get(name)!)];
    expect([floats('d'), floats('f'), floats('h'), floats('b')]).toEqual([
      [Math.fround(0.1), Infinity],
      [1, -2],
      [0.333251953125, -Infinity],
      [-123.5],
    ]);
    expect(viewFloat32(tensors.get('f')!).buffer).toBe(written.buffer);
    expect(toFloat32(tensors.get('f')!).buffer).not.toBe(written.buffer);
    const odd = new Uint8Array(written.length + 1);
    odd.set(written, 1);
    expect([...viewFloat32(readSafetensors(odd.subarray(1)).tensors.get('f')!)]).toEqual([1, -2]);
  });

  it('toInt32 refuses what is no 32-bit whole number', () => {
    const { tensors } = readSafetensors(
      writeSafetensors([
        ['ok', { dtype: 'I64', shape: [2], data: BigInt64Array.of(-1n, 7n) }],
        ['far', { dtype: 'I64', shape: [1], data: BigInt64Array.of(2n ** 31n) }],
      ]),
    );
    expect([...toInt32(tensors.get('ok')!)]).toEqual([-1, 7]);
    expect(() => toInt32(tensors.get('far')!)).toThrow('I64 element 0 is 2147483648');
  });

  it('firstNonFinite finds NaN and infinities', () => {
    expect([[1, 2], [1, NaN], [-Infinity], []].map(firstNonFinite)).toEqual([-1, 1, 0, -1]);
    const most = 3.4028234663852886e38;
    for (let at = 0; at < 11; at++) {
      const values = Float32Array.from({ length: 11 }, (_, i) => [most, -most, 1e-45, -0, 0][i % 5]!);
      expect(firstNonFinite(values)).toBe(-1);
      for (const bad of [NaN, Infinity, -Infinity])
        expect(firstNonFinite(values.with(at, bad).subarray(at % 3))).toBe(at - (at % 3));
    }
  });
});

describe('writeSafetensors', () => {
  it('is byte for byte what the format says', () => {
    const bytes = writeSafetensors([['w', f32([1, 2], [1, 2])]], new Map());
    const header = '{"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}';
    expect(header.length).toBe(56);
    expect([...bytes]).toEqual([
      56,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      ...new TextEncoder().encode(header),
      0,
      0,
      128,
      63,
      0,
      0,
      0,
      64,
    ]);
  });

  it('puts wider elements first, so that each tensor is aligned', () => {
    const written = writeSafetensors([
      ['byte', { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) }],
      ['a', f32([1], [1])],
      ['wide', { dtype: 'I64', shape: [1], data: BigInt64Array.of(9n) }],
      ['b', f32([1], [2])],
    ]);
    const { tensors, metadata } = readSafetensors(written);
    expect([...tensors.keys()]).toEqual(['wide', 'a', 'b', 'byte']);
    for (const { bytes, dtype } of tensors.values())
      expect(bytes.byteOffset % { I64: 8, F32: 4, U8: 1 }[dtype as string]!).toBe(0);
    expect([...metadata]).toEqual([['format', 'pt']]);
  });

  it('refuses wrong sizes and names', () => {
    expect(() => writeSafetensors([['a', f32([3], [1, 2])]])).toThrow(
      'cannot write tensor "a": got 8 bytes, but F32 [3] needs 12',
    );
    expect(() =>
      writeSafetensors([
        ['a', f32([1], [1])],
        ['a', f32([1], [1])],
      ]),
    ).toThrow('the name is taken');
    expect(() => writeSafetensors([['__metadata__', f32([1], [1])]])).toThrow('the name is taken');
    expect(() => writeSafetensors([['a b', f32([1], [1])]])).toThrow('must match');
  });
});

describe('golden files of other writers', () => {
  const files = (readdirSync(golden, { recursive: true }) as string[]).filter((name) => name.endsWith('.safetensors'));

  it('there are some', () => {
    expect(files.length).toBeGreaterThanOrEqual(8);
  });

  it.each(files)('%s is read, and written again byte for byte where its header is compact JSON', (path) => {
    const bytes = new Uint8Array(readFileSync(join(golden, path)));
    const read = readSafetensors(bytes);
    expect(read.tensors.size).toBeGreaterThan(0);
    const again = rewrite(read);
    const compact = !new TextDecoder().decode(bytes.subarray(8, 400)).includes('": {"');
    if (compact) expect(Buffer.compare(again, bytes)).toBe(0);
    else
      expect(
        [...readSafetensors(again).tensors].every(
          ([name, t]) => Buffer.compare(t.bytes, read.tensors.get(name)!.bytes) === 0,
        ),
      ).toBe(true);
  });
});
