// One pass over the logits in place: 8 bytes of memory and one exponential per element.

import { exp4, loadSome, storeSome } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

const IGNORED: i32 = -100;

export function ceGrad(
  logits: usize,
  rowMax: usize,
  rowSum: usize,
  targets: usize,
  rowScale: usize,
  R: i32,
  COLS: i32,
  COL_START: i32,
  VOCAB: i32,
  SMOOTHING: f32,
  SCALE: f32,
  HAS_ROW_SCALE: i32,
  part: i32,
  parts: i32,
): void {
  const valid = min(COLS, max(0, VOCAB - COL_START));
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const at = (<usize>r) << 2;
    const row = logits + ((<usize>r * COLS) << 2);
    const id = load<i32>(targets + at);
    if (id === IGNORED) {
      memory.fill(row, 0, (<usize>COLS) << 2);
      continue;
    }
    const scale = HAS_ROW_SCALE ? SCALE * load<f32>(rowScale + at) : SCALE;
    probabilities(
      row,
      valid,
      f32x4.splat(load<f32>(rowMax + at)),
      f32x4.splat(scale / load<f32>(rowSum + at)),
      f32x4.splat((SMOOTHING / <f32>VOCAB) * scale),
    );
    const place = id - COL_START;
    if (place >= 0 && place < valid) {
      const wanted = row + ((<usize>place) << 2);
      store<f32>(wanted, load<f32>(wanted) - (1 - SMOOTHING) * scale);
    }
    memory.fill(row + ((<usize>valid) << 2), 0, (<usize>(COLS - valid)) << 2);
  }
}

/** x <- exp(x - peak) share - base. */
function probabilities(x: usize, count: i32, peak: v128, share: v128, base: v128): void {
  for (; count >= 8; count -= 8) {
    const e0 = exp4(f32x4.sub(v128.load(x), peak));
    const e1 = exp4(f32x4.sub(v128.load(x, 16), peak));
    v128.store(x, f32x4.sub(f32x4.mul(e0, share), base));
    v128.store(x, f32x4.sub(f32x4.mul(e1, share), base), 16);
    x += 32;
  }
  if (count >= 4) {
    v128.store(x, f32x4.sub(f32x4.mul(exp4(f32x4.sub(v128.load(x), peak)), share), base));
    x += 16;
  }
  const rest = count & 3;
  if (rest) storeSome(x, f32x4.sub(f32x4.mul(exp4(f32x4.sub(loadSome(x, rest), peak)), share), base), rest);
}
