// The vocabulary shared by the ranks of a pipeline equals one device in every form: losses, norms, every gradient and
// the weights after some steps, held-out loss and samples. What a rank sends, waits for and holds is what the paper
// says (Yeung et al. 2025, "Balancing Pipeline Parallelism with Vocabulary Parallelism", section 4).

import { afterEach, describe, expect, test, vi } from 'vitest';
import { VocabularyShard } from '../../src/model/language/vocabulary-shard.ts';
import type { ShardStatistics } from '../../src/model/language/vocabulary-shard.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { planMemory } from '../../src/train/memory/memory-plan.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import type { RunEvent } from '../../src/train/run.ts';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import { expectEqualRuns, firstDifference, goldenConfig, goldenModel, runLayout } from '../support/local-run.ts';
import type { LocalResult } from '../support/local-run.ts';
import { ALL } from '../support/sample.ts';
import { allOf, onTrainers } from '../support/trainer-lab.ts';

const FORMS = ['naive', 'alg1', 'alg2', 'interlaced'] as const;
type Form = (typeof FORMS)[number];
const STEPS = 3;

const single = new Map<string, Promise<LocalResult>>();
function reference(name: string): Promise<LocalResult> {
  let run = single.get(name);
  if (!run) single.set(name, (run = runLayout(name, goldenConfig(name, 'dp=1', { steps: STEPS }), 'wasm')));
  return run;
}

function shared(name: string, layout: string, vocab: Form, change: Partial<RunConfig> = {}): Promise<LocalResult> {
  return runLayout(name, goldenConfig(name, layout, { steps: STEPS, vocab, ...change }), 'wasm');
}

afterEach(() => {
  vi.restoreAllMocks();
});

// Vocabularies of 101 and 130 divide by no number of ranks: the last shard ends with padding. mixtral and llama-tiny
// have a head of their own, the others are tied; packed-tiny has targets that do not count.
const SOME: readonly (readonly [string, string])[] = [
  ['gpt2-deep', 'pp=4'],
  ['packed-tiny', 'pp=2'],
  ['llama-deep', 'pp=2,tp=2'],
];
const MORE: readonly (readonly [string, string])[] = [
  ['gpt2-deep', 'pp=2'],
  ['gpt2-deep', 'pp=3'],
  ['llama-deep', 'pp=8'],
  ['gpt2-deep', 'pp=2,dp=2'],
  ['mixtral-tiny', 'pp=2,ep=2'],
  ['llama-tiny', 'pp=2,sp=2'],
  ['gpt2-tiny', 'dp=1'],
];

describe.each(FORMS)('%s equals one device', (vocab) => {
  test.each(ALL || vocab === 'alg1' ? [...SOME, ...MORE] : SOME)('%s %s', async (name, layout) => {
    expectEqualRuns(await shared(name, layout, vocab), await reference(name));
  });
});

test('the forms equal each other to 2e-6', async () => {
  const [naive, ...others] = await Promise.all(FORMS.map((vocab) => shared('gpt2-deep', 'pp=4', vocab)));
  for (const other of others) expect(firstDifference(other!.gradients, naive!.gradients, 2e-6)).toBeUndefined();
});

/** Bytes that pipeline rank `r` of `p` sends in a step of m microbatches, [R, D] each, from the paper's section 4. */
function bytesOf(r: number, p: number, { m, R, D }: { m: number; R: number; D: number }): Record<string, number> {
  const hidden = 4 * m * R * D;
  return Object.fromEntries(
    Object.entries({
      // To the next stage; the last one gives its hidden states to all others.
      activation: r === p - 1 ? (p - 1) * hidden : hidden,
      // To the stage before; the first one gives the gradient of the embedded tokens to all others.
      gradient: r === 0 ? (p - 1) * hidden : hidden,
      // Embedded tokens to rank 0 and dX to the last rank, each in a chain that ends there.
      reduce: (r === 0 ? 0 : hidden) + (r === p - 1 ? 0 : hidden),
      // Three of R floats: maxima, sums, logits of the targets; each rank gives its own to all others.
      'all-reduce': 3 * (p - 1) * 4 * m * R,
    }).filter(([, bytes]) => bytes > 0),
  );
}

describe('bytes on the wire equal the formula', () => {
  test.each([
    ['gpt2-deep', 2],
    ['gpt2-deep', 4],
  ])('%s pp=%i', async (name, p) => {
    for (const vocab of FORMS) {
      const config = goldenConfig(name, `pp=${p}`, { steps: 2, vocab });
      const { metrics } = await runLayout(name, config, 'wasm');
      const m = config.microbatches;
      const R = (config.batch / m) * 32;
      for (const [rank, steps] of metrics.entries()) {
        const { 'all-gather': report, ...sent } = steps[1]!.bytesSent;
        expect(sent, `${vocab}, rank ${rank}`).toEqual(bytesOf(rank, p, { m, R, D: 32 }));
        expect(report).toBeGreaterThan(0);
      }
    }
  });
});

