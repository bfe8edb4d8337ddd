// As much arithmetic as an adapter can do: each of THREADS threads takes CHAINS independent quads through STEPS of x =
// a x + b and adds them all up; a and b are coefficients [8], four each. Element e of chain c of thread t starts at (t
// % 16 + c + e) / 16. STEPS must be divisible by 4. It measures the arithmetic ceiling that other kernels are held
// against; memory is next to nothing.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './peak-fma.wgsl?raw';

export const peakFma = defineKernel({
  name: 'peakFma',
  bindings: { coefficients: 'read', out: 'read_write' },
  params: { THREADS: 'threads, one sum each', STEPS: 'steps of every chain', CHAINS: 'independent quads per thread' },
  variants: [{ name: 'vec4', source, tune: { WG: [64] }, grid: ({ THREADS }, { WG }) => linearGrid(THREADS, WG) }],
  cost: ({ THREADS, STEPS, CHAINS }) => ({ flops: 8 * THREADS * STEPS * CHAINS, bytes: 4 * THREADS + 32 }),
  reference({ coefficients, out }, { THREADS, STEPS, CHAINS }) {
    for (let t = 0; t < THREADS; t++) {
      let sum = 0;
      for (let c = 0; c < CHAINS; c++)
        for (let e = 0; e < 4; e++) {
          let x = ((t % 16) + c + e) / 16;
          for (let s = 0; s < STEPS; s++) x = coefficients[e] * x + coefficients[4 + e];
          sum += x;
        }
      out[t] = sum;
    }
  },
  sizes: ({ THREADS }) => ({ coefficients: 8, out: THREADS }),
  cases: [
    { THREADS: 1, STEPS: 4, CHAINS: 1 },
    { THREADS: 65, STEPS: 8, CHAINS: 4 },
    { THREADS: 100, STEPS: 64, CHAINS: 8 },
  ],
  testInput: (name, _params, random) =>
    name === 'coefficients' ? Float32Array.from({ length: 8 }, () => 0.9 + 0.09 * random()) : undefined,
});
