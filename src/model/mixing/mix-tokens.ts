// The mixing of tokens in one layer, on the heads of one rank. One mixer for all heads records nothing else; where runs
// of heads have mixers of their own, their columns are taken out of the projection and the results joined.

import { InternalError } from '../../base/errors.ts';
import type { Tensor } from '../../device/tensor.ts';
import type { AttentionAttributes } from '../../ops/attention.ts';
import { joinHeads } from '../../ops/join-heads.ts';
import { takeHeads } from '../../ops/take-heads.ts';
import type { CommonConfig } from '../config.ts';
import type { NetworkContext } from '../network.ts';
import type { HeadRun, LayerMixers } from './mixer.ts';
import { mixerByName } from './registry.ts';

/**
 * Causal mixing of a packed projection: qkv [B*T, (H + 2 Hkv) D / tp] -> [B*T, H D / tp]. UnsupportedError for a mixer
 * that is not implemented, InternalError for runs that are not all heads or that share a key head.
 */
export function mixTokens(c: NetworkContext<CommonConfig>, layer: number, mixers: LayerMixers, qkv: Tensor): Tensor {
  const { config, parallelism, tape, B, T, mask } = c;
  const { headDim } = config;
  const { tp } = parallelism;
  const [heads, kvHeads] = [config.heads / tp.size, config.kvHeads / tp.size];
  const scale = 1 / Math.sqrt(headDim);
  const attrs: AttentionAttributes = { B, T, heads, kvHeads, headDim, causal: true, scale, mask };
  const runs = runsOn(typeof mixers === 'string' ? [{ mixer: mixers, heads: config.heads }] : mixers, config, tp);
  const [first] = runs;
  if (runs.length === 1) return mixerByName(first.mixer).mix(c, layer, qkv, attrs);
  const sharing = heads / kvHeads;
  const parts = runs.map((run) => {
    const own = { ...attrs, heads: run.heads, kvHeads: run.heads / sharing };
    const part = tape.apply(takeHeads, { qkv }, {}, { heads, kvHeads, headDim, from: run.from, count: run.heads });
    return mixerByName(run.mixer).mix(c, layer, part, own);
  });
  return tape.apply(joinHeads, Object.fromEntries(parts.map((part, i) => [`part${i}`, part])), {}, null);
}

/** The runs that this rank holds a part of; `from` counts the rank's own heads. */
function runsOn(
  runs: readonly HeadRun[],
  { heads, kvHeads }: CommonConfig,
  { rank, size }: { readonly rank: number; readonly size: number },
): readonly (HeadRun & { readonly from: number })[] {
  const own = heads / size;
  const start = rank * own;
  const held: (HeadRun & { readonly from: number })[] = [];
  let at = 0;
  for (const run of runs) {
    if (!(run.heads > 0) || (run.heads * kvHeads) % heads)
      throw new InternalError(
        `mixers: ${run.heads} heads for ${run.mixer}, expected whole groups of ${heads / kvHeads}`,
      );
    const [from, end] = [Math.max(at, start), Math.min(at + run.heads, start + own)];
    if (from < end) held.push({ mixer: run.mixer, heads: end - from, from: from - start });
    at += run.heads;
  }
  if (at !== heads) throw new InternalError(`mixers: ${at} heads have one, expected all ${heads}`);
  return held;
}