test('a microbatch meets 3, 2 or 1 barriers between the last blocks', async () => {
  const barriers = async (vocab: Form): Promise<number> => {
    const { metrics } = await shared('gpt2-deep', 'pp=4', vocab, { steps: 1 });
    const names = metrics[3]![0]!.spans.map(({ name }) => /^barrier of (?:S|S2\.|T)0$/.exec(name)?.[0]);
    return new Set(names.filter(Boolean)).size;
  };
  expect(await Promise.all(FORMS.map(barriers))).toEqual([3, 2, 1, 2]);
});

test('a rank holds ceil(V / p) rows of each table, and no rank more than another', async () => {
  const config = parseRunConfig([
    ['layout', 'pp=4'],
    ['model', 'gpt2-micro'],
    ['data', 'copy'],
    ['context', 32],
    ['microbatches', 8],
  ]);
  const { task } = prepareRun(config, {});
  const V = task.weights.find(({ name }) => name === 'transformer.wte.weight')!.shape[0]!;
  const params = async (vocab: RunConfig['vocab']): Promise<number[]> =>
    (await planMemory({ ...config, vocab }, task)).ranks.map(({ param }) => param / 4);
  const [ends, all] = [await params('none'), await params('alg2')];
  // The blocks alone, and on rank 0 the positions: what is left of the ranks in the middle without the vocabulary.
  const rows = Math.ceil(V / 4) * 128;
  expect([all[1]! - ends[1]!, all[2]! - ends[2]!]).toEqual([rows, rows]);
  expect([ends[0]! - all[0]!, ends[3]! - all[3]!]).toEqual([V * 128 - rows, V * 128 - rows]);
});

/** gpt2-micro on text of few characters. */
function lettersRun(text: string, change: readonly (readonly [string, string | number])[]) {
  const config = parseRunConfig([
    ['model', 'gpt2-micro'],
    ['data', 'letters.txt'],
    ['context', 8],
    ['batch', 4],
    ['steps', 2],
    ['evalEvery', 2],
    ['sampleEvery', 2],
    ['seed', 3],
    ...change,
  ] as [string, string | number][]);
  const events: RunEvent[] = [];
  const files = { text: new TextEncoder().encode(text.repeat(200)) };
  return runInProcess({
    backend: 'wasm',
    config,
    files,
    sampleTokens: 12,
    onEvent: (rank, event) => {
      if (rank === 0) events.push(event);
    },
  }).then(() => ({
    losses: events.flatMap((event) => (event.kind === 'step' ? [event.metrics.loss] : [])),
    evaluations: events.flatMap((event) => (event.kind === 'evaluation' ? [event.loss] : [])),
    samples: events.flatMap((event) => (event.kind === 'sample' ? [event.text] : [])),
  }));
}

test('a rank without any token of its own; held-out loss and samples as on one device', async () => {
  // Five tokens on four ranks: two rows each, so the third has one and the last none.
  const want = await lettersRun('abcdebadce', []);
  for (const vocab of ['naive', 'alg1', 'alg2']) {
    const got = await lettersRun('abcdebadce', [
      ['layout', 'pp=4'],
      ['microbatches', 4],
      ['vocab', vocab],
    ]);
    for (const name of ['losses', 'evaluations'] as const) {
      expect(got[name]).toHaveLength(want[name].length);
      got[name].forEach((loss, i) => expect(Math.abs(loss / want[name][i]! - 1)).toBeLessThan(5e-6));
    }
    expect(want.samples.length).toBeGreaterThan(0);
    expect(got.samples).toEqual(want.samples);
  }
});

test('fewer tokens than ranks are refused with what fits', async () => {
  await expect(
    lettersRun('abcab', [
      ['layout', 'pp=4'],
      ['vocab', 'alg1'],
    ]),
  ).rejects.toThrow('vocab: pp(4) shares a vocabulary of 3; expected a token for each rank; use vocab=none or pp=3');
});

test('logits of one shard that are 1e4 larger overflow nowhere', async () => {
  const files = readRunFiles(goldenModel('llama-tiny'));
  const losses = (layout: string, vocab: RunConfig['vocab']): Promise<readonly (readonly number[])[]> =>
    onTrainers(
      goldenConfig('llama-tiny', layout, { steps: 1, vocab }),
      async ({ trainer }) => [(await trainer.trainStep()).loss],
      {
        files,
        change: (options) => ({
          ...options,
          weights(name) {
            const weight = options.weights(name);
            if (name !== 'lm_head.weight') return weight;
            const data = weight.data.slice();
            // The second half of the vocabulary.
            for (let i = data.length / 2; i < data.length; i++) data[i]! *= 1e5;
            return { ...weight, data };
          },
        }),
      },
    ).then(allOf);
  const [[want]] = await losses('dp=1', 'none');
  expect(want).toBeGreaterThan(1e3);
  for (const vocab of FORMS)
    for (const [loss] of await losses('pp=2', vocab)) expect(Math.abs(loss! / want! - 1)).toBeLessThan(2e-6);
});

