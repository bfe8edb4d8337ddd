// A step that meets a NaN, an infinity or numbers beyond f32 ends the run on every rank with one error that names the
// rank where it began, and changes nothing. No file is made of such numbers.

import { afterEach, describe, expect, test, vi } from 'vitest';
import { ConfigError, PeerError, ShapeError } from '../../src/base/errors.ts';
import type { Group } from '../../src/collectives/group.ts';
import { coordinatesOf } from '../../src/collectives/mesh.ts';
import { AdamW } from '../../src/train/optimizer.ts';
import { gatherModel } from '../../src/train/gather.ts';
import { readCheckpoint, writeCheckpoint, writeModel } from '../../src/train/checkpoint.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import { updateProblem } from '../../src/train/step/update-range.ts';
import { blame } from '../../src/train/step/blame.ts';
import type { StepReport } from '../../src/train/step/step-report.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { NO_REQUESTS } from '../../src/train/step/requests.ts';
import { NO_SQUARES } from '../../src/train/step/square-sum.ts';
import type { Stage } from '../../src/model/stage.ts';
import type { RunEvent } from '../../src/train/run.ts';
import type { Device } from '../../src/device/device.ts';
import { goldenConfig, goldenModel } from '../support/local-run.ts';
import { allOf, onTrainers, stateOf } from '../support/trainer-lab.ts';
import type { LabRank } from '../support/trainer-lab.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const files = (name: string) => readRunFiles(goldenModel(name));

/**
 * Ends the second step of rank `victim` with a NaN; what every rank's error says, and whether its state is that of
 * before.
 */
async function poisoned(
  name: string,
  layout: string,
  victim: number,
  poison: (rank: LabRank) => unknown,
  wrap?: (device: Device, rank: number, armed: () => boolean) => Device,
): Promise<readonly { readonly error: unknown; readonly same: boolean }[]> {
  let armed = false;
  return allOf(
    await onTrainers(
      goldenConfig(name, layout),
      async (rank) => {
        await rank.trainer.trainStep();
        const before = await stateOf(rank);
        if (rank.rank === victim) {
          armed = true;
          await poison(rank);
        }
        const spoiled = await stateOf(rank);
        const error: unknown = await rank.trainer.trainStep().catch((reason: unknown) => reason);
        const after = await stateOf(rank);
        return {
          error,
          same:
            after.every((word, i) => word === spoiled[i]) &&
            (rank.rank === victim || spoiled.every((word, i) => word === before[i])),
        };
      },
      {
        files: files(name),
        ...(wrap ? { device: (device, rank) => wrap(device, rank, () => armed && rank === victim) } : {}),
      },
    ),
  );
}

function expectNamed(results: Awaited<ReturnType<typeof poisoned>>, victim: number, words: RegExp): void {
  for (const { error, same } of results) {
    expect(error).toBeInstanceOf(PeerError);
    expect(error).toMatchObject({ culprit: victim, evidence: 'non-finite' });
    expect((error as Error).message).toMatch(words);
    expect(same).toBe(true);
  }
  expect(new Set(results.map(({ error }) => (error as Error).message)).size).toBe(1);
}

/** Writes one float into a flat buffer of the rank's stage, by default where it is the owner. */
function put({ trainer, device }: LabRank, what: 'values' | 'grads', value: number, at?: number): void {
  const [[index, stage]] = [...trainer.stages] as [[number, Stage]];
  at ??= trainer.sync.optimizers.get(index)!.moments[0]!.owned.start + 5;
  device.write(stage.params[what], at * 4, new Float32Array([value]));
}

/** A device on which the readbacks of this rank hold a NaN once it is armed: what it computes is wrong from now on. */
const spoilReadbacks = (device: Device, _rank: number, armed: () => boolean): Device => ({
  ...device,
  async submit(launches, ranges = []) {
    const parts = await device.submit(launches, ranges);
    if (armed())
      for (const [i, part] of parts.entries())
        if (part.byteLength >= 256 && ranges[i]!.buffer.tag === 'activation') new Float32Array(part, 0, 1)[0] = NaN;
    return parts;
  },
});

const LAYOUTS = ['dp=1', 'dp=2', 'pp=2', 'tp=2', 'sp=2', 'dp=2,pp=2', 'pp=2,tp=2'];
const CASES: readonly (readonly [string, number])[] = LAYOUTS.flatMap((layout) => [
  [layout, 0] as const,
  ...(layout === 'dp=1' ? [] : [[layout, 1] as const]),
]);

