// A checkpoint goes on bit-equal to not having stopped: same bytes of weights and moments, on every layout, also on
// another layout than it was written by (there within rounding). A stop request ends all ranks at the same step; a
// damaged checkpoint is refused.

import { describe, expect, test } from 'vitest';
import { readSafetensors, toFloat32, writeSafetensors } from '../../src/base/safetensors.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import type { RunEvent } from '../../src/train/run.ts';
import { firstDifference, goldenConfig, goldenModel, readGolden, tensorsOf } from '../support/local-run.ts';

const NAME = 'gpt2-tiny';

async function checkpoints(
  config: RunConfig,
  checkpoint?: Uint8Array<ArrayBuffer>,
): Promise<ReadonlyMap<number, Uint8Array<ArrayBuffer>>> {
  const found = new Map<number, Uint8Array<ArrayBuffer>>();
  await runInProcess({
    backend: 'cpu',
    config,
    files: readRunFiles(goldenModel(NAME)),
    checkpoint,
    onEvent: (_rank, event) => {
      if (event.kind === 'checkpoint') found.set(event.step, event.bytes);
    },
  });
  return found;
}

describe.each(['dp=1', 'dp=2,pp=2', 'pp=2,tp=2', 'sp=2'])('layout %s', (layout) => {
  test('goes on bit-equal', async () => {
    const config = goldenConfig(NAME, layout, { steps: 6, checkpointEvery: 3 });
    const straight = await checkpoints(config);
    const resumed = await checkpoints(config, straight.get(3));
    expect([...resumed.keys()]).toEqual([6]);
    expect(Buffer.from(resumed.get(6)!).equals(Buffer.from(straight.get(6)!))).toBe(true);
    expect(Buffer.from(straight.get(3)!).equals(Buffer.from(straight.get(6)!))).toBe(false);
  });
});

test('goes on in another layout within rounding', async () => {
  const straight = await checkpoints(goldenConfig(NAME, 'dp=1', { steps: 4, checkpointEvery: 2 }));
  const moved = await checkpoints(goldenConfig(NAME, 'dp=2,tp=2', { steps: 4, checkpointEvery: 2 }), straight.get(2));
  const plain = (bytes: Uint8Array<ArrayBuffer>) =>
    new Map([...tensorsOf(bytes)].filter(([name]) => !name.endsWith('c_attn.bias') && !name.startsWith('optimizer.v')));
  expect(firstDifference(plain(moved.get(4)!), plain(straight.get(4)!), 1e-3)).toBeUndefined();
});

test('moments that are lost would be seen', async () => {
  const config = goldenConfig(NAME, 'dp=1', { steps: 4, checkpointEvery: 2 });
  const straight = await checkpoints(config);
  // The seeded defect: every moment in the checkpoint is zero.
  const { tensors, metadata } = readSafetensors(straight.get(2)!);
  const spoiled = writeSafetensors(
    [...tensors].map(
      ([name, entry]) =>
        [
          name,
          {
            dtype: 'F32' as const,
            shape: entry.shape,
            data: name.startsWith('optimizer.') ? new Float32Array(entry.bytes.length / 4) : toFloat32(entry),
          },
        ] as const,
    ),
    metadata,
  );
  const resumed = await checkpoints(config, spoiled);
  expect(Buffer.from(resumed.get(4)!).equals(Buffer.from(straight.get(4)!))).toBe(false);
});

test.each([
  ['a plain model', () => readGolden(NAME, 'model.safetensors'), 'expected tabmesh-checkpoint/1'],
  ['a cut file', () => new Uint8Array(100), 'safetensors'],
])('%s is refused as a checkpoint', async (_what, bytes, sentence) => {
  await expect(checkpoints(goldenConfig(NAME, 'dp=1', { steps: 2 }), bytes())).rejects.toThrow(sentence);
});

test('evaluations and samples on the way change nothing', async () => {
  const text =
    'call me ishmael. some years ago, never mind how long precisely, having little or no money in my purse. '.repeat(8);
  const weights = async (every: string): Promise<Uint8Array<ArrayBuffer>> => {
    let bytes = new Uint8Array(0);
    const seen = new Set<string>();
    const config = parseRunConfig([
      ['model', 'gpt2-nano'],
      ['data', 'ishmael.txt'],
      ['context', '8'],
      ['layout', 'pp=2'],
      ['batch', '2'],
      ['microbatches', '2'],
      ['steps', '3'],
      ['evalEvery', every],
      ['sampleEvery', every],
      ['checkpointEvery', '0'],
    ]);
    await runInProcess({
      backend: 'cpu',
      config,
      files: { text },
      wantModel: true,
      onEvent: (_rank, event) => {
        seen.add(event.kind);
        if (event.kind === 'model') bytes = event.bytes;
      },
    });
    expect([seen.has('evaluation'), seen.has('sample')]).toEqual(every === '0' ? [false, false] : [true, true]);
    return bytes;
  };
  expect(Buffer.from(await weights('1')).equals(Buffer.from(await weights('0')))).toBe(true);
});

test('one rank asks to stop, all stop at the same step', async () => {
  const ends: RunEvent[] = [];
  const controller = new AbortController();
  const config = parseRunConfig([
    ['model', 'gpt2-nano'],
    ['data', 'copy'],
    ['context', '8'],
    ['layout', 'dp=2'],
    ['batch', '2'],
    ['steps', '50'],
    ['evalEvery', '0'],
    ['sampleEvery', '0'],
  ]);
  await runInProcess({
    backend: 'cpu',
    config,
    files: {},
    signal: controller.signal,
    requests: (rank) => ({ stop: rank === 1, save: false, sample: false }),
    onEvent: (_rank, event) => {
      if (event.kind === 'done') ends.push(event);
    },
  });
  expect(ends).toEqual([
    { kind: 'done', steps: 1, from: 0, stopped: true },
    { kind: 'done', steps: 1, from: 0, stopped: true },
  ]);
});
