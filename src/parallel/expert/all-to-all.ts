// Dropless expert parallelism: rank j of the ep group owns experts [j E/P, (j+1) E/P). Rows sorted by expert go to the
// owners by a variable all-to-all, and back by another. At the owner rows lie by (local expert, source rank, source
// order), so sums do not depend on arrival. Buffers hold the worst case (every token of every rank here): P N min(k,
// E/P) rows. Bytes sent per exchange: rows for other ranks * D * 4, and once per layer and microbatch (P-1) E/P counts
// of 4 bytes. Source: parallelism.md section 8 (the EP baseline); Lepikhin et al. 2020.

import { allToAll, allToAllBytes, allToAllVariable } from '../../collectives/all-to-all.ts';
import type { Group, GroupRef, Operation } from '../../collectives/group.ts';
import { begins } from '../../collectives/groups/begun.ts';
import type { Recorder } from '../../device/recorder.ts';
import type { Tensor } from '../../device/tensor.ts';
import type { DispatchedRows, ExpertExchange } from '../../ops/experts.ts';

type F32 = Float32Array<ArrayBuffer>;
type U32 = Uint32Array<ArrayBuffer>;

/** `tokens` local tokens with `perToken` experts each, rows of `width` floats, `experts` in all. */
export interface ExchangeShape {
  readonly tokens: number;
  readonly perToken: number;
  readonly experts: number;
  readonly width: number;
}

export function expertExchange(ref: GroupRef, shape: ExchangeShape): ExpertExchange {
  const P = ref.size;
  const { tokens, perToken, experts, width: D } = shape;
  const local = experts / P;
  const most = tokens * Math.min(perToken, local);
  const capacity = P * most;
  return {
    dispatch(r: Recorder, rows: Tensor, offsets: Tensor): DispatchedRows {
      const out = r.tensor([capacity, D], 'f32', 'rowsHere');
      const here = r.tensor([local + 1], 'u32', 'offsetsHere');
      const counts = r.tensor([P, local], 'u32', 'counts');
      r.wait(
        r.host(
          `dispatch ${ref.name}`,
          [rows, offsets],
          [out, here, counts],
          async ([data, bounds], [into, offsetsInto, countsInto], begun) => {
            const sizes = new Uint32Array(experts);
            for (let e = 0; e < experts; e++) sizes[e] = (bounds as U32)[e + 1] - (bounds as U32)[e];
            const { group } = begun;
            const [exchangeCounts, exchangeRows] = begun.operations;
            const [runs] = await Promise.all([
              scatter(group, shape, data as F32, bounds as U32, exchangeRows),
              allToAll(group, sizes, countsInto, { operation: exchangeCounts }),
            ]);
            place(group, shape, runs, countsInto as U32, into as F32);
            for (let e = 0; e < local; e++) {
              let rowsOfExpert = 0;
              for (let p = 0; p < P; p++) rowsOfExpert += countsInto[p * local + e];
              offsetsInto[e + 1] = offsetsInto[e] + rowsOfExpert;
            }
          },
          // The counts; how many rows go with them is the router's choice.
          [{ kind: 'all-to-all', bytes: allToAllBytes(P, experts) }],
          begins(ref, 'all-to-all', 'all-to-all'),
        ),
      );
      return { rows: out, offsets: here, counts };
    },
    redispatch(r, rows, offsets, counts) {
      const out = r.tensor([capacity, D], 'f32', 'rowsHere');
      r.wait(
        r.host(
          `redispatch ${ref.name}`,
          [rows, offsets, counts],
          [out],
          async ([data, bounds, sizes], [into], begun) => {
            const { group, operations } = begun;
            const runs = await scatter(group, shape, data as F32, bounds as U32, operations[0]!);
            place(group, shape, runs, sizes as U32, into as F32);
          },
          [],
          begins(ref, 'all-to-all'),
        ),
      );
      return out;
    },
    collect(r, rows, offsets, counts) {
      const out = r.tensor([tokens * perToken, D], 'f32', 'rowsBack');
      r.wait(
        r.host(
          `collect ${ref.name}`,
          [rows, offsets, counts],
          [out],
          async ([data, bounds, sizes], [into], begun) => {
            const { group, operations } = begun;
            const runs = Array.from({ length: P }, (_, p) => {
              let length = 0;
              for (let e = 0; e < local; e++) length += sizes[p * local + e] * D;
              return new Float32Array(length);
            });
            eachRun(sizes as U32, P, D, (p, at, from, length) =>
              runs[p].set((data as F32).subarray(at, at + length), from),
            );
            const back = await allToAllVariable(group, runs, 'f32', most * D, { operation: operations[0] });
            check(group, D, back as F32[], (j) => (bounds as U32)[(j + 1) * local] - (bounds as U32)[j * local]);
            back.forEach((run, j) => (into as F32).set(run as F32, (bounds as U32)[j * local] * D));
          },
          [],
          begins(ref, 'all-to-all'),
        ),
      );
      return out;
    },
  };
}

