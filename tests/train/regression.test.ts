// A second task beside language modelling goes through the same stages, schedules, syncs and checkpoints.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { erf } from '../../src/base/erf.ts';
import { elements } from '../../src/base/shape.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { initialWeight } from '../../src/model/weights.ts';
import { Stage } from '../../src/model/stage.ts';
import { gatherModel } from '../../src/train/gather.ts';
import { plantedAnswer } from '../../src/train/tasks/regression/planted.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import type { Examples } from '../../src/train/tasks/regression/regression.ts';
import { REGRESSION_PRESETS } from '../../src/train/tasks/regression/kind.ts';
import { allOf, onTrainers } from '../support/trainer-lab.ts';

const NETWORK = REGRESSION_PRESETS['mlp-nano']!;

function configOf(settings: Readonly<Record<string, string>> = {}): RunConfig {
  return parseRunConfig(
    Object.entries({ model: 'mlp-nano', data: 'planted', seed: '5', weightDecay: '0', lr: '0.003', ...settings }),
  );
}

interface Result {
  readonly losses: readonly number[];
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

async function train(config: RunConfig, steps: number): Promise<Result> {
  const ranks = allOf(
    await onTrainers(config, async ({ trainer }) => {
      const gradients = new Map<string, Float32Array>();
      const losses: number[] = [];
      for (let step = 0; step < steps; step++) {
        const { loss, bytesSent } = await trainer.trainStep(async () => {
          if (step > 0) return;
          for (const [name, { data }] of await gatherModel(trainer, 'gradients')) gradients.set(name, data);
        });
        losses.push(loss);
        // What handing over the gradients sends is not of the step.
        if (step > 0) expect(bytesSent).toEqual(trainer.traffic());
      }
      return { losses, gradients };
    }),
  );
  for (const { losses } of ranks) expect(losses).toEqual(ranks[0]!.losses);
  return ranks[0]!;
}

/** The sum of the row losses of a batch, in f64, straight from the equations. */
function lossOf(weights: ReadonlyMap<string, Float64Array>, { x, y }: Examples, rows: number): number {
  const { inputs, outputs, hidden, layers } = NETWORK;
  const linear = (name: string, v: readonly number[], out: number): number[] => {
    const [w, b] = [weights.get(`${name}.weight`)!, weights.get(`${name}.bias`)!];
    return Array.from({ length: out }, (_, r) =>
      v.reduce((sum, value, c) => sum + w[r * v.length + c]! * value, b[r]!),
    );
  };
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    let h = linear('input', [...x.subarray(row * inputs, (row + 1) * inputs)], hidden);
    for (let i = 0; i < layers; i++) {
      const bent = linear(`layers.${i}.up`, h, hidden).map((v) => (v / 2) * (1 + erf(v / Math.SQRT2)));
      h = linear(`layers.${i}.down`, bent, hidden).map((v, c) => v + h[c]!);
    }
    const answer = linear('output', h, outputs);
    for (let o = 0; o < outputs; o++) sum += (answer[o]! - y[row * outputs + o]!) ** 2 / 2;
  }
  return sum;
}

test('loss and gradients of one device are those of the equations', async () => {
  const config = configOf();
  const { losses, gradients } = await train(config, 1);
  const { task, dataset } = prepareRun(config, {});
  const batch = dataset.batchAt(0) as Examples;
  const weights = new Map(task.weights.map((spec) => [spec.name, Float64Array.from(initialWeight(spec, config.seed))]));
  expect(Math.abs(losses[0]! / (lossOf(weights, batch, config.batch) / config.batch) - 1)).toBeLessThan(1e-6);
  expect([...gradients.keys()]).toEqual(task.weights.map(({ name }) => name));
  for (const { name, shape } of task.weights) {
    const most = gradients.get(name)!.reduce((value, g) => Math.max(value, Math.abs(g)), 0);
    expect(most, name).toBeGreaterThan(0);
    for (const i of [0, elements(shape) >> 1, elements(shape) - 1]) {
      const values = weights.get(name)!;
      const at = (by: number): number => {
        const kept = values[i]!;
        values[i] = kept + by;
        const loss = lossOf(weights, batch, config.batch);
        values[i] = kept;
        return loss;
      };
      expect(Math.abs((at(1e-5) - at(-1e-5)) / 2e-5 - gradients.get(name)![i]!) / most, `${name}[${i}]`).toBeLessThan(
        1e-5,
      );
    }
  }
});

const LAYOUTS: readonly Readonly<Record<string, string>>[] = [
  { layout: 'dp=2' },
  { layout: 'pp=2', microbatches: '4' },
  { layout: 'pp=4', microbatches: '4', schedule: 'gpipe' },
  { layout: 'pp=2', microbatches: '4', schedule: 'zb-h1' },
  { layout: 'dp=2,pp=2', microbatches: '2' },
];

describe('every layout equals one device', () => {
  test.each(LAYOUTS)('%o', async (settings) => {
    const expected = await train(configOf(), 3);
    expectEqual(await train(configOf(settings), 3), expected);
  });

  test('a stage that is not given its rows is found', async () => {
    const expected = await train(configOf(), 3);
    const forward = Stage.prototype.forward;
    vi.spyOn(Stage.prototype, 'forward').mockImplementation(function (this: Stage, slot, input, observe) {
      const { x, y } = input.microbatch as Examples;
      return forward.call(this, slot, { ...input, microbatch: { x, y: y.map((value) => value + 1e-2) } }, observe);
    });
    const spoiled = await train(configOf({ layout: 'dp=2' }), 3).finally(() => vi.restoreAllMocks());
    expect(() => expectEqual(spoiled, expected)).toThrow();
  });
});

