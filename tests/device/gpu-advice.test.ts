// What a browser is told fits the browser, and a browser whose waits are coarse decides nothing by them.

import { describe, expect, it } from 'vitest';
import { namelessAdapter, whySoftware, withoutAdapter, withoutWebGpu } from '../../src/base/gpu-advice.ts';
import { coarseWaitMs } from '../../src/device/tune/wait-step.ts';

const CHROME = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36';
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0';

describe('advice', () => {
  const all = (agent: string): string =>
    [withoutWebGpu(agent, true), withoutAdapter(agent), whySoftware(agent), namelessAdapter(agent)].join('\n');
  it('speaks of Firefox in Firefox, and of Chrome elsewhere', () => {
    expect(all(FIREFOX)).toMatch(/dom\.webgpu\.enabled[^]*about:support/);
    expect(all(FIREFOX)).not.toMatch(/chrome|Firefox 141/i);
    expect(all(CHROME)).toMatch(/Firefox 141\+[^]*--enable-unsafe-webgpu[^]*chrome:\/\/gpu/);
    expect(all(CHROME)).not.toMatch(/about:/);
  });
  it('names the way without a GPU in every browser, and not where there is no page', () => {
    for (const agent of [FIREFOX, CHROME])
      for (const text of [withoutWebGpu(agent, true), withoutAdapter(agent)])
        expect(text).toMatch(/#backend=cpu in the link$/);
    expect(withoutAdapter('')).not.toContain('#');
  });
  it('says that http is why', () => {
    for (const agent of [FIREFOX, CHROME])
      expect(withoutWebGpu(agent, false)).toBe(
        'device: this page has no WebGPU, because it came over http; use https or localhost',
      );
  });
});

describe('waits for the GPU', () => {
  const took = (...waits: number[]) => {
    let nowMs = 0;
    let asked = 0;
    const device = {
      idle: async () => {
        nowMs += waits[asked++ % waits.length]!;
      },
    };
    return coarseWaitMs(device, { now: () => nowMs }).then((ms) => ({ ms, asked }));
  };
  it('are coarse where even the shortest of several is long', async () => {
    expect(await took(101, 98, 103)).toEqual({ ms: 98, asked: 3 });
    expect(await took(0.2)).toEqual({ ms: undefined, asked: 1 });
    // A busy machine is late once or twice.
    expect(await took(150, 40, 3)).toEqual({ ms: undefined, asked: 3 });
  });
});
