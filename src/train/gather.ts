// Brings a model that is spread over the mesh together on rank 0 under its Hugging Face names: weights, summed
// gradients or AdamW moments. Every rank sends the ranges that it owns, so each element travels once (values replicated
// over tp once per tp rank). Also the inverse for moments when a run resumes.

import { coordinatesOf, ranksAlong } from '../collectives/mesh.ts';
import type { Mesh } from '../collectives/mesh.ts';
import { gather } from '../collectives/gather.ts';
import { AXES } from '../base/axis.ts';
import { PeerError } from '../base/errors.ts';
import { firstNonFinite } from '../base/finite.ts';
import type { Layout } from '../base/axis.ts';
import { elements } from '../base/shape.ts';
import type { Device, Range } from '../device/device.ts';
import { layOut } from '../model/flat-params.ts';
import type { FlatLayout } from '../model/flat-params.ts';
import { readParts, stageRange, writeParts } from '../model/param-spec.ts';
import type { ParamSpec, WeightSource } from '../model/param-spec.ts';
import type { ShardPlace } from '../model/parallelism.ts';
import { placementOf } from '../parallel/pipeline/placement.ts';
import { ownedRanges, replicaAxes } from '../parallel/data/flat-sync.ts';
import type { OwnedRange } from '../parallel/data/flat-sync.ts';
import type { Trainer } from './trainer.ts';

export type Gathered = 'weights' | 'gradients' | 'm' | 'v';
export type WholeWeights = ReadonlyMap<
  string,
  { readonly shape: readonly number[]; readonly data: Float32Array<ArrayBuffer> }
>;

const WORDS: Readonly<Record<Gathered, string>> = {
  weights: 'weights',
  gradients: 'gradients',
  m: 'first moments',
  v: 'second moments',
};

/**
 * Resolves on rank 0 to whole tensors in the model's order, elsewhere to an empty map. `scale` multiplies every value.
 * Rejects with PeerError `non-finite` that names the rank where a value is NaN or infinite.
 */
export async function gatherModel(trainer: Trainer, what: Gathered, scale = 1): Promise<WholeWeights> {
  const { mesh, task, device } = trainer.options;
  const part = await ownValues(trainer, what, device);
  checkPart(part, mesh.world.ranks[mesh.rank]!, what);
  const total = task.weights.reduce((n, { shape }) => n + elements(shape) + 64, 0) * 2;
  const parts = await gather(mesh.world, part, 0, total);
  if (mesh.rank !== 0) return new Map();
  parts!.forEach((values, rank) => checkPart(values as Float32Array, mesh.world.ranks[rank]!, what));
  const whole = new Map(
    task.weights.map(({ name, shape }) => [name, { shape, data: new Float32Array(elements(shape)) }]),
  );
  const shards = collectShards(trainer, parts as Float32Array[]);
  for (const { layout, values, ep } of shards.values()) {
    for (const { spec, start } of layout.places.values()) {
      // The tied copy is not owned; what is not an expert lies in the flat array of ep rank 0.
      if (spec.segment === 'tied' || (spec.segment !== 'expert' && ep !== 0)) continue;
      writeParts(spec, values.subarray(start, start + elements(spec.shape)), (name) => whole.get(name)!);
    }
  }
  if (scale !== 1) for (const { data } of whole.values()) for (let i = 0; i < data.length; i++) data[i] *= scale;
  return whole;
}

function checkPart(values: Float32Array, rank: number, what: Gathered): void {
  const at = firstNonFinite(values);
  if (at >= 0)
    throw new PeerError(
      rank,
      'non-finite',
      `its ${WORDS[what]} hold ${values[at]}, so nothing is handed over; the last checkpoint stays`,
    );
}

/** Fills this rank's moments from whole tensors. */
export function loadMoments(trainer: Trainer, source: Readonly<Record<'m' | 'v', WeightSource>>): void {
  trainer.momentBound = 0;
  for (const [index, optimizer] of trainer.sync.optimizers) {
    const { layout } = trainer.parts.get(index)!.params;
    for (const moment of ['m', 'v'] as const) {
      const flat = new Float32Array(layout.size);
      for (const { spec, start } of layout.places.values())
        readParts(spec, source[moment], flat.subarray(start, start + elements(spec.shape)));
      if (moment === 'm')
        trainer.momentBound = flat.reduce((most, value) => Math.max(most, Math.abs(value)), trainer.momentBound);
      for (const entry of optimizer.moments)
        trainer.options.device.write(
          entry[moment].buffer,
          entry[moment].offset,
          flat.subarray(entry.owned.start, entry.owned.end),
        );
    }
  }
}

