// Structure-aware mutation of byte strings for the fuzzers: fields set to the numbers that break lengths and signs,
// bytes flipped, ends cut or grown, pieces swapped.

import type { Dice } from './dice.ts';

const NUMBERS = [
  0, 1, 2, 3, 4, 0x7f, 0x80, 0xff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff, 0x7fc00000,
  0x7ff00000, 0xfff80000,
];

/** A changed copy of `base`, about its length; now and then a piece of `other` is put in. */
export function mutate(
  base: Uint8Array<ArrayBuffer>,
  other: Uint8Array<ArrayBuffer>,
  d: Dice,
): Uint8Array<ArrayBuffer> {
  let out = base.slice();
  for (let changes = 1 + d.below(3); changes > 0; changes--) {
    const length = Math.max(1, out.length);
    const at = d.below(length);
    switch (d.below(7)) {
      case 0:
        out[at] = d.below(256);
        break;
      case 1:
        out[at] ^= 1 << d.below(8);
        break;
      case 2: {
        const word = at & ~3;
        if (word + 4 <= out.length) new DataView(out.buffer).setUint32(word, NUMBERS[d.below(NUMBERS.length)], true);
        break;
      }
      case 3:
        out = out.slice(0, at);
        break;
      case 4: {
        const longer = new Uint8Array(length + d.below(40));
        longer.set(out);
        out = longer;
        break;
      }
      case 5: {
        const from = d.below(Math.max(1, other.length));
        const piece = other.subarray(from, from + d.below(16));
        out.set(piece.subarray(0, Math.max(0, out.length - at)), Math.min(at, out.length));
        break;
      }
      default:
        out[Math.min(at, out.length - 1)] = '{}[]",:\\-e0'.charCodeAt(d.below(11));
    }
  }
  return out;
}
