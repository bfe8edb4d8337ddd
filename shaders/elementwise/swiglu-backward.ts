// dGateUp [R, 2F] from gateUp [R, 2F] and dOut [R, F]: left half dOut up silu'(gate), right half dOut silu(gate); see
// swiglu.ts. Memory bound: 20 bytes per element of dOut.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './swiglu-backward.wgsl?raw';

export const swigluBackward = defineKernel({
  name: 'swigluBackward',
  bindings: { gateUp: 'read', dOut: 'read', dGateUp: 'read_write' },
  params: { R: 'rows', F: 'columns of dOut; gateUp has 2F' },
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
  cost: ({ R, F }) => ({ flops: 12 * R * F, bytes: 20 * R * F }),
  reference({ gateUp, dOut, dGateUp }, { R, F }) {
    for (let r = 0; r < R; r++) {
      for (let f = 0; f < F; f++) {
        const at = r * 2 * F + f;
        const gate = gateUp[at];
        const up = gateUp[at + F];
        const d = dOut[r * F + f];
        const s = 1 / (1 + Math.exp(-gate));
        dGateUp[at] = d * up * s * (1 + gate * (1 - s));
        dGateUp[at + F] = d * gate * s;
      }
    }
  },
  sizes: ({ R, F }) => ({ gateUp: 2 * R * F, dOut: R * F, dGateUp: 2 * R * F }),
  cases: [
    { R: 1, F: 1 },
    { R: 7, F: 33 },
    { R: 65, F: 64 },
    { R: 3, F: 100 },
  ],
});
