// Attention on Dawn: the same properties as on the cpu device, and that hidden keys and queries are skipped rather than
// masked.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import type { Kernel } from '../../src/device/kernel.ts';
import { nodeGpu } from '../../src/device/node-gpu.ts';
import { createWebGpuDevice } from '../../src/device/webgpu.ts';
import { attention, denseAttention } from '../../shaders/attention/attention.ts';
import { attentionBackwardKeyValue, denseKeyValue } from '../../shaders/attention/attention-backward-key-value.ts';
import { attentionBackwardQuery } from '../../shaders/attention/attention-backward-query.ts';
import { allFinite, describeAttention, randomInputs, runSteps, step, unwritten } from './attention-properties.ts';

let device: Device;
beforeAll(async () => {
  device = await createWebGpuDevice(await nodeGpu());
});
afterAll(() => device?.destroy());

describeAttention(() => device);

/** The kernel without its early end (or late start). */
function withoutSkip(kernel: unknown): Kernel {
  const { name, variants, ...rest } = kernel as Kernel;
  const edited = variants.map((variant) => ({
    ...variant,
    source: variant.source.replace('if (CAUSAL == 1u) {', 'if (CAUSAL == 2u) {'),
  }));
  return { ...rest, name: `${name} without skip`, variants: edited };
}

describe('the hidden half is never read', () => {
  // NaN in keys (or queries) that nobody sees: a kernel that reads them and masks afterwards still gets 0 * NaN = NaN.
  const early = denseAttention({ TQ: 8, TK: 64, D: 8, CAUSAL: 1 });
  const late = denseAttention({ TQ: 64, TK: 8, D: 8, CAUSAL: 1, K_START: 56 });
  const rows = (n: number) => new Float32Array(n);

  const forward = async (kernel: unknown) => {
    const { q, k, v } = randomInputs(early, 'skip');
    k.fill(NaN, 8 * 8);
    v.fill(NaN, 8 * 8);
    const got = await runSteps(device, { q, k, v, out: unwritten(64), lse: unwritten(8) }, [
      step(kernel, early, { q: 'q', k: 'k', v: 'v', out: 'out', lse: 'lse' }),
    ]);
    return allFinite(got['out'], got['lse']);
  };
  const query = async (kernel: unknown) => {
    const { q, k, v, dOut } = randomInputs(early, 'skip');
    k.fill(NaN, 8 * 8);
    v.fill(NaN, 8 * 8);
    const got = await runSteps(device, { q, k, v, dOut, lse: rows(8), delta: rows(8), dQ: unwritten(64) }, [
      step(
        kernel,
        { ...early, ACCUMULATE: 0 },
        { q: 'q', k: 'k', v: 'v', dOut: 'dOut', lse: 'lse', delta: 'delta', dQ: 'dQ' },
      ),
    ]);
    return allFinite(got['dQ']);
  };
  const keyValue = async (kernel: unknown) => {
    const { q, k, v, dOut } = randomInputs(late, 'skip');
    q.fill(NaN, 0, 56 * 8);
    dOut.fill(NaN, 0, 56 * 8);
    const got = await runSteps(device, { q, k, v, dOut, lse: rows(64), delta: rows(64), dKV: unwritten(128) }, [
      step(kernel, denseKeyValue(late), {
        q: 'q',
        k: 'k',
        v: 'v',
        dOut: 'dOut',
        lse: 'lse',
        delta: 'delta',
        dKV: 'dKV',
      }),
    ]);
    return allFinite(got['dKV']);
  };

  it('by the forward kernel', async () => {
    expect(await forward(attention)).toBe(true);
    expect(await forward(withoutSkip(attention))).toBe(false);
  });
  it('by the backward kernel of the queries', async () => {
    expect(await query(attentionBackwardQuery)).toBe(true);
    expect(await query(withoutSkip(attentionBackwardQuery))).toBe(false);
  });
  it('by the backward kernel of keys and values', async () => {
    expect(await keyValue(attentionBackwardKeyValue)).toBe(true);
    expect(await keyValue(withoutSkip(attentionBackwardKeyValue))).toBe(false);
  });
});
