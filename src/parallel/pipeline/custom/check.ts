// What is wrong with a schedule from a text, and in which cell. The rules are those of validate.ts; there they are told
// by rank and action, here by the cell that somebody wrote.

import type { Action, PassKind, PipelineShape, Schedule } from '../schedule.ts';
import { trySimulate } from '../simulate.ts';

export interface Cell {
  readonly rank: number;
  /** Its place in the line. */
  readonly column: number;
  readonly text: string;
  readonly action: Action;
}

export interface Problem {
  readonly rank: number;
  readonly column: number;
  readonly text: string;
}

export type Outcome =
  | { readonly problem: Problem }
  | { readonly problem?: undefined; readonly holders: readonly (readonly number[])[]; readonly shape: PipelineShape };

type Rows = readonly (readonly Cell[])[];
const ORDER: readonly PassKind[] = ['F', 'R', 'B', 'W'];
const keyOf = ({ kind, stage, microbatch }: Action): string => `${stage}${kind}${microbatch}`;

/** The first problem; without one, the stages of each rank in ascending order, and the shape. */
export function problemOf(rows: Rows, name: string): Outcome {
  const holders = holdersOf(rows);
  if ('problem' in holders) return holders;
  const all = rows.flat();
  const microbatches = 1 + all.reduce((most, { action }) => Math.max(most, action.microbatch), 0);
  const shape = { ranks: rows.length, chunks: holders.stages[0]!.length, microbatches };
  const problem = listProblem(rows, holders.stages, microbatches) ?? deadlock(rows, holders.stages, shape, name);
  return problem ? { problem } : { holders: holders.stages, shape };
}

function holdersOf(rows: Rows): { readonly stages: readonly (readonly number[])[] } | { readonly problem: Problem } {
  const holder = new Map<number, Cell>();
  for (const cell of rows.flat()) {
    const first = holder.get(cell.action.stage);
    if (first === undefined) holder.set(cell.action.stage, cell);
    else if (first.rank !== cell.rank)
      return {
        problem: {
          ...cell,
          text: `expected stage ${cell.action.stage} on one rank, got it on rank ${first.rank} and on rank ${cell.rank}`,
        },
      };
  }
  const stages = rows.map((_, rank) =>
    [...holder]
      .filter(([, cell]) => cell.rank === rank)
      .map(([stage]) => stage)
      .sort((a, b) => a - b),
  );
  const uneven = stages.findIndex((held) => held.length !== stages[0]!.length || held.length === 0);
  if (uneven >= 0) {
    const column = rows[uneven]![0]?.column ?? 0;
    const held = (rank: number): string => `${stages[rank]!.length} (${stages[rank]!.join(', ') || 'none'})`;
    const text =
      stages[uneven]!.length === 0
        ? `expected a stage on every rank, got none on rank ${uneven}`
        : `expected as many stages on every rank, got ${held(0)} on rank 0 and ${held(uneven)} on rank ${uneven}`;
    return { problem: { rank: uneven, column, text } };
  }
  const missing = Array.from({ length: holder.size }, (_, stage) => stage).find((stage) => !holder.has(stage));
  if (missing !== undefined) {
    const last = [...holder.values()].reduce((a, b) => (a.action.stage > b.action.stage ? a : b));
    const text = `expected stages 0 to ${holder.size - 1}, got ${last.action.stage} and no stage ${missing}`;
    return { problem: { ...last, text } };
  }
  return { stages };
}

/** Actions that are listed twice, not at all, or before what they need on their own rank. */
function listProblem(rows: Rows, stages: readonly (readonly number[])[], microbatches: number): Problem | undefined {
  const used = new Set(rows.flat().map(({ action }) => action.kind));
  const kinds = ORDER.filter((kind) => used.has(kind) || kind === 'F' || kind === 'B');
  for (const [rank, row] of rows.entries()) {
    const seen = new Map<string, Cell>();
    for (const cell of row) {
      const { kind, stage, microbatch } = cell.action;
      if (seen.has(keyOf(cell.action)))
        return { ...cell, text: `expected ${cell.text} once on rank ${rank}, got it twice` };
      const before = kinds[kinds.indexOf(kind) - 1];
      if (before !== undefined && !seen.has(keyOf({ kind: before, stage, microbatch })))
        return { ...cell, text: `expected ${stage}${before}${microbatch} before ${cell.text}` };
      seen.set(keyOf(cell.action), cell);
    }
    for (const stage of stages[rank]!) {
      for (let microbatch = 0; microbatch < microbatches; microbatch++) {
        const missing = kinds.find((kind) => !seen.has(keyOf({ kind, stage, microbatch })));
        if (missing === undefined) continue;
        // Shown at what comes before it, or at the end of the line.
        const near = kinds.findLast((kind) => seen.has(keyOf({ kind, stage, microbatch })));
        const at = near ? seen.get(keyOf({ kind: near, stage, microbatch }))! : row.at(-1)!;
        return { ...at, text: `expected ${stage}${missing}${microbatch} on rank ${rank}, got none` };
      }
    }
  }
  return undefined;
}

function deadlock(
  rows: Rows,
  stages: readonly (readonly number[])[],
  shape: PipelineShape,
  name: string,
): Problem | undefined {
  const used = new Set(rows.flat().map(({ action }) => action.kind));
  const schedule: Schedule = {
    name,
    passes: ORDER.filter((kind) => used.has(kind)),
    stageOf: (rank, chunk) => stages[rank]![chunk]!,
    actions: (rank) => rows[rank]!.map(({ action }) => action),
  };
  const outcome = trySimulate(schedule, shape, { F: 1, R: 1, B: 1, W: 1 });
  if (outcome.ok) return undefined;
  const [{ rank, next, line }] = outcome.stuck.map((text) => ({
    line: text,
    rank: Number(/^rank (\d+)/.exec(text)![1]),
    next: /with (\w+?)(\d+)@(\d+) for/.exec(text)!,
  })) as [{ rank: number; next: RegExpExecArray; line: string }];
  const action = { kind: next[1] as PassKind, microbatch: Number(next[2]), stage: Number(next[3]) };
  const cell = rows[rank]!.find((one) => keyOf(one.action) === keyOf(action))!;
  const others = outcome.stuck.slice(1).join('; ');
  return {
    ...cell,
    text: `expected an order in which no rank waits for ever, got one where ${line}${others ? `; ${others}` : ''}`,
  };
}
