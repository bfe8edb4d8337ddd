// Rotary position embedding of packed heads, x and out [R, HEADS * HD]: in the first ROTARY_HEADS heads the pairs of
// the first ROTARY_DIM entries turn, (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), by the angles of row r % T of cos
// and sin [T, ROTARY_DIM / 2]; the rest is copied. INVERSE turns back: that is also the gradient. Memory bound. Source:
// Su et al., https://arxiv.org/abs/2104.09864, equation 34.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import vec4Source from './rope-vec4.wgsl?raw';
import source from './rope.wgsl?raw';

export const rope = defineKernel({
  name: 'rope',
  bindings: { x: 'read', cos: 'read', sin: 'read', out: 'read_write' },
  params: {
    R: 'rows',
    T: 'positions per sequence',
    HEADS: 'heads in a row',
    ROTARY_HEADS: 'heads that turn, from the first',
    HD: 'entries per head',
    ROTARY_DIM: 'entries per head that turn, even',
    INTERLEAVED: '1 pairs (2i, 2i + 1), 0 pairs (i, i + ROTARY_DIM / 2)',
    INVERSE: '1 negates sin',
  },
  dynamic: { R: 'u32' },
  variants: [
    {
      name: 'vec4',
      source: vec4Source,
      tune: { WG: [64] },
      supports: ({ INTERLEAVED, ROTARY_DIM, HD }) => INTERLEAVED === 0 && ROTARY_DIM % 8 === 0 && HD % 4 === 0,
      grid: ({ R, HEADS, HD, ROTARY_DIM }, { WG }) => linearGrid((R * HEADS * (HD - ROTARY_DIM / 2)) / 4, WG),
    },
    {
      name: 'scalar',
      source,
      tune: { WG: [64] },
      grid: ({ R, HEADS, HD, ROTARY_DIM }, { WG }) => linearGrid(R * HEADS * (HD - ROTARY_DIM / 2), WG),
    },
  ],
  cost: ({ R, T, HEADS, ROTARY_HEADS, HD, ROTARY_DIM }) => ({
    flops: 3 * R * ROTARY_HEADS * ROTARY_DIM,
    bytes: 4 * (2 * R * HEADS * HD + T * ROTARY_DIM),
  }),
  reference({ x, cos, sin, out }, { R, T, HEADS, ROTARY_HEADS, HD, ROTARY_DIM, INTERLEAVED, INVERSE }) {
    const half = ROTARY_DIM / 2;
    for (let r = 0; r < R; r++) {
      for (let h = 0; h < HEADS; h++) {
        const start = (r * HEADS + h) * HD;
        for (let d = 0; d < HD; d++) out[start + d] = x[start + d];
        for (let i = 0; h < ROTARY_HEADS && i < half; i++) {
          const first = start + (INTERLEAVED ? 2 * i : i);
          const second = start + (INTERLEAVED ? 2 * i + 1 : i + half);
          const c = cos[(r % T) * half + i];
          const s = (INVERSE ? -1 : 1) * sin[(r % T) * half + i];
          out[first] = x[first] * c - x[second] * s;
          out[second] = x[second] * c + x[first] * s;
        }
      }
    }
  },
  sizes: ({ R, T, HEADS, HD, ROTARY_DIM }) => ({
    x: R * HEADS * HD,
    cos: (T * ROTARY_DIM) / 2,
    sin: (T * ROTARY_DIM) / 2,
    out: R * HEADS * HD,
  }),
  cases: [
    { R: 1, T: 1, HEADS: 1, ROTARY_HEADS: 1, HD: 2, ROTARY_DIM: 2, INTERLEAVED: 0, INVERSE: 0 },
    { R: 12, T: 6, HEADS: 3, ROTARY_HEADS: 2, HD: 7, ROTARY_DIM: 6, INTERLEAVED: 0, INVERSE: 1 },
    { R: 12, T: 6, HEADS: 3, ROTARY_HEADS: 2, HD: 7, ROTARY_DIM: 6, INTERLEAVED: 1, INVERSE: 0 },
    { R: 34, T: 17, HEADS: 6, ROTARY_HEADS: 4, HD: 16, ROTARY_DIM: 16, INTERLEAVED: 0, INVERSE: 0 },
    { R: 34, T: 17, HEADS: 6, ROTARY_HEADS: 4, HD: 20, ROTARY_DIM: 8, INTERLEAVED: 0, INVERSE: 1 },
    { R: 34, T: 17, HEADS: 6, ROTARY_HEADS: 6, HD: 16, ROTARY_DIM: 16, INTERLEAVED: 1, INVERSE: 1 },
  ],
});