describe('a NaN stops every rank and names where it began', () => {
  test.each(CASES)('a weight, %s, rank %i', async (layout, victim) => {
    expectNamed(
      await poisoned('gpt2-tiny', layout, victim, (rank) => put(rank, 'values', NaN)),
      victim,
      /^rank \d non-finite: in step 1 the weight of transformer[\w., ]+ is NaN; nothing was changed by it$/,
    );
  });

  test.each(CASES)('a gradient, %s, rank %i', async (layout, victim) => {
    // Before gradients are summed and measured, on one rank.
    expectNamed(
      await poisoned('gpt2-tiny', layout, victim, (rank) => {
        const [sync] = [...rank.trainer.sync.flats.values()];
        const reduce = sync!.reduceGradients.bind(sync);
        vi.spyOn(sync!, 'reduceGradients').mockImplementation(async () => {
          put(rank, 'grads', Infinity, 5);
          await reduce();
        });
      }),
      victim,
      /^rank \d non-finite: in step 1 the gradient of transformer[\w., ]+ is (Infinity|NaN); nothing was changed by it$/,
    );
  });

  test.each([
    ['pp=2', 0],
    ['pp=2', 1],
    ['tp=2', 1],
    ['sp=2', 0],
    ['dp=2,pp=2', 3],
  ] as const)('what a device computes, %s, rank %i', async (layout, victim) => {
    expectNamed(
      await poisoned('llama-tiny', layout, victim, () => {}, spoilReadbacks),
      victim,
      /^rank \d non-finite: in step 1 (what it sent for|the loss of)/,
    );
  });

  test('what an expert computes', async () => {
    expectNamed(
      await poisoned('mixtral-tiny', 'ep=2', 1, () => {}, spoilReadbacks),
      1,
      /^rank 1 non-finite: in step 1 what it sent for all-to-all/,
    );
  });

  test('what is spoiled on its way', async () => {
    // The sender saw finite numbers: those who received others name it.
    const results = await onTrainers(
      goldenConfig('gpt2-tiny', 'pp=2'),
      async (rank) => {
        const before = await stateOf(rank);
        const error: unknown = await rank.trainer.trainStep().catch((reason: unknown) => reason);
        return { error, same: String(await stateOf(rank)) === String(before) };
      },
      {
        files: files('gpt2-tiny'),
        change: (options, rank) =>
          rank !== 0
            ? options
            : {
                ...options,
                mesh: {
                  ...options.mesh,
                  scope: (name) => {
                    const scope = options.mesh.scope(name);
                    if (name !== 'pipeline forward') return scope;
                    const group = scope.axis('pp');
                    const spoiling: Group = {
                      ...group,
                      begin: (kind, seq) => {
                        const operation = group.begin(kind, seq);
                        return {
                          ...operation,
                          send: (to, chunk, data) =>
                            operation.send(
                              to,
                              chunk,
                              (data as Float32Array<ArrayBuffer>).map((value, i) => (i === 3 ? NaN : value)),
                            ),
                        };
                      },
                    };
                    return { ...scope, axis: () => spoiling };
                  },
                },
              },
      },
    );
    expectNamed(
      allOf(results),
      0,
      /^rank 0 non-finite: in step 0 what others received from it was not finite, though it was when it was sent/,
    );
  });

  test('an update that leaves its bounds is found before the next one', async () => {
    const results = await onTrainers(
      goldenConfig('gpt2-tiny', 'dp=2'),
      async (rank) => {
        // The seeded defect: the device of rank 1 makes one weight far too large.
        const update = AdamW.prototype.step;
        if (rank.rank === 1)
          for (const optimizer of rank.trainer.sync.optimizers.values())
            vi.spyOn(optimizer, 'step').mockImplementation(async function (this: AdamW, ...given) {
              const { owned } = this.moments[0]!;
              put(rank, 'values', 1e37, owned.start + 1);
              await update.apply(this, given);
            });
        await rank.trainer.trainStep();
        const before = await stateOf(rank);
        const error: unknown = await rank.trainer.trainStep().catch((reason: unknown) => reason);
        return { error, same: String(await stateOf(rank)) === String(before) };
      },
      { files: files('gpt2-tiny') },
    );
    expectNamed(
      allOf(results),
      1,
      /^rank 1 non-finite: in step 1 the weight of transformer[\w., ]+ is (1e\+37|9\.99\d+e\+36); nothing was changed by it$/,
    );
  });
});

