// Every pipeline schedule, with every form of the vocabulary, equals one device: losses, norms, every gradient and the
// weights after five steps. All of them on 2, 3, 4 and 8 ranks are run by `npm run test:all`.

import { describe, test } from 'vitest';
import { scheduleByName, schedules, vocabularyForms } from '../../src/parallel/pipeline/registry.ts';
import { expectEqualRuns, goldenConfig, runLayout } from '../support/local-run.ts';
import type { LocalResult } from '../support/local-run.ts';
import { sample } from '../support/sample.ts';

const STEPS = 5;
/** Layers of the golden models with most of them. */
const LAYERS = 8;

const single = new Map<string, Promise<LocalResult>>();
function reference(name: string): Promise<LocalResult> {
  let run = single.get(name);
  if (!run) single.set(name, (run = runLayout(name, goldenConfig(name, 'dp=1', { steps: STEPS }), 'wasm')));
  return run;
}

describe.each([...schedules.keys()])('%s equals one device', (name) => {
  const { defaultChunks: chunks = 1 } = scheduleByName(name);
  const ranks = [4, 2, 3, 8].filter((p) => p * chunks <= LAYERS);
  const forms = vocabularyForms(name);
  const cases = ranks.flatMap((p) => forms.map((vocab) => [p, vocab] as const));
  // First each form once, on as few ranks as show it.
  const few = [...forms.map((vocab, i) => [i % 2 ? 4 : 2, vocab] as const)].filter(([p]) => p * chunks <= LAYERS);
  const rest = cases.filter(([p, vocab]) => !few.some(([q, form]) => p === q && vocab === form));

  test.each(sample([...few, ...rest], few.length))('pp=%i, vocabulary %s', async (p, vocab) => {
    // Eight rows divide into no multiple of 3, which groups of microbatches would want on three ranks.
    const microbatches = name === 'interleaved' && p === 3 ? 2 : 8;
    const model = p % 2 ? 'llama-deep' : 'gpt2-deep';
    const want = await reference(model);
    const got = await runLayout(
      model,
      goldenConfig(model, `pp=${p}`, { steps: STEPS, schedule: name, chunks, vocab, microbatches }),
      'wasm',
    );
    expectEqualRuns(got, want);
  });
});
