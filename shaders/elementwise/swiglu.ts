// out[r, f] = silu(gateUp[r, f]) gateUp[r, F + f]: gateUp [R, 2F] holds the gate's columns, then the other half's; out
// is [R, F]. Memory bound: 12 bytes per output. Source: Shazeer, https://arxiv.org/abs/2002.05202, equation 5.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './swiglu.wgsl?raw';

export const swiglu = defineKernel({
  name: 'swiglu',
  bindings: { gateUp: 'read', out: 'read_write' },
  params: { R: 'rows', F: 'columns of out; gateUp has 2F' },
  dynamic: { R: 'u32' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [64] },
      supports: ({ F }) => F % 4 === 0,
      grid: ({ R, F }, { WG }) => linearGrid((R * F) / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ R, F }, { WG }) => linearGrid(R * F, WG) },
  ],
  cost: ({ R, F }) => ({ flops: 5 * R * F, bytes: 12 * R * F }),
  reference({ gateUp, out }, { R, F }) {
    for (let r = 0; r < R; r++) {
      for (let f = 0; f < F; f++) {
        const gate = gateUp[r * 2 * F + f];
        out[r * F + f] = (gate / (1 + Math.exp(-gate))) * gateUp[r * 2 * F + F + f];
      }
    }
  },
  sizes: ({ R, F }) => ({ gateUp: 2 * R * F, out: R * F }),
  cases: [
    { R: 1, F: 1 },
    { R: 7, F: 33 },
    { R: 65, F: 64 },
    { R: 3, F: 100 },
  ],
});