describe('numbers beyond f32', () => {
  const scaled = (by: number, change: Parameters<typeof goldenConfig>[2]) =>
    onTrainers(
      goldenConfig('gpt2-tiny', 'dp=2', change),
      async (rank) => {
        const before = await stateOf(rank);
        for (const sync of rank.trainer.sync.flats.values()) {
          const reduce = sync.reduceGradients.bind(sync);
          vi.spyOn(sync, 'reduceGradients').mockImplementation(async () => {
            if (rank.rank === 1) put(rank, 'grads', by, 5);
            await reduce();
          });
        }
        const result = await rank.trainer.trainStep().catch((reason: unknown) => reason);
        return { result, same: String(await stateOf(rank)) === String(before) };
      },
      { files: files('gpt2-tiny') },
    );

  test('gradients of 1e20 have a norm, and are clipped', async () => {
    for (const { result, same } of allOf(await scaled(1e20, { gradClip: 1 }))) {
      const { gradNorm, tokens } = result as { gradNorm: number; tokens: number };
      expect(Math.abs((gradNorm * tokens) / 1e20 - 1)).toBeLessThan(1e-6);
      expect(same).toBe(false);
    }
  });

  test('without clipping their squares are refused, by the name of the rank', async () => {
    for (const { result, same } of allOf(await scaled(1e25, { gradClip: null }))) {
      expect(result).toMatchObject({
        culprit: expect.any(Number) as number,
        evidence: 'non-finite',
        message: expect.stringMatching(
          /^rank \d non-finite: in step 0 gradients of [\d.]+e\+2\d are too large: their squares leave f32; clip them \(gradClip\); nothing was changed by it$/,
        ) as string,
      });
      expect(same).toBe(true);
    }
  });

  test('settings with which an update could leave f32 are refused before it', async () => {
    for (const { result, same } of allOf(await scaled(1, { lr: 1e30 }))) {
      expect(result).toBeInstanceOf(ConfigError);
      expect((result as Error).message).toMatch(/^step 0: lr 1\.00e\+30/);
      expect(same).toBe(true);
    }
  });

  test('updateProblem', () => {
    const usual = {
      largest: 3,
      scale: 0.01,
      moment: 1,
      t: 1,
      lr: 1e-3,
      hyper: { betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1 },
    } as const;
    expect(updateProblem(usual)).toBeUndefined();
    expect(updateProblem({ ...usual, largest: 3e38, scale: 1e-40 })?.text).toMatch(/too large to be scaled in f32/);
    expect(updateProblem({ ...usual, largest: 1e19, scale: 1 })?.kind).toBe('gradient');
    expect(updateProblem({ ...usual, moment: 1e32 })?.kind).toBe('setting');
    for (const lr of [NaN, Infinity, -1])
      expect(updateProblem({ ...usual, lr })?.text).toBe(`lr: expected a number of at least 0, got ${lr}`);
    expect(updateProblem({ ...usual, lr: 1e8, hyper: { ...usual.hyper, weightDecay: 1e3 } })?.text).toMatch(
      /the decay multiplies weights by/,
    );
  });
});

test('who is to blame', () => {
  const fine: StepReport = {
    lossSum: 1,
    tokens: 1,
    squares: NO_SQUARES,
    most: 1,
    moment: 0,
    beyond: false,
    first: undefined,
    requests: NO_REQUESTS,
    settled: false,
  };
  const judge = (reports: readonly StepReport[], ranks = [0, 1, 2]) => blame(reports, ranks);
  expect(judge([fine, { ...fine, first: { order: 3 } }])).toBeUndefined();
  const lost = { ...fine, lossSum: NaN };
  // Stage 1 heard it from stage 0, which made it; then the gradient came back.
  expect(
    judge([
      { ...fine, first: { order: 1 } },
      { ...lost, first: { order: 2, from: 0 } },
    ])?.culprit,
  ).toBe(0);
  expect(
    judge([
      { ...fine, first: { order: 9, from: 1 } },
      { ...lost, first: { order: 2 } },
    ])?.culprit,
  ).toBe(1);
  // Nobody made it: it changed on its way from 2 to 0, and 0 spread it.
  expect(
    judge([
      { ...lost, first: { order: 2, from: 2 } },
      { ...fine, first: { order: 3, from: 0 } },
      { ...fine, first: { order: 5, from: 1 } },
    ])?.culprit,
  ).toBe(2);
  expect(
    judge([
      { ...fine, first: { order: 1 } },
      { ...fine, beyond: true },
    ])?.culprit,
  ).toBe(1);
  expect(judge([fine, { ...fine, most: 0x7fc00000 }])?.culprit).toBe(1);
  // Links that number the ranks otherwise: the place is not the name.
  expect(judge([fine, { ...fine, beyond: true }], [5, 3])?.culprit).toBe(3);
  expect(judge([{ ...lost, first: { order: 2, from: 3 } }, fine], [5, 3])?.culprit).toBe(3);
});

