// The golden form of one block's plans: every launch with its shapes, in order. A change here is a change of what runs
// on the device; look at it, then renew the text with `npx vitest run --project node tests/golden/plans.test.ts -u`.

import { expect, test } from 'vitest';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { presetConfig } from '../../src/model/presets.ts';
import { singleRank } from '../../src/model/parallelism.ts';
import { LanguageStage } from '../../src/model/language/language-stage.ts';
import { Stage } from '../../src/model/stage.ts';

async function plansOf(preset: string): Promise<string> {
  const config = presetConfig(preset, 96, { context: 16 });
  const stage = await Stage.create({
    device: createCpuDevice(),
    task: new LanguageStage({
      config,
      parallelism: singleRank,
      B: 2,
      columns: [Int32Array.from({ length: 16 }, (_, t) => t)],
    }),
    range: { firstLayer: 0, endLayer: 1, first: false, last: false },
    slots: 1,
    splitsWeights: false,
  });
  const text = ['F', 'B']
    .map((name) => `${stage.plans.get(name)}\n# ${stage.plans.get(name)!.launches} launches`)
    .join('\n\n');
  stage.dispose();
  return `${text}\n`;
}

test.each(['gpt2-nano', 'llama-nano', 'mixtral-nano'])('one block of %s', async (preset) => {
  await expect(await plansOf(preset)).toMatchFileSnapshot(`plans/${preset}.txt`);
});
