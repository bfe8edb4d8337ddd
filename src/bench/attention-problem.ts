// The causal attention problem of both attention workloads: q, k, v, dOut [H, T, D]; out, and dQ, dK, dV where
// gradients are wanted. Credited are the pairs that see each other: 4 D flops each forward, 2.5 times that backward
// (the count of FlashAttention's authors: five products for two).

import { attendHead } from './check/attend-head.ts';
import { numbers } from './inputs.ts';
import type { Dims, Problem } from './problem.ts';
import { places, verify } from './check/verify.ts';
import type { Sample } from './check/verify.ts';

export function attentionProblem(workload: string, dims: Dims, gradients: boolean): Problem {
  const { H, T, D } = dims;
  const shape = `${H}x${T}x${D}`;
  const make = (name: string) => numbers(`attention ${name} ${shape}`, [H, T, D]);
  const inputs = { q: make('q'), k: make('k'), v: make('v'), ...(gradients ? { dOut: make('dOut') } : {}) };
  const pairs = (H * T * (T + 1)) / 2;
  let samples: Record<string, Sample> | undefined;
  const expected = (): Record<string, Sample> => {
    const dOut = inputs.dOut?.data ?? new Float32Array(H * T * D);
    // The first and the last head, whole; their places are sampled.
    const heads = new Map(
      [0, H - 1].map((h) => {
        const part = (data: Float32Array | Int32Array): Float32Array =>
          data.subarray(h * T * D, (h + 1) * T * D) as Float32Array;
        return [
          h,
          attendHead(
            { q: part(inputs.q.data), k: part(inputs.k.data), v: part(inputs.v.data), dOut: part(dOut) },
            T,
            D,
          ),
        ];
      }),
    );
    const names = gradients ? (['out', 'dQ', 'dK', 'dV'] as const) : (['out'] as const);
    return Object.fromEntries(
      names.map((name) => {
        const at = [...heads.keys()].flatMap((h) =>
          places(`${name} ${shape} ${h}`, T * D, 32).map((place) => h * T * D + place),
        );
        return [
          name,
          {
            length: H * T * D,
            at,
            expected: at.map((place) => heads.get(Math.floor(place / (T * D)))![name][place % (T * D)]),
          },
        ];
      }),
    );
  };
  return {
    workload,
    shape,
    dims,
    inputs,
    cost: { flops: 4 * D * pairs * (gradients ? 3.5 : 1), bytes: 4 * H * T * D * (gradients ? 8 : 4) },
    check: (outputs) => verify((samples ??= expected()), outputs),
  };
}