describe('no file with a NaN', () => {
  test.each(['weights', 'm', 'v'] as const)(
    '%s are looked at on their rank before they are handed over',
    async (what) => {
      const results = await onTrainers(
        goldenConfig('gpt2-tiny', 'dp=2,pp=2'),
        async (rank) => {
          const [optimizer] = [...rank.trainer.sync.optimizers.values()];
          const { m, v, owned } = optimizer!.moments[0]!;
          if (rank.rank === 2) {
            if (what === 'weights') put(rank, 'values', NaN, owned.start);
            else
              rank.device.write((what === 'm' ? m : v).buffer, (what === 'm' ? m : v).offset, new Float32Array([NaN]));
          }
          return gatherModel(rank.trainer, what);
        },
        { files: files('gpt2-tiny') },
      );
      // Whoever was done before sent its part and needs no answer.
      expect(results[0]).toMatchObject({ culprit: 2, evidence: 'non-finite' });
      expect(results[2]).toMatchObject({
        culprit: 2,
        evidence: 'non-finite',
        message: expect.stringMatching(
          /^rank 2 non-finite: its [\w ]+ hold NaN, so nothing is handed over; the last checkpoint stays$/,
        ) as string,
      });
    },
  );

  test('the writers refuse it too', async () => {
    const [whole] = allOf(
      await onTrainers(goldenConfig('gpt2-tiny', 'dp=1'), async ({ trainer }) => gatherModel(trainer, 'weights'), {
        files: files('gpt2-tiny'),
      }),
    );
    const config = goldenConfig('gpt2-tiny', 'dp=1');
    const { task, modelConfig } = prepareRun(config, files('gpt2-tiny'));
    const content = {
      step: 3,
      updates: 2,
      weights: whole!,
      m: whole!,
      v: whole!,
      config,
      modelConfig,
      tokenizer: undefined,
      dataIdentity: 'task:copy',
    };
    expect(readCheckpoint(writeCheckpoint(content), task.weights)).toMatchObject({ step: 3, updates: 2 });
    const [name, { shape, data }] = [...whole!][4]!;
    const spoiled = new Map(whole!).set(name, { shape, data: data.with(2, NaN) });
    for (const write of [
      () => writeModel(spoiled),
      () => writeCheckpoint({ ...content, weights: spoiled }),
      () => writeCheckpoint({ ...content, m: spoiled }),
      () => writeCheckpoint({ ...content, v: spoiled }),
    ]) {
      expect(write).toThrow(ShapeError);
      expect(write).toThrow(`${name}[2] is NaN, so no file is made; the last one stays`);
    }
  });

  test('a run keeps the checkpoints from before', async () => {
    const told: [number, RunEvent][] = [];
    let steps = 0;
    const measure = AdamW.prototype.measure;
    vi.spyOn(AdamW.prototype, 'measure').mockImplementation(async function (this: AdamW) {
      const measured = await measure.call(this);
      return steps++ === 3 * 2 ? { ...measured, most: 0x7fc00000 } : measured;
    });
    await expect(
      runInProcess({
        backend: 'cpu',
        config: goldenConfig('gpt2-tiny', 'dp=2', { steps: 6, checkpointEvery: 1 }),
        files: files('gpt2-tiny'),
        wantModel: true,
        onEvent: (rank, event) => told.push([rank, event]),
      }),
    ).rejects.toMatchObject({ evidence: 'non-finite' });
    expect(
      told.filter(([, { kind }]) => kind === 'checkpoint').map(([, event]) => (event as { step: number }).step),
    ).toEqual([1, 2, 3]);
    expect(told.some(([, { kind }]) => kind === 'model' || kind === 'done')).toBe(false);
  });
});

test('ranks of the layouts above are where the tests believe', () => {
  expect(coordinatesOf(2, { pp: 2, dp: 2, sp: 1, ep: 1, tp: 1 })).toMatchObject({ pp: 1, dp: 0 });
});
