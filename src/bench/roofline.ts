// The two ceilings of an adapter: memory bandwidth and arithmetic.

export interface Ceilings {
  /** Bytes per second in 10^9, by STREAM's four loops. */
  readonly bandwidth: Readonly<Record<'copy' | 'scale' | 'add' | 'triad', number>>;
  /** Fused multiply-adds, two operations each, in 10^9 operations per second. */
  readonly peakGflops: number;
}

/** Achieved work over what the ceilings allow: min(peak, intensity x bandwidth). */
export function roofShare({ bandwidth, peakGflops }: Ceilings, { flops, bytes }: { readonly flops: number; readonly bytes: number }, ms: number): number {
  const gbps = Math.max(...Object.values(bandwidth));
  const attainable = Math.min(peakGflops, (flops / bytes) * gbps);
  return flops / ms / 1e6 / attainable;
}
