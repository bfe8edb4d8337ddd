// The payload bytes that a rank sends in one training step, by message kind, from the formulas alone: what the ledger
// must equal, exactly. The rows that a router sends to other ranks' experts depend on the data and are not counted
// here; the counts that go with them are. Source: parallelism.md section 0 (collective byte model), 10 (tensor), 11
// (pipeline), and the headers of the strategies.

import { AXES } from '../../src/base/axis.ts';
import type { AxisName, Layout } from '../../src/base/axis.ts';
import { allGatherBytes } from '../../src/collectives/all-gather.ts';
import { allReduceBytes } from '../../src/collectives/all-reduce.ts';
import { allToAllBytes } from '../../src/collectives/all-to-all.ts';
import { broadcastBytes } from '../../src/collectives/broadcast.ts';
import { coordinatesOf, ranksAlong } from '../../src/collectives/mesh.ts';
import { reduceScatterBytes } from '../../src/collectives/reduce-scatter.ts';
import type { ModelConfig } from '../../src/model/config.ts';
import { layOut } from '../../src/model/flat-params.ts';
import type { FlatLayout } from '../../src/model/flat-params.ts';
import { stageRange, vocabRows } from '../../src/model/param-spec.ts';
import type { StageRange } from '../../src/model/param-spec.ts';
import { familyOf } from '../../src/model/registry.ts';
import { asMatrix, stageParams } from '../../src/model/stage-params.ts';
import type { Weight } from '../../src/model/weight.ts';
import { alignedParts, replicaAxes } from '../../src/parallel/data/flat-sync.ts';
import { tokenPlacement } from '../../src/parallel/sequence/registry.ts';

export interface StepShape {
  readonly model: ModelConfig;
  readonly layout: Layout;
  readonly batch: number;
  readonly context: number;
  readonly microbatches: number;
  readonly sequence?: string;
  /** Words of what each rank tells all others at the end of a step: loss, tokens, squared norm, requests. */
  readonly report: number;
}

export type WireBytes = Readonly<Record<string, number>>;

/** One stage per pipeline rank (no interleaving). */
export function stepWireBytes(rank: number, shape: StepShape): WireBytes {
  const { model, layout } = shape;
  const at = coordinatesOf(rank, layout);
  const range = stageRange(at.pp, layout.pp, model.layers);
  const place = {
    tp: { rank: at.tp, size: layout.tp },
    sp: { rank: at.sp, size: layout.sp },
    ep: { rank: at.ep, size: layout.ep },
  };
  const flat = layOut(stageParams(model, range, place));
  const sums: Record<string, number> = {};
  const add = (kind: string, bytes: number): void => {
    if (bytes > 0) sums[kind] = (sums[kind] ?? 0) + bytes;
  };
  const tokens = tokenPlacement(layout.sp, shape.sequence).tokens(layout.sp, shape.context);
  const rows = (shape.batch / (layout.dp * layout.ep) / shape.microbatches) * tokens;

  addPipeline(add, shape, range, rows);
  for (let microbatch = 0; microbatch < shape.microbatches; microbatch++) addMicrobatch(add, shape, at, range, rows);
  addUpdate(add, rank, shape, at, range, flat);
  const size = AXES.reduce((n, axis) => n * layout[axis], 1);
  add(
    'all-gather',
    allGatherBytes(
      rank,
      Array.from({ length: size + 1 }, (_, i) => i * shape.report),
    ),
  );
  return sums;
}

type Add = (kind: string, bytes: number) => void;

function addPipeline(add: Add, { model, microbatches }: StepShape, { first, last }: StageRange, rows: number): void {
  const boundary = microbatches * rows * model.hidden * 4;
  if (!last) add('activation', boundary);
  if (!first) add('gradient', boundary);
}

function addMicrobatch(
  add: Add,
  { model, layout, context, sequence }: StepShape,
  at: Layout,
  range: StageRange,
  rows: number,
): void {
  const reduce = (count: number): void => add('all-reduce', allReduceBytes(at.tp, layout.tp, count));
  const hidden = rows * model.hidden;
  if (range.first) reduce(hidden);
  if (range.last) {
    reduce(rows);
    reduce(2 * rows);
    reduce(hidden);
  }
  const { weights, experts } = familyOf(model);
  for (let layer = range.firstLayer; layer < range.endLayer; layer++) {
    for (const weight of productsOf(weights(model).layer(layer)))
      reduce(reducedBy(weight, rowsAt(weight, layout, rows, experts?.(model))));
    if (layout.sp > 1) {
      const tokens = tokenPlacement(layout.sp, sequence).tokens(layout.sp, context);
      // K and V in P - 1 hops forward; backward again, with their gradients in P hops.
      const block = 2 * (rows / tokens) * tokens * (model.kvHeads / layout.tp) * model.headDim * 4;
      add('ring-send', (layout.sp - 1) * block + (layout.sp - 1) * block + layout.sp * block);
    }
    if (layout.ep > 1 && experts) add('all-to-all', allToAllBytes(layout.ep, experts(model).count));
  }
}

/** One weight of each matrix that tp ranks cut: what is glued is one product, and so are all experts of a rank. */
function productsOf(weights: readonly Weight[]): readonly Weight[] {
  const cut = weights.filter(({ cut, shape }) => cut !== 'whole' && shape.length === 2);
  return [...new Map(cut.map((weight) => [weight.param, weight])).values()];
}

/** Megatron-LM: what is cut by columns adds up its result, forward; what is cut by rows the gradient of its input. */
function reducedBy(weight: Weight, rows: number): number {
  const [out, input] = asMatrix(weight);
  return rows * (weight.cut === 'columns' ? out : input);
}

/** Rows of a product: at experts all assignments of one rank, or the worst case of an exchange. */
function rowsAt(
  { expert }: Weight,
  { ep }: Layout,
  rows: number,
  experts: { readonly count: number; readonly perToken: number } | undefined,
): number {
  if (!expert) return rows;
  const { count, perToken } = experts!;
  return ep === 1 ? rows * perToken : ep * rows * Math.min(perToken, count / ep);
}

function addUpdate(
  add: Add,
  rank: number,
  { model, layout }: StepShape,
  at: Layout,
  range: StageRange,
  flat: FlatLayout,
): void {
  for (const { segment, start, end } of flat.segments) {
    if (segment === 'tied') continue;
    const members = ranksAlong(at, layout, replicaAxes(segment) as AxisName[]);
    if (members.length > 1) {
      const offsets = alignedParts(end - start, members.length);
      add('reduce-scatter', reduceScatterBytes(members.indexOf(rank), offsets));
      add('all-gather', allGatherBytes(members.indexOf(rank), offsets));
    }
    if (segment === 'replicated' && layout.tp > 1) add('broadcast', broadcastBytes(at.tp, layout.tp, 0, end - start));
  }
  if (model.tied && layout.pp > 1 && (range.first || range.last))
    add('tied', vocabRows(model.vocab, layout.tp) * model.hidden * 4);
}