async function ownValues(trainer: Trainer, what: Gathered, device: Device): Promise<Float32Array<ArrayBuffer>> {
  const ranges: Range[] = [];
  for (const [index, { params }] of trainer.parts) {
    for (const { owned, m, v } of trainer.sync.optimizers.get(index)!.moments) {
      const bytes = (owned.end - owned.start) * 4;
      if (what === 'm' || what === 'v') ranges.push(what === 'm' ? m : v);
      else ranges.push({ buffer: what === 'weights' ? params.values : params.grads, offset: owned.start * 4, bytes });
    }
  }
  const parts = ranges.length ? await device.submit([], ranges) : [];
  const values = new Float32Array(ranges.reduce((n, { bytes }) => n + bytes / 4, 0));
  let at = 0;
  for (const part of parts) {
    values.set(new Float32Array(part), at);
    at += part.byteLength / 4;
  }
  return values;
}

interface Shard {
  readonly layout: FlatLayout;
  readonly values: Float32Array;
  readonly ep: number;
}

/** Puts every rank's owned ranges into the flat arrays of (stage, tp, ep). */
function collectShards(trainer: Trainer, parts: readonly Float32Array[]): ReadonlyMap<string, Shard> {
  const { mesh, task, schedule } = trainer.options;
  const { shape } = trainer;
  const { layout } = mesh;
  const { head, chain } = placementOf(schedule, shape);
  const shards = new Map<string, Shard>();
  const shardOf = (key: string, ep: number, specs: () => readonly ParamSpec[]): Shard => {
    let shard = shards.get(key);
    if (!shard) {
      const flat = layOut(specs());
      shard = { layout: flat, values: new Float32Array(flat.size), ep };
      shards.set(key, shard);
    }
    return shard;
  };
  /** In the order of the trainer's parts; by ep, where what is not an expert lies in the array of ep 0. */
  const heldAt = (at: Layout): readonly ((ep: number) => Shard)[] => {
    const { pp, tp } = at;
    const stages = Array.from({ length: shape.chunks }, (_, chunk) => schedule.stageOf(pp, chunk, shape));
    const ofBlocks = stages.map((stage) => (ep: number) => {
      const range = stageRange(stage, chain, task.layers, head !== undefined);
      return shardOf(`stage ${stage} ${tp} ${ep}`, ep, () => task.params(range, shardPlace(layout, tp, ep)));
    });
    if (head === undefined) return ofBlocks;
    const place = { rank: pp * layout.tp + tp, size: layout.pp * layout.tp };
    const specs = (): readonly ParamSpec[] => task.vocabularyParams!(place);
    return [...ofBlocks, (ep: number) => shardOf(`vocabulary ${place.rank} ${ep}`, ep, specs)];
  };
  parts.forEach((part, rank) => {
    const at = coordinatesOf(rank, layout);
    let from = 0;
    for (const held of heldAt(at)) {
      for (const own of ownedBy(held(at.ep).layout, at, mesh)) {
        const length = own.end - own.start;
        held(own.segment === 'expert' ? at.ep : 0).values.set(part.subarray(from, from + length), own.start);
        from += length;
      }
    }
    if (part.length !== from)
      throw mesh.world.accuse(rank, `it sent ${part.length} values of the model, where it owns ${from}`);
  });
  return shards;
}

function shardPlace(layout: Layout, tp: number, ep: number): ShardPlace {
  return { tp: { rank: tp, size: layout.tp }, ep: { rank: ep, size: layout.ep }, sp: { rank: 0, size: layout.sp } };
}

function ownedBy(layout: FlatLayout, at: Layout, mesh: Mesh): readonly OwnedRange[] {
  return ownedRanges(layout, ({ segment }) => {
    const members = ranksAlong(at, mesh.layout, replicaAxes(segment));
    const rank = AXES.reduce((n, axis) => n * mesh.layout[axis] + at[axis], 0);
    return { rank: members.indexOf(rank), size: members.length };
  });
}
