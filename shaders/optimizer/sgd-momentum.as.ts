// One pass over the weights. On the first step m is not read: whatever it holds counts nothing.

import { loadSome, madd, storeSome } from '../wasm/simd.as.ts';
import { firstFloat } from '../wasm/threads.as.ts';

export function sgdMomentum(param: usize, grad: usize, m: usize, hyper: usize, N: i32, part: i32, parts: i32): void {
  const from = firstFloat(N, part, parts);
  const skip = (<usize>from) << 2;
  param += skip;
  grad += skip;
  m += skip;
  const rate = v128.load_splat<f32>(hyper);
  const momentum = v128.load_splat<f32>(hyper, 4);
  const decay = v128.load_splat<f32>(hyper, 8);
  const scale = v128.load_splat<f32>(hyper, 12);
  const first = load<f32>(hyper, 16) !== 0;
  for (let count = firstFloat(N, part + 1, parts) - from; count > 0; count -= 4) {
    const whole = count >= 4;
    const w = whole ? v128.load(param) : loadSome(param, count);
    const d = madd(scale, whole ? v128.load(grad) : loadSome(grad, count), f32x4.mul(decay, w));
    const velocity = first ? d : madd(momentum, whole ? v128.load(m) : loadSome(m, count), d);
    const updated = f32x4.sub(w, f32x4.mul(rate, madd(momentum, velocity, d)));
    if (whole) {
      v128.store(m, velocity);
      v128.store(param, updated);
    } else {
      storeSome(m, velocity, count);
      storeSome(param, updated, count);
    }
    param += 16;
    grad += 16;
    m += 16;
  }
}
