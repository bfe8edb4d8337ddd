// Ranks whose devices improve while they train: all swap between the same two steps, when the last of them is ready,
// and never before the first loss.

import { expect, test } from 'vitest';
import type { Device, Later } from '../../src/device/device.ts';
import { runRank } from '../../src/train/run.ts';
import type { RunOptions } from '../../src/train/run.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import { PeerError } from '../../src/base/errors.ts';
import { realWorld } from '../../src/base/world.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { Requests } from '../../src/train/step/requests.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';
import type { LoopbackNode } from '../../src/transport/loopback.ts';

const NOTHING = {
  adapter: 'a',
  launches: 0,
  checks: [],
  unchecked: [],
  refused: [],
  decisions: [],
  checkMs: 0,
  tuneMs: 0,
  notes: [],
};

/**
 * Trains `layout`; rank r is ready after `slices[r]` slices of work (undefined: its device has nothing to do). Resolves
 * to what each rank did, in order.
 */
async function train(
  layout: string,
  slices: readonly (number | undefined)[],
  broken?: { readonly rank: number; readonly error: Error },
): Promise<{ readonly told: readonly string[][]; readonly errors: readonly unknown[] }> {
  const config = parseRunConfig([
    ['model', 'gpt2-nano'],
    ['data', 'copy'],
    ['context', '8'],
    ['layout', layout],
    ['batch', '4'],
    ['steps', '6'],
    ['evalEvery', '0'],
    ['sampleEvery', '0'],
  ]);
  const prepared = prepareRun(config, {});
  const nodes = loopbackMesh(slices.length, realWorld, { link: { silentMs: 1e9, heartbeatMs: 1e8 } });
  const told: string[][] = slices.map(() => []);
  const errors = await Promise.all(
    nodes.map(async ({ rank, links }) => {
      const own = told[rank]!;
      const ledger = createLedger();
      const mesh = createMesh({ layout: config.layout, rank, links, ledger });
      let left = slices[rank];
      const later: Later = {
        async work() {
          if (broken?.rank === rank) throw broken.error;
          own.push('work');
          if (left! > 0) left!--;
        },
        get settled() {
          return left === 0;
        },
        swap() {
          own.push('swap');
          return 1;
        },
      };
      const device = { ...createCpuDevice(), ...(left === undefined ? {} : { later, qualify: async () => NOTHING }) };
      try {
        await runRank({
          device,
          mesh,
          ledger,
          world: realWorld,
          config,
          prepared,
          onEvent: (event) => {
            if (event.kind === 'step' || event.kind === 'certificate')
              own.push(event.kind === 'step' ? `step ${event.metrics.step}` : event.kind);
          },
        });
        return undefined;
      } catch (error) {
        mesh.abort(error instanceof PeerError ? error : new PeerError(rank, 'crashed', String(error)));
        return error;
      }
    }),
  );
  for (const node of nodes) node.leave();
  return { told, errors };
}

/** Trains alone, and writes after the last step; what happened, in order. */
async function trainAlone(later: Later | undefined, more: Partial<RunOptions> = {}): Promise<readonly string[]> {
  const config = parseRunConfig([
    ['model', 'gpt2-nano'],
    ['data', 'a.txt'],
    ['context', '8'],
    ['batch', '4'],
    ['steps', '3'],
    ['evalEvery', '0'],
    ['sampleEvery', '3'],
  ]);
  const prepared = prepareRun(config, { text: 'call me ishmael. '.repeat(20) });
  const [{ links, leave }] = loopbackMesh(1, realWorld) as [LoopbackNode];
  const ledger = createLedger();
  const told: string[] = [];
  const qualify: Device['qualify'] = async (launches) => {
    if (launches.length) told.push('qualify');
    return NOTHING;
  };
  const device = { ...createCpuDevice(), qualify, ...(later ? { later } : {}) };
  const mesh = createMesh({ layout: config.layout, rank: 0, links, ledger });
  await runRank({
    device,
    mesh,
    ledger,
    world: realWorld,
    config,
    prepared,
    sampleTokens: 1,
    onEvent: ({ kind }) => told.push(kind),
    ...more,
  });
  leave();
  return told.filter((kind) => !['status', 'done'].includes(kind));
}

