// A step of a pipeline by the real executor over loopback wires with a delay and a bandwidth, under a virtual clock:
// passes take injected times instead of computing. So two schedules, or two placements of the vocabulary, are compared
// on a machine that could not run their ranks side by side; what the simulator says is held against it.

import { InternalError } from '../../base/errors.ts';
import { VirtualWorld, nextTask } from '../../base/world.ts';
import { createLedger } from '../../collectives/ledger.ts';
import { createMesh } from '../../collectives/mesh.ts';
import type { Mesh } from '../../collectives/mesh.ts';
import type { TokenSlice } from '../../model/language/language-stage.ts';
import type { ShardStatistics, VocabularyShard } from '../../model/language/vocabulary-shard.ts';
import { runActions } from '../../parallel/pipeline/execute.ts';
import type { Execution, StagePart } from '../../parallel/pipeline/part.ts';
import { placementOf } from '../../parallel/pipeline/placement.ts';
import type { PassKind, PipelineShape, Schedule } from '../../parallel/pipeline/schedule.ts';
import { headPasses, sharedParts, VocabularyGroups } from '../../parallel/vocab/shared.ts';
import { loopbackMesh } from '../../transport/loopback.ts';

type F32 = Float32Array<ArrayBuffer>;

export interface InjectedRun {
  readonly schedule: Schedule;
  readonly shape: PipelineShape;
  /** Milliseconds of a pass on a rank, all that it computes at once: a B without W is both. */
  ms(kind: PassKind, stage: number, rank: number): number;
  /** Of every link, in each direction. */
  readonly wire: { readonly delayMs: number; readonly bytesPerMs: number };
  /** Rows of a microbatch, and numbers of each between two stages. */
  readonly rows: number;
  readonly hidden: number;
}

export interface InjectedResult {
  /** From the first action to the last end on any rank. */
  readonly makespan: number;
  /** By rank: milliseconds in passes. */
  readonly busy: readonly number[];
}

/** Virtual milliseconds between two looks at what has become possible: the error of a result per pass. */
function grainOf({ schedule, shape, ms }: InjectedRun): number {
  const list = schedule.actions(0, shape);
  const mean = list.reduce((sum, { kind, stage }) => sum + ms(kind, stage, 0), 0) / Math.max(1, list.length);
  return Math.min(0.25, Math.max(0.005, mean / 50));
}

/** InternalError where the lists have not ended after `limitMs` of virtual time. */
export async function runInjected(run: InjectedRun, limitMs = 1e6): Promise<InjectedResult> {
  const { schedule, shape, wire } = run;
  const world = new VirtualWorld();
  const layout = { pp: shape.ranks, dp: 1, sp: 1, ep: 1, tp: 1 };
  const nodes = loopbackMesh(shape.ranks, world, { ...wire, link: { silentMs: 1e9, heartbeatMs: 1e8 } });
  // The links say hello first.
  await world.advance(50 + 10 * wire.delayMs);
  const begin = world.now();
  const busy = new Array<number>(shape.ranks).fill(0);
  const ranks = nodes.map(async ({ rank, links }) => {
    const mesh = createMesh({ layout, rank, links, ledger: createLedger() });
    const work = async (kind: PassKind, stage: number): Promise<void> => {
      const ms = run.ms(kind, stage, rank);
      busy[rank]! += ms;
      await new Promise<void>((resolve) => void world.timer(ms, resolve));
    };
    await runActions({
      schedule,
      shape,
      parts: partsOf(run, rank, mesh, work),
      forwardGroup: mesh.scope('forward').axis('pp'),
      backwardGroup: mesh.scope('backward').axis('pp'),
      before: 0,
      onLoss: () => undefined,
      trace: () => () => undefined,
    });
    return world.now() - begin;
  });
  const grain = grainOf(run);
  const state = { done: false };
  const all = Promise.all(ranks);
  const end = (): void => {
    state.done = true;
  };
  all.then(end, end);
  while (!state.done && world.now() < limitMs) {
    await nextTask();
    await world.advance(grain);
  }
  if (!state.done) throw new InternalError(`${schedule.name}: no end after ${limitMs} virtual ms`);
  const ends = await all;
  for (const { leave } of nodes) leave();
  return { makespan: Math.max(...ends), busy };
}

function partsOf(
  { schedule, shape, rows, hidden }: InjectedRun,
  rank: number,
  mesh: Mesh,
  work: (kind: PassKind, stage: number) => Promise<void>,
): ReadonlyMap<number, StagePart> {
  const placement = placementOf(schedule, shape);
  const floats = rows * hidden;
  const last = placement.head === undefined ? placement.chain - 1 : -1;
  const parts = new Map<number, StagePart>();
  for (const stage of placement.held(rank)) {
    if (placement.part(stage) !== 'blocks') continue;
    const execution =
      (kind: PassKind): Execution =>
      async () => {
        await work(kind, stage);
        if (kind === 'F' && stage === last) return { losses: new Float32Array(rows) };
        return kind === 'F' || kind === 'B' ? { out: new Float32Array(floats) } : {};
      };
    const kinds: PassKind[] = ['F', 'R', 'B', 'W'];
    parts.set(stage, { floats, executions: new Map(kinds.map((kind) => [kind, execution(kind)])) });
  }
  const { embedding, head } = placement;
  if (embedding === undefined || head === undefined) return parts;
  const shard = injectedShard(rows, hidden, headPasses(schedule).earlyGradient, (kind) =>
    work(kind, kind === 'IF' || kind === 'IB' ? embedding : head),
  );
  const slice: TokenSlice = { tokens: new Uint32Array(rows), targets: new Int32Array(rows) };
  const shared = { shard, groups: new VocabularyGroups(mesh), placement, schedule };
  const given = { of: () => slice, scored: false };
  return new Map([...parts, ...sharedParts(shared, given, shape.microbatches)]);
}

/** A shard that makes numbers of the right lengths after the time of each pass. */
function injectedShard(
  rows: number,
  hidden: number,
  early: boolean,
  work: (kind: PassKind) => Promise<void>,
): VocabularyShard {
  const floats = rows * hidden;
  const hiddenStates = (): F32 => new Float32Array(floats);
  const statistics = (): ShardStatistics => ({
    max: new Float32Array(rows),
    sum: new Float32Array(rows).fill(1),
    target: new Float32Array(rows),
  });
  const shard: Pick<VocabularyShard, 'floats' | 'embed' | 'embedBackward' | 'logits' | 'sums' | 'gradient'> = {
    floats,
    embed: () => work('IF').then(hiddenStates),
    embedBackward: () => work('IB'),
    logits: () =>
      work('S').then(() => ({
        ...statistics(),
        ...(early ? { early: { weighted: hiddenStates(), wanted: hiddenStates() } } : {}),
      })),
    sums: () => work('S2').then(statistics),
    gradient: () => work('T').then(() => (early ? undefined : hiddenStates())),
  };
  // Nothing else of a shard is called by its executions.
  return shard as VocabularyShard;
}
