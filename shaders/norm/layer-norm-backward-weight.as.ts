// Down the rows, four at a time; see ../wasm/columns.as.ts.

import { COLUMNS, storeSums } from '../wasm/columns.as.ts';
import { loadSome, madd } from '../wasm/simd.as.ts';
import { firstFloat, scratch } from '../wasm/threads.as.ts';

export function layerNormBackwardWeight(
  x: usize,
  mean: usize,
  rstd: usize,
  dOut: usize,
  dWeight: usize,
  R: i32,
  C: i32,
  ACCUMULATE: i32,
  BIAS_AT: i32,
  part: i32,
  parts: i32,
): void {
  const weightSums = scratch();
  const biasSums = weightSums + ((<usize>COLUMNS) << 2);
  const to = firstFloat(C, part + 1, parts);
  for (let column = firstFloat(C, part, parts); column < to; column += COLUMNS) {
    const columns = min(COLUMNS, to - column);
    const skip = (<usize>column) << 2;
    memory.fill(weightSums, 0, (<usize>COLUMNS) << 3);
    let r = 0;
    for (; r < R; r++) {
      const at = (<usize>r) << 2;
      const row = skip + ((<usize>r * C) << 2);
      if (r + 4 > R) {
        addRow(x + row, dOut + row, columns, load<f32>(mean + at), load<f32>(rstd + at), weightSums, biasSums);
        continue;
      }
      addRows(x + row, dOut + row, (<usize>C) << 2, columns, mean + at, rstd + at, weightSums, biasSums);
      r += 3;
    }
    storeSums(weightSums, dWeight + skip, columns, ACCUMULATE);
    if (BIAS_AT) storeSums(biasSums, dWeight + ((<usize>BIAS_AT) << 2) + skip, columns, ACCUMULATE);
  }
}

/** Four rows, `stride` bytes apart. */
function addRows(
  x: usize,
  dOut: usize,
  stride: usize,
  columns: i32,
  mean: usize,
  rstd: usize,
  weightSums: usize,
  biasSums: usize,
): void {
  const m0 = v128.load_splat<f32>(mean);
  const m1 = v128.load_splat<f32>(mean, 4);
  const m2 = v128.load_splat<f32>(mean, 8);
  const m3 = v128.load_splat<f32>(mean, 12);
  const s0 = v128.load_splat<f32>(rstd);
  const s1 = v128.load_splat<f32>(rstd, 4);
  const s2 = v128.load_splat<f32>(rstd, 8);
  const s3 = v128.load_splat<f32>(rstd, 12);
  const second = stride;
  const third = stride + second;
  const fourth = stride + third;
  for (; columns >= 4; columns -= 4) {
    let d = v128.load(dOut);
    let weight = madd(d, f32x4.mul(f32x4.sub(v128.load(x), m0), s0), v128.load(weightSums));
    let bias = f32x4.add(d, v128.load(biasSums));
    d = v128.load(dOut + second);
    weight = madd(d, f32x4.mul(f32x4.sub(v128.load(x + second), m1), s1), weight);
    bias = f32x4.add(d, bias);
    d = v128.load(dOut + third);
    weight = madd(d, f32x4.mul(f32x4.sub(v128.load(x + third), m2), s2), weight);
    bias = f32x4.add(d, bias);
    d = v128.load(dOut + fourth);
    weight = madd(d, f32x4.mul(f32x4.sub(v128.load(x + fourth), m3), s3), weight);
    bias = f32x4.add(d, bias);
    v128.store(weightSums, weight);
    v128.store(biasSums, bias);
    x += 16;
    dOut += 16;
    weightSums += 16;
    biasSums += 16;
  }
  if (columns === 0) return;
  for (let i = 0; i < 4; i++) {
    addRow(x, dOut, columns, load<f32>(mean), load<f32>(rstd), weightSums, biasSums);
    x += stride;
    dOut += stride;
    mean += 4;
    rstd += 4;
  }
}

function addRow(x: usize, dOut: usize, columns: i32, mean: f32, rstd: f32, weightSums: usize, biasSums: usize): void {
  const center = f32x4.splat(mean);
  const scale = f32x4.splat(rstd);
  for (; columns >= 4; columns -= 4) {
    const d = v128.load(dOut);
    v128.store(weightSums, madd(d, f32x4.mul(f32x4.sub(v128.load(x), center), scale), v128.load(weightSums)));
    v128.store(biasSums, f32x4.add(d, v128.load(biasSums)));
    x += 16;
    dOut += 16;
    weightSums += 16;
    biasSums += 16;
  }
  if (columns > 0) {
    const d = loadSome(dOut, columns);
    const weight = madd(d, f32x4.mul(f32x4.sub(loadSome(x, columns), center), scale), v128.load(weightSums));
    v128.store(weightSums, weight);
    v128.store(biasSums, f32x4.add(d, v128.load(biasSums)));
  }
}
