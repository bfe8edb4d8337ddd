// Losses and gradient norms of tiny runs against PyTorch's (float64), on the references and one device; the values and
// their noise stand in run.json.

import { expect, test } from 'vitest';
import { goldenConfig, readGolden, runLayout } from '../support/local-run.ts';

interface Golden {
  readonly losses: readonly number[];
  readonly losses_noise: readonly number[];
  readonly grad_norms: readonly number[];
  readonly grad_norms_noise: readonly number[];
}

const worst = (got: readonly number[], want: readonly number[], noise: readonly number[], relative: number): number =>
  Math.max(...want.map((value, s) => Math.abs(got[s] - value) / Math.max(16 * noise[s], relative * value)));

test.each(['gpt2-tiny', 'llama-tiny', 'mixtral-tiny'])('%s learns as PyTorch does', async (name) => {
  const golden = JSON.parse(new TextDecoder().decode(readGolden(name, 'run.json'))) as Golden;
  const { losses, gradNorms } = await runLayout(name, goldenConfig(name, 'dp=1'));
  expect(losses.length).toBe(golden.losses.length);
  expect(worst(losses, golden.losses, golden.losses_noise, 2e-6)).toBeLessThan(1);
  expect(worst(gradNorms, golden.grad_norms, golden.grad_norms_noise, 1e-4)).toBeLessThan(1);
});

test('another epsilon of the optimiser is caught', async () => {
  const golden = JSON.parse(new TextDecoder().decode(readGolden('llama-tiny', 'run.json'))) as Golden;
  const { losses } = await runLayout('llama-tiny', { ...goldenConfig('llama-tiny', 'dp=1'), eps: 1e-4 });
  expect(worst(losses, golden.losses, golden.losses_noise, 2e-6)).toBeGreaterThan(1);
});