/** Sends each owner its run of the sorted rows; returns the runs received, by source rank. */
function scatter(
  group: Group,
  { tokens, perToken, experts, width: D }: ExchangeShape,
  rows: F32,
  offsets: U32,
  operation: Operation,
): Promise<F32[]> {
  const local = experts / group.size;
  const blocks = Array.from({ length: group.size }, (_, j) =>
    rows.subarray(offsets[j * local] * D, offsets[(j + 1) * local] * D),
  );
  const most = tokens * Math.min(perToken, local);
  return allToAllVariable(group, blocks, 'f32', most * D, { operation }) as Promise<F32[]>;
}

/** Copies the runs of all sources to their experts; `counts` [sources, local experts] are what the sources told. */
function place(group: Group, { tokens, width: D }: ExchangeShape, runs: readonly F32[], counts: U32, into: F32): void {
  check(group, D, runs, (p) => rowsBy(group, tokens, counts, p));
  eachRun(counts, group.size, D, (p, at, from, length) => into.set(runs[p].subarray(from, from + length), at));
}

/**
 * Whether the runs from all sources, in floats, are as long as was told before; the first that is not names its
 * source.
 */
function check(group: Group, D: number, runs: readonly F32[], rowsFrom: (source: number) => number): void {
  for (const [p, { length }] of runs.entries()) {
    const rows = rowsFrom(p);
    if (p !== group.rank && length !== rows * D)
      throw group.accuse(
        p,
        `it sent ${length} floats of rows for the experts here, where its counts make ${rows} rows of ${D}`,
      );
  }
}

/**
 * Rows of source `p` by the counts that it told. A token has an expert once at most, so no expert has more rows than
 * there are tokens.
 */
function rowsBy(group: Group, tokens: number, counts: U32, p: number): number {
  const local = counts.length / group.size;
  let rows = 0;
  for (let e = 0; e < local; e++) {
    const count = counts[p * local + e];
    if (p !== group.rank && count > tokens)
      throw group.accuse(p, `it counts ${count} rows for expert ${group.rank * local + e}, of ${tokens} tokens`);
    rows += count;
  }
  return rows;
}

/** A (expert, source) run: its place at the expert, its place in the source's run, and its length, in elements. */
type Move = (source: number, atExpert: number, inRun: number, length: number) => void;

/** Calls `move` for every run of rows of `width`; `counts` [sources, local experts]. */
function eachRun(counts: U32, sources: number, width: number, move: Move): void {
  const local = counts.length / sources;
  const inRun = new Array<number>(sources).fill(0);
  let atExpert = 0;
  for (let e = 0; e < local; e++) {
    for (let p = 0; p < sources; p++) {
      const length = counts[p * local + e] * width;
      move(p, atExpert, inRun[p], length);
      atExpert += length;
      inRun[p] += length;
    }
  }
}
