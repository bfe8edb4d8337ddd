// Checkpoints in two tabs: the last rank gets the bytes that rank 0 told of, while the training goes on; a run that
// lost a rank and goes on from the copy is the run without the loss, bit for bit; a rank 0 that sends something else is
// named.

import { describe, expect, it } from 'vitest';
import { worldSize } from '../../src/base/axis.ts';
import { PeerError } from '../../src/base/errors.ts';
import { realWorld } from '../../src/base/world.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import type { Mesh } from '../../src/collectives/mesh.ts';
import { send } from '../../src/collectives/point/send-recv.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { mostCheckpointBytes } from '../../src/train/checkpoint.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { CheckpointCopies } from '../../src/train/resume/checkpoint-copies.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import { runRank } from '../../src/train/run.ts';
import type { RunEvent } from '../../src/train/run.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';

type Bytes = Uint8Array<ArrayBuffer>;

const configOf = (change: Record<string, string | number> = {}): RunConfig =>
  parseRunConfig(
    Object.entries({
      model: 'gpt2-nano',
      data: 'copy',
      context: 16,
      layout: 'dp=2,pp=2',
      microbatches: 2,
      batch: 8,
      steps: 12,
      evalEvery: 0,
      sampleEvery: 0,
      checkpointEvery: 4,
      ...change,
    }),
  );

interface Outcome {
  /** Loss by step, as rank 0 saw it. */
  readonly losses: Map<number, number>;
  readonly checkpoints: Map<number, Bytes>;
  readonly copies: Map<number, Bytes>;
  readonly errors: readonly (Error | undefined)[];
}

/** All ranks in this process. `kill`: this rank is gone without a word when it has made so many steps. */
async function train(
  config: RunConfig,
  { checkpoint, kill }: { checkpoint?: Bytes; kill?: { rank: number; afterStep: number } } = {},
): Promise<Outcome> {
  const prepared = prepareRun(config, checkpoint ? { checkpoint } : {});
  const [losses, checkpoints, copies] = [new Map<number, number>(), new Map<number, Bytes>(), new Map<number, Bytes>()];
  const nodes = loopbackMesh(worldSize(config.layout), realWorld, { link: { silentMs: 1e9, heartbeatMs: 1e8 } });
  const errors = await Promise.all(
    nodes.map(async ({ rank, links, kill: cut }) => {
      const ledger = createLedger();
      const mesh = createMesh({ layout: config.layout, rank, links, ledger });
      const device = createCpuDevice();
      const onEvent = (event: RunEvent): void => {
        if (event.kind === 'step' && rank === 0) losses.set(event.metrics.step, event.metrics.loss);
        if (event.kind === 'checkpoint') checkpoints.set(event.step, event.bytes);
        if (event.kind === 'copy') copies.set(event.step, event.content);
        if (event.kind === 'step' && rank === kill?.rank && event.metrics.step === kill.afterStep) cut();
      };
      try {
        await runRank({ device, mesh, ledger, world: realWorld, config, prepared, copies: true, onEvent });
        return undefined;
      } catch (error) {
        mesh.abort(error instanceof PeerError ? error : new PeerError(rank, 'crashed', String(error)));
        return error as Error;
      } finally {
        device.destroy();
      }
    }),
  );
  for (const node of nodes) node.leave();
  return { losses, checkpoints, copies, errors };
}

describe('a copy of each checkpoint', () => {
  it.each(['dp=2,pp=2', 'dp=2', 'pp=3', 'dp=1'])('reaches the last rank whole with %s', async (layout) => {
    const { checkpoints, copies, errors } = await train(
      configOf({ layout, model: layout === 'pp=3' ? 'gpt2-micro' : 'gpt2-nano', steps: 5, checkpointEvery: 2 }),
    );
    expect(errors.filter((error) => error)).toEqual([]);
    expect([...checkpoints.keys()]).toEqual([2, 4, 5]);
    if (layout === 'dp=1') {
      expect(copies.size).toBe(0);
      return;
    }
    expect([...copies.keys()]).toEqual([2, 4, 5]);
    for (const [step, bytes] of checkpoints) expect(Buffer.compare(copies.get(step)!, bytes), `step ${step}`).toBe(0);
  });

  it('is enough for the run to go on as if nothing had happened, whichever rank is lost', async () => {
    const whole = await train(configOf());
    for (const rank of [0, 1]) {
      const lost = await train(configOf(), { kill: { rank, afterStep: 9 } });
      expect(lost.errors[3]).toMatchObject({ culprit: rank, evidence: 'closed' });
      expect([...lost.copies.keys()]).toEqual([4, 8]);
      const resumed = await train(configOf(), { checkpoint: lost.copies.get(8)! });
      expect([...resumed.losses.keys()]).toEqual([8, 9, 10, 11]);
      for (const [step, loss] of resumed.losses) expect(loss, `step ${step}`).toBe(whole.losses.get(step));
      expect(Buffer.compare(resumed.checkpoints.get(12)!, whole.checkpoints.get(12)!)).toBe(0);
    }
  });
});

describe('rank 0 is named when it sends', () => {
  const most = mostCheckpointBytes(prepareRun(configOf(), {}));

  async function copyOf(evil: (mesh: Mesh) => Promise<void>): Promise<Error> {
    const nodes = loopbackMesh(2, realWorld);
    const [first, last] = nodes.map(({ rank, links }) =>
      createMesh({ layout: { pp: 1, dp: 2, sp: 1, ep: 1, tp: 1 }, rank, links, ledger: createLedger() }),
    );
    const copies = new CheckpointCopies(last!, most, () => {
      throw new Error('took it');
    });
    await copies.begin(4);
    void evil(first!).catch(() => undefined);
    const error = await copies.settle().then(
      () => new Error('no error'),
      (cause: Error) => cause,
    );
    for (const node of nodes) node.leave();
    return error;
  }

  const group = (mesh: Mesh) => mesh.scope('checkpoint copies').world;

  it('a length that cannot be, before anything is kept', async () => {
    for (const length of [0, most + 1, 2 ** 32 - 1]) {
      const error = await copyOf((mesh) => send(group(mesh), 1, Uint32Array.of(length)));
      expect(error.message).toBe(
        `rank 0 corrupt: it has a checkpoint of ${length} bytes for us; one of this run has at most ${most}`,
      );
    }
  });

  it('bytes that are no checkpoint, or one of another step', async () => {
    const { checkpoints } = await train(configOf({ layout: 'dp=1', steps: 2, checkpointEvery: 2 }));
    const content = checkpoints.get(2)!;
    for (const [bytes, sentence] of [
      [new Uint8Array(40), /^rank 0 corrupt: its checkpoint of step 4 is none: safetensors: checkpoint: /],
      [content, /^rank 0 corrupt: its checkpoint of step 4 is none: it is of step 2$/],
    ] as const) {
      const error = await copyOf((mesh) => new CheckpointCopies(mesh, most, () => {}).begin(4, bytes));
      expect(error.message).toMatch(sentence);
    }
  });
});
