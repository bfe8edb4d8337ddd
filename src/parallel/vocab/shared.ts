// The vocabulary shared by all ranks of a pipeline: this rank's executions of the passes IF, S, S2, T and IB, each with
// the collective that joins the shards. Source: Yeung et al. 2025, "Balancing Pipeline Parallelism with Vocabulary
// Parallelism", section 4; the forms differ in which pass makes the gradient of the hidden states (HeadPasses).
// Numbers sent per microbatch of R rows and hidden size D by all p ranks (tp 1): X from the last blocks to all,
// (p - 1) R D; all-reduces of R maxima, and of R sums with R target logits; dX to the last blocks, (p - 1) R D in a
// chain; the same for the embedded tokens to stage 0; their gradient from there to all, (p - 1) R D. With tensor
// parallelism each rank of a tensor group has a shard of its own; a chain per tensor rank sums over the pipeline, and
// an all-reduce over the tensor group on the ranks of the stage that needs it.

import { allReduce, allReduceBytes } from '../../collectives/all-reduce.ts';
import type { Group, Operation } from '../../collectives/group.ts';
import type { Mesh, Scope } from '../../collectives/mesh.ts';
import { reduce, reduceBytes } from '../../collectives/point/reduce.ts';
import { InternalError } from '../../base/errors.ts';
import type { Traffic } from '../../device/recorder.ts';
import { IGNORED } from '../../model/language/token-rows.ts';
import type { TokenSlice } from '../../model/language/language-stage.ts';
import type { HeadPasses, ShardStatistics, VocabularyShard } from '../../model/language/vocabulary-shard.ts';
import type { Execution, Given, Joined, PassInput, StagePart } from '../pipeline/part.ts';
import type { StagePlacement } from '../pipeline/placement.ts';
import type { PassKind, Schedule } from '../pipeline/schedule.ts';

type F32 = Float32Array<ArrayBuffer>;

/** Which passes of the head the lists of a schedule have. */
export function headPasses({ passes, headGradient }: Schedule): HeadPasses {
  return { twoForwards: passes.includes('S2'), earlyGradient: headGradient === 'S' };
}

/** Numbers of a microbatch in each group, of which a run of m microbatches takes m times as many. */
const PER_MICROBATCH = 2;

/** The groups of one trainer's vocabulary, whose messages it numbers by microbatch. */
export class VocabularyGroups {
  /** All ranks that have a shard of the same tables. */
  readonly shards: Group;
  readonly pipeline: Group;
  readonly tensor: Group;
  readonly #scope: Scope;

  /** Throws InternalError while another trainer has those of this mesh. */
  constructor(mesh: Mesh) {
    this.#scope = mesh.scope('vocabulary');
    this.shards = this.#scope.group(['pp', 'tp']);
    this.pipeline = this.#scope.axis('pp');
    this.tensor = this.#scope.axis('tp');
  }

  close(): void {
    this.#scope.close();
  }
}

export interface SharedVocabulary {
  readonly shard: VocabularyShard;
  readonly groups: VocabularyGroups;
  readonly placement: StagePlacement;
  readonly schedule: Schedule;
}

/**
 * The executions of one run of `microbatches`; every rank of the pipeline makes them in the same order. A task that has
 * a shard makes TokenSlices of its microbatches.
 */
