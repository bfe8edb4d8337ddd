// Contract of every task (found by the registry) that is no language model: it needs no file, says what it has no use
// for, and refuses what is another task's; its batches are a function of the seed; every layout that its axes allow
// trains as one device does; and it learns. On the references.

import { describe, expect, it, test } from 'vitest';
import { InternalError, TabmeshError } from '../../src/base/errors.ts';
import { gatherModel } from '../../src/train/gather.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { parseRunConfig, RUN_FIELDS } from '../../src/train/run-config.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import { DATA_NAMES, kindFiles, MODEL_NAMES, taskOf, tasks, tasksOf } from '../../src/train/tasks/registry.ts';
import { allOf, onTrainers } from '../support/trainer-lab.ts';

const STEPS = 3;

interface Result {
  readonly losses: readonly number[];
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

async function train(config: RunConfig): Promise<Result> {
  const [first, ...others] = allOf(
    await onTrainers(config, async ({ trainer }) => {
      const gradients = new Map<string, Float32Array>();
      const losses: number[] = [];
      for (let step = 0; step < STEPS; step++) {
        const { loss } = await trainer.trainStep(async () => {
          if (step > 0) return;
          for (const [name, { data }] of await gatherModel(trainer, 'gradients')) gradients.set(name, data);
        });
        losses.push(loss);
      }
      return { losses, gradients };
    }),
  );
  for (const { losses } of others) expect(losses).toEqual(first.losses);
  return first;
}

const others = [...tasks.values()].filter(({ name }) => name !== 'language');

describe.each(others)('$name', (kind) => {
  const configOf = (model: string, settings: Readonly<Record<string, string | number>> = {}): RunConfig =>
    parseRunConfig(Object.entries({ model, data: kind.data[0].value, seed: 5, lr: 0.003, ...settings }));

  it('is offered by name, needs no file, and says why a setting means nothing to it', () => {
    expect(MODEL_NAMES).toEqual(expect.arrayContaining([...kind.models]));
    expect(DATA_NAMES).toEqual(expect.arrayContaining([...kind.data]));
    for (const model of kind.models) {
      const config = configOf(model);
      expect(taskOf(config)).toBe(kind);
      expect(kind.needs(config)).toEqual({ text: false, tokens: false, model: false });
      for (const [name, why] of Object.entries(kind.unused(config))) {
        expect(Object.keys(RUN_FIELDS)).toContain(name);
        expect(why, name).toMatch(/^[^.;]{8,80}$/);
      }
    }
  });

  it('refuses the model and the data of another task, and the axes that it does not have', () => {
    const [model] = kind.models;
    expect(() => prepareRun(configOf('gpt2-nano'), {})).toThrow('model: ');
    expect(() => prepareRun(configOf(model, { data: 'copy' }), {})).toThrow('data: ');
    for (const axis of Object.keys(RUN_FIELDS.layout.preset))
      if (!(kind.axes as readonly string[]).includes(axis))
        expect(() => prepareRun(configOf(model, { layout: `${axis}=2` }), {}), axis).toThrow('layout: ');
    expect(() => prepareRun(configOf(model, { batch: 3, layout: 'dp=2' }), {})).toThrow(TabmeshError);
  });

  it.each(kind.models)('%s draws its batches from the seed alone', (model) => {
    const draw = (seed: number, step: number): unknown =>
      prepareRun(configOf(model, { seed }), {}).dataset.batchAt(step);
    expect(draw(1, 4)).toEqual(draw(1, 4));
    expect(draw(1, 4)).not.toEqual(draw(1, 5));
    expect(draw(1, 4)).not.toEqual(draw(2, 4));
    const { dataset } = prepareRun(configOf(model), {});
    if (dataset.evalBatches > 0) expect(dataset.evalAt(0)).not.toEqual(dataset.batchAt(0));
  });

  it.each(kind.models)('%s trains in every layout as on one device, and learns', async (model) => {
    const one = await train(configOf(model));
    expect([...one.gradients.keys()]).toEqual(prepareRun(configOf(model), {}).task.weights.map(({ name }) => name));
    expect(one.losses[STEPS - 1]).toBeLessThan(one.losses[0]);
    const layouts = kind.axes
      .filter((axis) => axis !== 'pp' || kind.layersOf(model)! > 1)
      .map((axis): Readonly<Record<string, string | number>> => ({ layout: `${axis}=2` }));
    for (const settings of [...layouts, { microbatches: 4 }]) {
      const { losses, gradients } = await train(configOf(model, settings));
      losses.forEach((loss, i) =>
        expect(Math.abs(loss / one.losses[i] - 1), JSON.stringify(settings)).toBeLessThan(1e-5),
      );
      for (const [name, want] of one.gradients) {
        const most = want.reduce((value, g) => Math.max(value, Math.abs(g)), 0);
        expect(most, name).toBeGreaterThan(0);
        const error = want.reduce((value, g, i) => Math.max(value, Math.abs(gradients.get(name)![i] - g)), 0);
        expect(error / most, `${name} with ${JSON.stringify(settings)}`).toBeLessThan(1e-5);
      }
    }
  });
});

test('the registry refuses a folder without a kind, another name than its own, and what is taken', () => {
  const { regression } = Object.fromEntries(tasks);
  expect(() => tasksOf({ './x/kind.ts': undefined })).toThrow(InternalError);
  expect(() => tasksOf({ './x/kind.ts': regression })).toThrow("./x/kind.ts: the task is called 'regression'");
  expect(() => tasksOf({ ...kindFiles, './x/kind.ts': { ...regression, name: 'x' } })).toThrow('is taken');
});
