// The reader of safetensors under a fuzzer: whatever the bytes are, it makes a value of them or refuses them by name.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/base/errors.ts';
import { readSafetensors, writeSafetensors } from '../../src/base/safetensors.ts';
import type { SafetensorsFile } from '../../src/base/safetensors.ts';
import { A, f32, file, rewrite } from './safetensors-bytes.ts';

/**
 * The property under fuzz: a value or a FormatError; a value is a partition of the data and survives a rewrite (foreign
 * tensors cannot be written).
 */
function totalReader(read: (bytes: Uint8Array) => SafetensorsFile, bytes: Uint8Array): 'value' | 'refused' {
  let result: SafetensorsFile;
  try {
    result = read(bytes);
  } catch (error) {
    if (error instanceof FormatError) return 'refused';
    throw error;
  }
  let sum = 0;
  for (const { bytes: part } of [...result.tensors.values(), ...result.foreign.values()]) {
    if (part.buffer !== bytes.buffer) throw new Error('a tensor was copied');
    sum += part.length;
  }
  const headerBytes = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (sum !== bytes.length - 8 - headerBytes) throw new Error('the tensors do not partition the data');
  if (result.foreign.size) return 'value';
  const again = readSafetensors(rewrite(result));
  if (again.tensors.size !== result.tensors.size) throw new Error('a tensor got lost');
  return 'value';
}

describe('fuzz', () => {
  const valid = writeSafetensors(
    [
      ['a', f32([2, 3], [1, 2, 3, 4, 5, 6])],
      ['b', { dtype: 'I64', shape: [1], data: BigInt64Array.of(3n) }],
      ['e', f32([0], [])],
      ['c', { dtype: 'U8', shape: [5], data: Uint8Array.of(1, 2, 3, 4, 5) }],
    ],
    new Map([
      ['format', 'pt'],
      ['step', '10'],
    ]),
  );
  const headerBytes = new DataView(valid.buffer).getUint32(0, true);
  const header = new TextDecoder().decode(valid.subarray(8, 8 + headerBytes)).trimEnd();
  const tokens = header.match(/"[^"]*"|[0-9]+|[{}[\],:]/g)!;
  const spare = [
    '"__proto__"',
    '"dtype"',
    '"BF16"',
    '"F8_E4M3"',
    '"F4"',
    '-1',
    '9007199254740993',
    '1e308',
    '1e999',
    '0',
    '4294967296',
    'null',
    'true',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '""',
    '"\\ud800"',
    '"\\u0061"',
    '"__metadata__"',
    ' ',
  ];

  const byteMutant = fc
    .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
    .map((edits) => {
      const out = valid.slice();
      for (const [at, value] of edits) out[at] = value;
      return out;
    });
  const lengthMutant = fc
    .tuple(
      fc.nat(valid.length),
      fc.oneof(fc.nat(400), fc.constantFrom(0, 2 ** 31 - 1, 2 ** 32 - 1, 2 ** 20, 2 ** 20 + 1)),
      fc.nat(3),
    )
    .map(([cut, claim, high]) => {
      const out = valid.slice(0, Math.max(8, cut));
      new DataView(out.buffer).setUint32(0, claim, true);
      new DataView(out.buffer).setUint32(4, high === 3 ? 1 : 0, true);
      return out;
    });
  const tokenMutant = fc
    .tuple(
      fc.array(
        fc.tuple(
          fc.nat(tokens.length - 1),
          fc.constantFrom('replace', 'insert', 'drop', 'swap', 'digit'),
          fc.nat(spare.length - 1),
        ),
        { minLength: 1, maxLength: 3 },
      ),
      fc.nat(4),
    )
    .map(([edits, extra]) => {
      const list = [...tokens];
      for (const [at, kind, pick] of edits) {
        if (kind === 'replace') list[at] = spare[pick]!;
        else if (kind === 'insert') list.splice(at, 0, spare[pick]!);
        else if (kind === 'drop') list.splice(at, 1);
        else if (kind === 'swap') [list[at], list[pick]] = [list[pick] ?? ',', list[at] ?? ','];
        else if (/^[0-9]+$/.test(list[at] ?? '')) list[at] = String(Number(list[at]) + pick - 4);
      }
      return file(list.join(''), valid.length - 8 - headerBytes + (extra === 4 ? 1 : 0));
    });
  const noise = fc.uint8Array({ maxLength: 64 });
  const inputs = fc.oneof(
    { weight: 3, arbitrary: byteMutant },
    { weight: 1, arbitrary: lengthMutant },
    { weight: 5, arbitrary: tokenMutant },
    { weight: 1, arbitrary: noise },
  );

  it('60,000 mutants: a value or a FormatError', () => {
    const seen = { value: 0, refused: 0 };
    fc.assert(
      fc.property(inputs, (bytes) => {
        seen[totalReader(readSafetensors, bytes)]++;
      }),
      { numRuns: 60_000, seed: 20260101 },
    );
    expect(seen.value).toBeGreaterThan(1000);
    expect(seen.refused).toBeGreaterThan(10_000);
  });

  it('the property catches a reader that lets a TypeError out, and one that skips the partition check', () => {
    const careless = (bytes: Uint8Array): SafetensorsFile => {
      const n = Number(new DataView(bytes.buffer).getBigUint64(0, true));
      const parsed = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + n))) as Record<
        string,
        { dtype: 'F32'; shape: number[]; data_offsets: [number, number] }
      >;
      return {
        metadata: new Map(),
        foreign: new Map(),
        tensors: new Map(
          Object.entries(parsed)
            .filter(([k]) => k !== '__metadata__')
            .map(([k, v]) => [
              k,
              { dtype: v.dtype, shape: v.shape, bytes: bytes.subarray(8 + n).subarray(...v.data_offsets) },
            ]),
        ),
      };
    };
    expect(() =>
      fc.assert(
        fc.property(inputs, (bytes) => {
          totalReader(careless, bytes);
        }),
        { numRuns: 500, seed: 1 },
      ),
    ).toThrow();
    expect(() => totalReader(careless, file(`{"a":${A}}`, 12))).toThrow('the tensors do not partition the data');
  });
});