export function sharedParts(
  { shard, groups, placement, schedule }: SharedVocabulary,
  given: Given<unknown>,
  microbatches: number,
): ReadonlyMap<number, StagePart> {
  const { embedding, head, chain, hosts } = placement;
  if (embedding === undefined || head === undefined)
    throw new InternalError(`${schedule.name}: expected stages for the embedding and the head that all ranks host`);
  const slice = (microbatch: number): TokenSlice => given.of(microbatch) as TokenSlice;
  const run = new Collectives(groups, microbatches);
  const [first, last] = [hosts(0)[0]!, hosts(chain - 1)[0]!];
  const { twoForwards } = headPasses(schedule);
  const embed: Execution = async ({ microbatch }) => {
    const own = await shard.embed(slice(microbatch));
    return { joined: run.sumOn(first, own, microbatch, 0).then((out) => (out ? { out } : {})) };
  };
  const embedBackward: Execution = async ({ microbatch, received }) => {
    await shard.embedBackward(slice(microbatch), required(received, 'the gradient of the embedded tokens'));
    return {};
  };
  /** What follows from the joined statistics, packed for T; the losses on the rank of the last blocks. */
  const known = (joined: ShardStatistics, microbatch: number): Joined => {
    const own = pack(joined.max, joined.sum);
    return run.is(last) ? { own, ...lossesOf(joined, slice(microbatch), given.scored) } : { own };
  };
  const logits: Execution = async ({ slots, microbatch, received }) => {
    const x = required(received, 'the hidden states');
    const local = await shard.logits(slots, x, slice(microbatch));
    if (twoForwards) return { joined: run.maximum(local.max, microbatch).then((own) => ({ own })) };
    const joined = (async (): Promise<Joined> => {
      const all = await run.statistics(local, microbatch);
      if (!local.early) return known(all, microbatch);
      const out = await run.sumOn(last, earlyGradientOf(local, all, slice(microbatch)), microbatch, 1);
      return { ...known(all, microbatch), ...(out ? { out } : {}) };
    })();
    return { joined };
  };
  const sums: Execution = async ({ slots, microbatch, received }) => {
    const max = required(received, 'the maxima');
    const local = await shard.sums(slots);
    return { joined: run.sums(local, max, microbatch).then((all) => known(all, microbatch)) };
  };
  const gradient: Execution = async ({ slots, microbatch, received }) => {
    const { max, sum } = unpack(required(received, 'the statistics'));
    const own = await shard.gradient(slots, max, sum);
    if (!own) return {};
    return { joined: run.sumOn(last, own, microbatch, 1).then((out) => (out ? { out } : {})) };
  };
  const { floats } = shard;
  return new Map([
    [
      embedding,
      {
        floats,
        executions: new Map<PassKind, Execution>([
          ['IF', embed],
          ['IB', embedBackward],
        ]),
      },
    ],
    [
      head,
      {
        floats,
        executions: new Map<PassKind, Execution>([
          ['S', logits],
          ...(twoForwards ? [['S2', sums] as const] : []),
          ['T', gradient],
        ]),
      },
    ],
  ]);
}

/** What one rank sends for a pass of one microbatch. */
export function sharedTraffic({ shard, groups, placement, schedule }: SharedVocabulary, kind: PassKind): Traffic[] {
  const { chain, hosts } = placement;
  const { twoForwards, earlyGradient } = headPasses(schedule);
  const { rows } = shard.options;
  const { pipeline, tensor, shards } = groups;
  const sum = (host: number): Traffic[] => [
    { kind: 'reduce', bytes: reduceBytes(pipeline.rank, pipeline.size, host, shard.floats) },
    { kind: 'all-reduce', bytes: pipeline.rank === host ? allReduceBytes(tensor.rank, tensor.size, shard.floats) : 0 },
  ];
  const all = (count: number): Traffic => ({
    kind: 'all-reduce',
    bytes: allReduceBytes(shards.rank, shards.size, count),
  });
  const last = hosts(chain - 1)[0]!;
  if (kind === 'IF') return sum(hosts(0)[0]!);
  if (kind === 'S') return [all(rows), ...(twoForwards ? [] : [all(2 * rows)]), ...(earlyGradient ? sum(last) : [])];
  if (kind === 'S2') return [all(2 * rows)];
  return kind === 'T' && !earlyGradient ? sum(last) : [];
}

/** The collectives of one run, numbered by microbatch, so that ranks may begin them in any order. */
class Collectives {
  readonly #groups: VocabularyGroups;
  readonly #first: { readonly shards: number; readonly pipeline: number; readonly tensor: number };