function expectEqual(got: Result, expected: Result): void {
  for (const [step, loss] of expected.losses.entries())
    expect(Math.abs(got.losses[step]! / loss - 1)).toBeLessThan(1e-5);
  for (const [name, want] of expected.gradients) {
    const most = want.reduce((value, g) => Math.max(value, Math.abs(g)), 0);
    const own = got.gradients.get(name)!;
    for (let i = 0; i < want.length; i++) expect(Math.abs(own[i]! - want[i]!) / most).toBeLessThan(1e-5);
  }
}

test('a run learns what was planted, and goes on from its checkpoint with the same bits', async () => {
  const run = async (config: RunConfig, checkpoint?: Uint8Array<ArrayBuffer>) => {
    const held: number[] = [];
    let last: Uint8Array<ArrayBuffer> | undefined;
    let [model, notes]: [Uint8Array | undefined, string[]] = [undefined, []];
    await runInProcess({
      backend: 'cpu',
      config,
      files: {},
      ...(checkpoint ? { checkpoint } : {}),
      wantModel: true,
      onEvent: (rank, event) => {
        if (rank !== 0) return;
        if (event.kind === 'evaluation') held.push(event.loss);
        if (event.kind === 'checkpoint') last = event.bytes;
        if (event.kind === 'model') model = event.bytes;
        if (event.kind === 'note') notes = [...notes, event.text];
      },
    });
    return { held, last: last!, model: model!, notes };
  };
  const whole = await run(configOf({ steps: '480', evalEvery: '20', batch: '32', checkpointEvery: '240' }));
  expect(whole.held.at(-1)! / whole.held[0]!).toBeLessThan(0.15);
  expect(whole.notes).toEqual([]);
  const half = await run(configOf({ steps: '240', evalEvery: '0', batch: '32', checkpointEvery: '240' }));
  const rest = await run(configOf({ steps: '480', evalEvery: '0', batch: '32' }), half.last);
  expect(Buffer.from(rest.model).equals(Buffer.from(whole.model))).toBe(true);
  await expect(run(configOf({ steps: '480', seed: '6' }), half.last)).rejects.toThrow(/seed: is 6/);
}, 120_000);

test('the rows are a function of seed, step and row, and the answers those of the planted network', () => {
  const { dataset } = prepareRun(configOf(), {});
  const { x, y } = dataset.batchAt(3) as Examples;
  expect((prepareRun(configOf(), {}).dataset.batchAt(3) as Examples).x).toEqual(x);
  expect((dataset.batchAt(4) as Examples).x).not.toEqual(x);
  expect((dataset.evalAt(3) as Examples).x).not.toEqual(x);
  const answer = plantedAnswer(NETWORK, 5);
  expect([...y.subarray(2, 4)]).toEqual(answer(x.subarray(8, 16)).map(Math.fround));
});

test.each([
  [{ layout: 'tp=2' }, 'layout: mlp-nano is divided by pp and dp alone, got tp=2; use pp=1,dp=1'],
  [{ layout: 'pp=8' }, 'layers: pp(8) needs a layer per stage, but the model has 4; use pp=4 or a deeper model'],
  [{ layout: 'dp=3' }, /^batch: 8 rows do not split into dp\(3\)/],
  [{ model: 'gpt2-nano' }, 'model: "planted" is learnt by mlp-nano, got "gpt2-nano"; use one of them'],
  [{ data: 'copy' }, 'data: mlp-nano learns "planted", got "copy"; use data=planted'],
  [{ context: '16' }, 'context: mlp-nano knows no tokens; leave it out'],
  [{ tokenizer: 'bytes' }, 'tokenizer: mlp-nano knows no tokens; leave it out'],
  [{ schedule: 'nonsense' }, /^schedule/],
])('what it cannot do is refused: %o', (settings, message) => {
  expect(() => prepareRun(configOf(settings), {})).toThrow(message);
});

test('nothing that runs a task knows tokens', () => {
  const files = [
    'src/device',
    'src/parallel/pipeline',
    'src/parallel/data',
    'src/train/commit',
    'src/train/sync',
    'src/train/step',
  ]
    .flatMap((folder) => readdirSync(folder, { recursive: true }).map((name) => join(folder, String(name))))
    .filter((path) => path.endsWith('.ts'));
  expect(files.length).toBeGreaterThan(40);
  const knows = [
    ...files,
    'src/model/stage.ts',
    'src/train/trainer.ts',
    'src/train/optimizer.ts',
    'src/train/gather.ts',
  ]
    .map((path) => [
      path,
      /from '[^']*(?<!parallel)\/(language[\w-]*|data\/\w[\w-]*|text\/[\w-]+|config|token-rows)\.ts'/.exec(
        readFileSync(path, 'utf8'),
      )?.[0],
    ])
    .filter(([, found]) => found !== undefined);
  expect(knows).toEqual([]);
});
