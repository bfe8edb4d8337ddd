// Receives posted ahead: hidden states larger than a link takes unasked are under way while the receiver computes. A
// pipeline over loopback wires with a bandwidth and a delay, under a virtual clock, whose stages take injected time:
// a step takes what the simulator says, and not when receives are posted only by the actions that need them.

import { describe, expect, test } from 'vitest';
import { VirtualWorld, nextTask } from '../../../src/base/world.ts';
import { createLedger } from '../../../src/collectives/ledger.ts';
import { createMesh } from '../../../src/collectives/mesh.ts';
import { runActions } from '../../../src/parallel/pipeline/execute.ts';
import type { Execution } from '../../../src/parallel/pipeline/part.ts';
import { scheduleByName } from '../../../src/parallel/pipeline/registry.ts';
import type { PassKind } from '../../../src/parallel/pipeline/schedule.ts';
import { simulate } from '../../../src/parallel/pipeline/simulate.ts';
import { EAGER_BYTES } from '../../../src/transport/inbox.ts';
import { loopbackMesh } from '../../../src/transport/loopback.ts';

const FLOATS = 128 * 1024;
const TIMES = { F: 100, B: 100, W: 100 };
/** A transfer takes 80 ms and the way 1 ms: most of a forward. */
const WIRE = { bytesPerMs: (4 * FLOATS) / 80, delayMs: 1 };
const COMM = 81;

interface Span {
  readonly kind: string;
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** Lets time go on until `work` has settled. Half a millisecond at a time, with all that follows from it. */
async function timed<T>(world: VirtualWorld, work: Promise<T>): Promise<T> {
  const state = { done: false };
  const settle = (): void => {
    state.done = true;
  };
  work.then(settle, settle);
  while (!state.done && world.now() < 100_000) {
    await nextTask();
    await world.advance(0.5);
  }
  expect(state.done, 'it ends').toBe(true);
  return work;
}

function meshes(world: VirtualWorld, ranks: number) {
  const layout = { pp: ranks, dp: 1, sp: 1, ep: 1, tp: 1 };
  const nodes = loopbackMesh(ranks, world, WIRE);
  return nodes.map(({ rank, links, leave }) => ({
    rank,
    leave,
    mesh: createMesh({ layout, rank, links, ledger: createLedger() }),
  }));
}

/** One step of `name`, with a stage per rank; its time, and per rank what was traced. */
async function step(name: string, ranks: number, microbatches: number, postedAhead?: number) {
  const world = new VirtualWorld();
  const schedule = scheduleByName(name);
  const after = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      world.timer(ms, resolve);
    });
  const spans = Array.from({ length: ranks }, (): Span[] => []);
  const all = meshes(world, ranks);
  // The links say hello first.
  await world.advance(50);
  const begin = world.now();
  const received: string[] = [];
  const runs = all.map(async ({ rank, mesh }) => {
    const split = schedule.passes.includes('W');
    const pass = (kind: PassKind, ms: number): [PassKind, Execution] => [
      kind,
      async ({ received: data }) => {
        if (data) received.push(`${kind}@${rank} ${data[0]} ${data[FLOATS - 1]}`);
        await after(ms);
        if (kind === 'F' && rank === ranks - 1) return { losses: new Float32Array(1) };
        return { out: new Float32Array(FLOATS).fill((data?.[0] ?? 0) + 1) };
      },
    ];
    const executions = new Map([pass('F', TIMES.F), pass('B', TIMES.B + (split ? 0 : TIMES.W)), pass('W', TIMES.W)]);
    await runActions({
      schedule,
      shape: { ranks, chunks: 1, microbatches },
      parts: new Map([[rank, { floats: FLOATS, executions }]]),
      forwardGroup: mesh.scope('forward').axis('pp'),
      backwardGroup: mesh.scope('backward').axis('pp'),
      before: 0,
      onLoss: () => undefined,
      trace: (kind, what) => {
        const start = world.now() - begin;
        return () => spans[rank]!.push({ kind, name: what, start, end: world.now() - begin });
      },
      ...(postedAhead === undefined ? {} : { postedAhead }),
    });
    return world.now() - begin;
  });
  const ends = await timed(world, Promise.all(runs));
  for (const { leave } of all) leave();
  return { ms: Math.max(...ends), spans, received };
}

const within = (got: number, want: number): number => Math.abs(got / want - 1);

/** Share of `span` in which this rank computes. */
function computing(span: Span, own: readonly Span[]): number {
  const covered = own
    .filter(({ kind }) => kind === 'compute')
    .reduce((sum, { start, end }) => sum + Math.max(0, Math.min(end, span.end) - Math.max(start, span.start)), 0);
  return covered / (span.end - span.start);
}

test('the hidden states of this test are larger than what a link takes unasked', () => {
  expect(4 * FLOATS).toBeGreaterThan(EAGER_BYTES);
});

describe.each([
  ['1f1b', 4, 8],
  ['gpipe', 3, 6],
  ['zb-h1', 4, 8],
])('%s on %i ranks with %i microbatches', (name, ranks, microbatches) => {
  const shape = { ranks, chunks: 1, microbatches };
  const predicted = simulate(scheduleByName(name), shape, { ...TIMES, comm: COMM }).makespan;

  test('takes what the simulator says, within 5 %', async () => {
    const { ms, received } = await step(name, ranks, microbatches);
    expect(within(ms, predicted), `${ms} ms, predicted ${predicted} ms`).toBeLessThan(0.05);
    // Every message is whole and of the right stage: `rank` stages before it added one each.
    expect(received).toHaveLength(2 * (ranks - 1) * microbatches);
    for (const text of received) {
      const [, kind, rank, first, last] = /^(\w)@(\d+) (\d+) (\d+)$/.exec(text)!;
      expect([Number(first), Number(last)]).toEqual(
        new Array(2).fill(kind === 'F' ? Number(rank) : ranks - 1 - Number(rank)),
      );
    }
  });

  test('misses it where receives are posted by the actions that need them', async () => {
    const { ms } = await step(name, ranks, microbatches, 0);
    expect(within(ms, predicted), `${ms} ms, predicted ${predicted} ms`).toBeGreaterThan(0.05);
  });
});

test('a trace shows activations under way while the receiver computes', async () => {
  const shares = async (postedAhead?: number): Promise<number[]> => {
    const { spans } = await step('gpipe', 2, 8, postedAhead);
    return spans[0]!
      .filter(({ kind, name }) => kind === 'wire' && /^activation [2-6] to stage 1$/.test(name))
      .map((span) => computing(span, spans[1]!));
  };
  const [early, late] = [await shares(), await shares(0)];
  expect(early).toHaveLength(5);
  for (const share of early) expect(share).toBeGreaterThan(0.9);
  for (const share of late) expect(share).toBeLessThan(0.6);
});
