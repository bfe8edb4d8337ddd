// Every layout equals one device: loss, gradients by name, weights after some steps; and every rank's bytes equal the
// formula, by kind. Adam turns noise of near-zero gradients into steps, so weights are compared at a looser share than
// gradients.

import { afterEach, describe, expect, test, vi } from 'vitest';
import { worldSize } from '../../src/base/axis.ts';
import { parseModelConfig } from '../../src/model/config.ts';
import { FlatSync } from '../../src/parallel/data/flat-sync.ts';
import { TiedWeights } from '../../src/parallel/data/tied-weights.ts';
import { stepWireBytes } from '../support/step-wire-bytes.ts';
import { REPORT_WORDS } from '../../src/train/step/step-report.ts';
import { firstDifference, goldenConfig, readGolden, runLayout, withoutKeyBias } from '../support/local-run.ts';
import type { LocalResult } from '../support/local-run.ts';

const LAYOUTS: Readonly<Record<string, readonly string[]>> = {
  'gpt2-tiny': [
    'dp=2',
    'dp=4',
    'pp=2',
    'tp=2',
    'tp=4',
    'sp=2',
    'sp=4',
    'dp=2,pp=2',
    'dp=2,tp=2',
    'pp=2,tp=2',
    'dp=2,sp=2',
    'tp=2,sp=2',
    'dp=2,pp=2,tp=2',
  ],
  'llama-tiny': [
    'dp=2',
    'dp=4',
    'pp=2',
    'tp=2',
    'sp=2',
    'sp=4',
    'dp=2,pp=2',
    'dp=2,tp=2',
    'pp=2,tp=2',
    'dp=2,sp=2',
    'pp=2,sp=2',
    'dp=2,pp=2,tp=2',
  ],
  'mixtral-tiny': ['dp=2', 'pp=2', 'tp=2', 'ep=2', 'ep=4', 'dp=2,ep=2', 'ep=2,tp=2', 'pp=2,ep=2'],
};
const STEPS = 3;
const single = new Map<string, Promise<LocalResult>>();
const reference = (name: string): Promise<LocalResult> => {
  let run = single.get(name);
  if (!run) single.set(name, (run = runLayout(name, goldenConfig(name, 'dp=1', { steps: STEPS }))));
  return run;
};

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(Object.keys(LAYOUTS))('%s', (name) => {
  test.each(
    LAYOUTS[name].flatMap((layout) =>
      layout.includes('pp')
        ? [
            [layout, '1f1b'],
            [layout, 'gpipe'],
          ]
        : [[layout, '1f1b']],
    ),
  )('%s %s equals one device, and its bytes equal the formula', async (layout, schedule) => {
    const config = goldenConfig(name, layout, { steps: STEPS, schedule });
    const [want, got] = [await reference(name), await runLayout(name, config)];
    got.losses.forEach((loss, s) =>
      expect(Math.abs(loss / want.losses[s] - 1), `loss of step ${s}`).toBeLessThan(2e-6),
    );
    expect(firstDifference(got.gradients, want.gradients, 2e-5)).toBeUndefined();
    expect(firstDifference(withoutKeyBias(got.weights), withoutKeyBias(want.weights), 1e-3)).toBeUndefined();
    expectBytes(name, config, got);
  });
});

test.each([
  ['gpt2-deep', 'pp=4'],
  ['gpt2-deep', 'pp=8'],
  ['llama-deep', 'pp=4'],
  ['llama-deep', 'pp=8'],
])('%s %s: bytes equal the formula', async (name, layout) => {
  const config = goldenConfig(name, layout, { steps: 2 });
  expectBytes(name, config, await runLayout(name, config));
});

function expectBytes(name: string, config: ReturnType<typeof goldenConfig>, got: LocalResult): void {
  const model = parseModelConfig(new TextDecoder().decode(readGolden(name, 'config.json')));
  const shape = {
    model,
    layout: config.layout,
    batch: config.batch,
    context: config.context!,
    microbatches: config.microbatches,
    report: REPORT_WORDS,
  };
  const routed: number[] = [];
  for (let rank = 0; rank < worldSize(config.layout); rank++) {
    const { 'all-to-all': want = 0, ...formula } = stepWireBytes(rank, shape);
    // What the recorded plans say before the first step.
    expect(got.traffic[rank], `rank ${rank}, as recorded`).toEqual(
      want > 0 ? { ...formula, 'all-to-all': want } : formula,
    );
    // The second step: the first one also gathers the gradients.
    const { 'all-to-all': sent = 0, ...bytes } = got.metrics[rank][1].bytesSent;
    expect(bytes, `rank ${rank}`).toEqual(formula);
    routed.push(sent - want);
  }
  if (config.layout.ep === 1) return expect(Math.max(...routed)).toBe(0);
  // Rows cross twice forward and twice backward: what goes out to the experts comes back, in whole rows.
  const total = routed.reduce((a, b) => a + b, 0);
  expect(total % (4 * 4 * model.hidden)).toBe(0);
  const rows = total / (16 * model.hidden);
  expect(rows).toBeGreaterThan(0);
  // Every tp rank exchanges whole rows.
  expect(rows).toBeLessThan(config.batch * config.context! * 2 * model.layers * config.layout.tp);
}

describe('the checks catch', () => {
  test.each([
    [
      'a tied gradient that stays on the last stage',
      'gpt2-tiny',
      'pp=2',
      () => vi.spyOn(TiedWeights.prototype, 'collectGradients').mockResolvedValue(),
    ],
    [
      'gradients that are not summed over replicas',
      'llama-tiny',
      'dp=2',
      () => vi.spyOn(FlatSync.prototype, 'reduceGradients').mockResolvedValue(),
    ],
  ])('%s', async (_what, name, layout, seed) => {
    const want = await reference(name);
    seed();
    const got = await runLayout(name, goldenConfig(name, layout, { steps: 1 }));
    expect(firstDifference(got.gradients, want.gradients, 2e-5)).toBeDefined();
  });

  test('a gradient that is off by one part in ten thousand', async () => {
    const want = await reference('llama-tiny');
    const off = new Map(want.gradients);
    const name = 'model.layers.1.self_attn.k_proj.weight';
    off.set(
      name,
      want.gradients.get(name)!.map((value) => value * 1.0001),
    );
    expect(firstDifference(off, want.gradients, 2e-5)).toContain(name);
  });

  test('a formula that forgets one all-reduce', async () => {
    const config = goldenConfig('llama-tiny', 'tp=2', { steps: 2 });
    const got = await runLayout('llama-tiny', config);
    const short = got.metrics.map((steps) =>
      steps.map((metrics) => ({
        ...metrics,
        bytesSent: { ...metrics.bytesSent, 'all-reduce': metrics.bytesSent['all-reduce'] - 4 },
      })),
    );
    expect(() => expectBytes('llama-tiny', config, { ...got, metrics: short })).toThrow();
  });
});