test('goes on from a checkpoint in another form', async () => {
  const run = async (
    vocab: RunConfig['vocab'],
    checkpoint?: Uint8Array<ArrayBuffer>,
  ): Promise<ReadonlyMap<number, Uint8Array<ArrayBuffer>>> => {
    const found = new Map<number, Uint8Array<ArrayBuffer>>();
    await runInProcess({
      backend: 'wasm',
      config: goldenConfig('gpt2-deep', 'pp=2', { steps: 4, checkpointEvery: 2, vocab }),
      files: readRunFiles(goldenModel('gpt2-deep')),
      checkpoint,
      onEvent: (_rank, event) => {
        if (event.kind === 'checkpoint') found.set(event.step, event.bytes);
      },
    });
    return found;
  };
  const straight = await run('alg1');
  const same = await run('alg1', straight.get(2));
  expect(Buffer.from(same.get(4)!).equals(Buffer.from(straight.get(4)!))).toBe(true);
  const { tensors } = await import('../../src/base/safetensors.ts').then(({ readSafetensors, toFloat32 }) => ({
    tensors: (bytes: Uint8Array<ArrayBuffer>) =>
      new Map(
        [...readSafetensors(bytes).tensors]
          .filter(([name]) => !name.endsWith('c_attn.bias') && !name.startsWith('optimizer.v'))
          .map(([name, entry]) => [name, toFloat32(entry)]),
      ),
  }));
  const other = await run('none', straight.get(2));
  expect(firstDifference(tensors(other.get(4)!), tensors(straight.get(4)!), 1e-3)).toBeUndefined();
});

describe('what goes wrong', () => {
  const options = { files: readRunFiles(goldenModel('gpt2-deep')) };

  test.each(FORMS)('%s: NaN in the rows of one rank ends the run on all, and names it', async (vocab) => {
    const results = await onTrainers(
      goldenConfig('gpt2-deep', 'pp=4', { vocab }),
      async ({ rank, trainer, device }) => {
        const { values } = trainer.engine.vocabulary!.shard.params;
        if (rank === 2) device.write(values, 0, new Float32Array([NaN]));
        await trainer.trainStep();
      },
      options,
    );
    for (const error of results) {
      expect(error).toMatchObject({ name: 'PeerError', culprit: 2, evidence: 'non-finite' });
      expect((error as unknown as Error).message).toContain('the weight of transformer.wte.weight is NaN');
    }
  });

  test.each(FORMS)('%s: a rank that goes in mid-step is named by all, and nobody waits', async (vocab) => {
    const results = await onTrainers(
      goldenConfig('gpt2-deep', 'pp=4', { vocab }),
      async ({ rank, trainer }) => {
        const { shard } = trainer.engine.vocabulary!;
        if (rank === 1) vi.spyOn(shard, 'gradient').mockRejectedValue(new Error('it goes'));
        await trainer.trainStep();
      },
      options,
    );
    expect(results[1]).toMatchObject({ message: 'it goes' });
    for (const rank of [0, 2, 3])
      expect(results[rank]).toMatchObject({ name: 'PeerError', culprit: 1, evidence: 'crashed' });
  });
});

describe('the checks catch', () => {
  const differs = async (vocab: Form): Promise<string | undefined> => {
    const [got, want] = [await shared('gpt2-deep', 'pp=2', vocab, { steps: 1 }), await reference('gpt2-deep')];
    return firstDifference(got.gradients, want.gradients, 2e-5);
  };

  test('a softmax with the statistics of its own shard', async () => {
    const { logits, gradient } = VocabularyShard.prototype;
    const own = new WeakMap<VocabularyShard, ShardStatistics>();
    vi.spyOn(VocabularyShard.prototype, 'logits').mockImplementation(async function (this: VocabularyShard, ...given) {
      const statistics = await logits.apply(this, given);
      own.set(this, { ...statistics, max: statistics.max.slice(), sum: statistics.sum.slice() });
      return statistics;
    });
    vi.spyOn(VocabularyShard.prototype, 'gradient').mockImplementation(function (this: VocabularyShard, slot) {
      const { max, sum } = own.get(this)!;
      return gradient.call(this, slot, max, sum);
    });
    expect(await differs('alg1')).toBeDefined();
    expect(await differs('alg2')).toBeDefined();
  });

  test('an early gradient without its targets', async () => {
    const { logits } = VocabularyShard.prototype;
    vi.spyOn(VocabularyShard.prototype, 'logits').mockImplementation(async function (this: VocabularyShard, ...given) {
      const statistics = await logits.apply(this, given);
      statistics.early?.wanted.fill(0);
      return statistics;
    });
    expect(await differs('alg2')).toBeDefined();
  });

  test('tokens whose gradient does not come to their rows', async () => {
    vi.spyOn(VocabularyShard.prototype, 'embedBackward').mockResolvedValue();
    expect(await differs('alg1')).toBeDefined();
  });

  test('a tied table that gets the gradient of one end', async () => {
    const { gradient } = VocabularyShard.prototype;
    vi.spyOn(VocabularyShard.prototype, 'gradient').mockImplementation(async function (
      this: VocabularyShard,
      ...given
    ) {
      const dX = await gradient.apply(this, given);
      await this.zeroGradients();
      return dX;
    });
    expect(await differs('alg1')).toBeDefined();
  });
});
