// A whole training step of GPT-2 (forward, backward, AdamW without clipping) as the trainer runs it, one readback of
// the loss included.

import { stepOf, stepProblem, runnerOfSteps } from '../gpt2/step-problem.ts';
import { tabmeshStepRunner } from '../gpt2/step.ts';
import type { Workload } from '../problem.ts';

export const workload: Workload = {
  name: 'gpt-step',
  about: 'training step of GPT-2: layers, hidden, heads, context, batch, vocabulary',
  shapes: [
    { dims: { L: 2, D: 64, H: 4, T: 64, B: 4, V: 256 }, scope: 'quick' },
    { dims: { L: 4, D: 128, H: 4, T: 128, B: 4, V: 256 }, scope: 'default' },
    { dims: { L: 6, D: 256, H: 4, T: 256, B: 1, V: 256 }, scope: 'default' },
    { dims: { L: 6, D: 256, H: 4, T: 256, B: 8, V: 256 }, scope: 'full' },
  ],
  tiny: { L: 1, D: 16, H: 2, T: 8, B: 2, V: 32 },
  problem: stepProblem,
  async prepare(device, problem) {
    const { config, prepared } = stepOf(problem);
    return runnerOfSteps(await tabmeshStepRunner(device, config, prepared));
  },
};
