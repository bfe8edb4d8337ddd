// Seeded randomness for tests that draw millions of numbers: mulberry32, with the draws that fuzzers and simulators
// want.

export interface Dice {
  /** 32 random bits. */
  bits(): number;
  /** An integer from 0 to n - 1. */
  below(n: number): number;
  bytes(length: number): Uint8Array<ArrayBuffer>;
}

export function dice(seed: number): Dice {
  let state = seed >>> 0;
  const bits = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  return {
    bits,
    below: (n) => bits() % n,
    bytes(length) {
      const out = new Uint8Array(length);
      for (let i = 0; i < length; i++) out[i] = bits() & 255;
      return out;
    },
  };
}
