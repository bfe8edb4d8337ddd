// Down the rows, four at a time; see ../wasm/columns.as.ts.

import { COLUMNS, storeSums } from '../wasm/columns.as.ts';
import { loadSome, madd } from '../wasm/simd.as.ts';
import { firstFloat, scratch } from '../wasm/threads.as.ts';

export function rmsNormBackwardWeight(
  x: usize,
  rstd: usize,
  dOut: usize,
  dWeight: usize,
  R: i32,
  C: i32,
  ACCUMULATE: i32,
  part: i32,
  parts: i32,
): void {
  const sums = scratch();
  const stride = (<usize>C) << 2;
  const to = firstFloat(C, part + 1, parts);
  for (let column = firstFloat(C, part, parts); column < to; column += COLUMNS) {
    const columns = min(COLUMNS, to - column);
    memory.fill(sums, 0, (<usize>COLUMNS) << 2);
    let row = (<usize>column) << 2;
    let scale = rstd;
    let r = R;
    for (; r >= 4; r -= 4) {
      addRows(x + row, dOut + row, stride, columns, scale, sums);
      row += 4 * stride;
      scale += 16;
    }
    for (; r > 0; r--) {
      addRow(x + row, dOut + row, columns, load<f32>(scale), sums);
      row += stride;
      scale += 4;
    }
    storeSums(sums, dWeight + ((<usize>column) << 2), columns, ACCUMULATE);
  }
}

/** Four rows, `stride` bytes apart. */
function addRows(x: usize, dOut: usize, stride: usize, columns: i32, rstd: usize, sums: usize): void {
  const s0 = v128.load_splat<f32>(rstd);
  const s1 = v128.load_splat<f32>(rstd, 4);
  const s2 = v128.load_splat<f32>(rstd, 8);
  const s3 = v128.load_splat<f32>(rstd, 12);
  const second = stride;
  const third = stride + second;
  const fourth = stride + third;
  for (; columns >= 4; columns -= 4) {
    let sum = madd(v128.load(dOut), f32x4.mul(v128.load(x), s0), v128.load(sums));
    sum = madd(v128.load(dOut + second), f32x4.mul(v128.load(x + second), s1), sum);
    sum = madd(v128.load(dOut + third), f32x4.mul(v128.load(x + third), s2), sum);
    sum = madd(v128.load(dOut + fourth), f32x4.mul(v128.load(x + fourth), s3), sum);
    v128.store(sums, sum);
    x += 16;
    dOut += 16;
    sums += 16;
  }
  if (columns === 0) return;
  for (let i = 0; i < 4; i++) {
    addRow(x, dOut, columns, load<f32>(rstd), sums);
    x += stride;
    dOut += stride;
    rstd += 4;
  }
}

function addRow(x: usize, dOut: usize, columns: i32, rstd: f32, sums: usize): void {
  const scale = f32x4.splat(rstd);
  for (; columns >= 4; columns -= 4) {
    v128.store(sums, madd(v128.load(dOut), f32x4.mul(v128.load(x), scale), v128.load(sums)));
    x += 16;
    dOut += 16;
    sums += 16;
  }
  if (columns > 0) {
    const d = loadSome(dOut, columns);
    v128.store(sums, madd(d, f32x4.mul(loadSome(x, columns), scale), v128.load(sums)));
  }
}