/** After which step a rank swapped for the first time, and its first entry of a kind. */
const firstSwap = (own: readonly string[]): string | undefined =>
  own.slice(own.indexOf('swap')).find((entry) => entry.startsWith('step'));

test.each([
  ['dp=2', [1, 3]],
  ['tp=2', [3, 1]],
  ['pp=2', [2, 2]],
] as const)('%s: all swap when the slower one is ready', async (layout, slices) => {
  const { told, errors } = await train(layout, slices);
  expect(errors).toEqual([undefined, undefined]);
  // Ready after n slices, of which the first comes after step 0: the exchange of step n says so.
  const at = `step ${Math.max(...slices)}`;
  expect(told.map(firstSwap)).toEqual([at, at]);
  for (const own of told) {
    expect(own.indexOf('work')).toBeGreaterThan(own.indexOf('step 0'));
    expect(own.filter((entry) => entry === 'certificate').length).toBeGreaterThan(0);
    expect(own.indexOf('certificate')).toBeGreaterThan(own.indexOf('step 0'));
  }
});

test('who has nothing to do waits for nobody, and holds nobody up', async () => {
  const { told } = await train('dp=2', [undefined, 2]);
  expect([told[0]!.includes('swap'), firstSwap(told[1]!)]).toEqual([false, 'step 2']);
});

test('one that is never ready lets nobody swap', async () => {
  const { told } = await train('dp=2', [1, 1000]);
  expect(told.flat()).not.toContain('swap');
});

test('what goes wrong there ends the run and names the rank', async () => {
  const { errors } = await train('dp=2', [5, 5], { rank: 1, error: new Error('computed wrongly') });
  expect(String(errors[0])).toMatch(/rank 1 .*computed wrongly/);
  expect(String(errors[1])).toMatch(/computed wrongly/);
});

test('a device that is measured before it trains is measured for its samples too', async () => {
  const told = await trainAlone(undefined);
  expect(told.filter((kind) => kind !== 'qualify')).toEqual(['certificate', 'ready', 'step', 'step', 'step', 'sample']);
  expect(told.lastIndexOf('qualify')).toBeLessThan(told.indexOf('certificate'));
  // One that begins at once hears of them after its first loss.
  const later = await trainAlone({ work: async () => {}, settled: false, swap: () => 0 });
  expect(later.lastIndexOf('qualify')).toBeGreaterThan(later.indexOf('step'));
});

test.each([
  ['after a step', false],
  ['in a pause', true],
] as const)('a run that is stopped %s tells what was found until then', async (_, pause) => {
  let paused = false;
  const requests = (): Requests => ({ stop: !pause || paused, save: false, sample: false, pause });
  const told = await trainAlone(
    { work: async () => {}, settled: false, swap: () => 0 },
    {
      requests,
      onWait: (waits) => {
        paused = waits;
      },
      whileWaiting: async () => 'serve',
    },
  );
  expect(told.filter((kind) => kind !== 'qualify')).toEqual(['ready', 'step', 'certificate']);
});

test('a rank that cannot begin no longer hears of what others compile', async () => {
  const listeners = new Set<unknown>();
  const onCompile: Device['onCompile'] = (listener) => {
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  };
  const broken = { ...createCpuDevice(), onCompile, prepare: () => Promise.reject(new Error('no memory left')) };
  await expect(trainAlone(undefined, { device: broken })).rejects.toThrow('no memory left');
  expect(listeners.size).toBe(0);
  await trainAlone(undefined, { device: { ...createCpuDevice(), onCompile } });
  expect(listeners.size).toBe(0);
});
