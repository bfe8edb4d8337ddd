// One pass; threads share the elements.

import { loadSome, madd, storeSome } from '../../../shaders/wasm/simd.as.ts';
import { firstOf } from '../../../shaders/wasm/threads.as.ts';

export function scaleShift(x: usize, out: usize, N: i32, SCALE: f32, SHIFT: f32, part: i32, parts: i32): void {
  const scale = f32x4.splat(SCALE);
  const shift = f32x4.splat(SHIFT);
  const end = firstOf(N, part + 1, parts);
  for (let i = firstOf(N, part, parts); i < end; i += 4) {
    const at = (<usize>i) << 2;
    const left = end - i;
    if (left < 4) storeSome(out + at, madd(scale, loadSome(x + at, left), shift), left);
    else v128.store(out + at, madd(scale, v128.load(x + at), shift));
  }
}