  constructor(groups: VocabularyGroups, microbatches: number) {
    const count = PER_MICROBATCH * microbatches;
    const { shards, pipeline, tensor } = groups;
    this.#groups = groups;
    this.#first = { shards: shards.numbers(count), pipeline: pipeline.numbers(count), tensor: tensor.numbers(count) };
  }

  /** Whether this rank is on `host` of the pipeline. */
  is(host: number): boolean {
    return this.#groups.pipeline.rank === host;
  }

  /** Number `index` (0 or 1) of a microbatch: the sum over all shards of `values`, on the ranks of `host` alone. */
  async sumOn(host: number, values: F32, microbatch: number, index: number): Promise<F32 | undefined> {
    const { pipeline, tensor } = this.#groups;
    await reduce(pipeline, values, host, { operation: this.#begin('pipeline', 'reduce', microbatch, index) });
    if (!this.is(host)) return undefined;
    await allReduce(tensor, values, { operation: this.#begin('tensor', 'all-reduce', microbatch, index) });
    return values;
  }

  async maximum(own: F32, microbatch: number): Promise<F32> {
    const operation = this.#begin('shards', 'all-reduce', microbatch, 0);
    const max = own.slice();
    await allReduce(this.#groups.shards, max, { reduction: 'max', operation });
    return max;
  }

  /** `max`: over all shards. */
  async sums({ max: local, sum, target }: ShardStatistics, max: F32, microbatch: number): Promise<ShardStatistics> {
    const operation = this.#begin('shards', 'all-reduce', microbatch, 1);
    const R = max.length;
    const both = new Float32Array(2 * R);
    for (let r = 0; r < R; r++) both[r] = sum[r]! * Math.exp(local[r]! - max[r]!);
    both.set(target, R);
    await allReduce(this.#groups.shards, both, { operation });
    return { max, sum: both.slice(0, R), target: both.slice(R) };
  }

  async statistics(local: ShardStatistics, microbatch: number): Promise<ShardStatistics> {
    return this.sums(local, await this.maximum(local.max, microbatch), microbatch);
  }

  #begin(
    group: 'shards' | 'pipeline' | 'tensor',
    kind: 'reduce' | 'all-reduce',
    microbatch: number,
    index: number,
  ): Operation {
    return this.#groups[group].begin(kind, (this.#first[group] + PER_MICROBATCH * microbatch + index) >>> 0);
  }
}

/** Alg. 2's part of dX of this shard, in place of what S made: A sum' exp(m' - m) / sum - B, 0 where nothing counts. */
function earlyGradientOf(local: ShardStatistics, { max, sum }: ShardStatistics, { targets }: TokenSlice): F32 {
  const { weighted, wanted } = local.early!;
  const D = weighted.length / targets.length;
  for (const [r, target] of targets.entries()) {
    const share = target === IGNORED ? 0 : (local.sum[r]! * Math.exp(local.max[r]! - max[r]!)) / sum[r]!;
    const scale = target === IGNORED ? 0 : 1;
    for (let i = r * D; i < (r + 1) * D; i++) weighted[i] = share * weighted[i]! - scale * wanted[i]!;
  }
  return weighted;
}

function lossesOf({ max, sum, target }: ShardStatistics, { targets }: TokenSlice, scored: boolean): Joined {
  const losses = new Float32Array(targets.length);
  for (const [r, wanted] of targets.entries())
    if (wanted !== IGNORED) losses[r] = Math.log(sum[r]!) - (target[r]! - max[r]!);
  return { losses, ...(scored ? { correct: Array.from(max, (most, r) => target[r] === most) } : {}) };
}

function pack(max: F32, sum: F32): F32 {
  const both = new Float32Array(2 * max.length);
  both.set(max);
  both.set(sum, max.length);
  return both;
}

function unpack(both: F32): { readonly max: F32; readonly sum: F32 } {
  const R = both.length / 2;
  return { max: both.slice(0, R), sum: both.slice(R) };
}

function required(received: PassInput['received'], what: string): F32 {
  if (!received) throw new InternalError(`vocabulary: ${what} did not come`);
  return received;
}
