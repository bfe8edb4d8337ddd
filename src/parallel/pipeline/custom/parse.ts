// A schedule from a text, in the notation of torch.distributed.pipelining: a line per rank, cells with commas between
// them, each with stage, pass and microbatch: `0F0,0F1,,0B0`. Empty cells and lines that begin with # say nothing.
// Passes are F, R, B and W; I stands for B where W is apart, as PyTorch writes it. Ranks, chunks and microbatches are
// those of the text.

import type { Action, PassKind, PipelineShape, Schedule } from '../schedule.ts';
import { ConfigError, LayoutError } from '../../../base/errors.ts';
import { problemOf } from './check.ts';
import type { Cell, Problem } from './check.ts';
import { tableOf } from './table.ts';

export interface CustomSchedule {
  readonly schedule: Schedule;
  /** The only shape that it has. */
  readonly shape: PipelineShape;
}

const PASSES: Readonly<Record<string, PassKind>> = { F: 'F', R: 'R', B: 'B', I: 'B', W: 'W' };
const CELL = /^(\d+)([A-Za-z]\w*?)(\d+)$/;

/** `name`: what the text is called, a file say. ConfigError shows the first cell that is wrong in a table. */
export function parseSchedule(name: string, text: string): CustomSchedule {
  const rows = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => !line.startsWith('#'));
  while (rows.at(-1) === '') rows.pop();
  const texts = rows.map((row) => row.split(',').map((cell) => cell.trim()));
  const refuse = (problem: Problem): never => {
    throw new ConfigError(name, [problem.text, ...tableOf(texts, problem)].join('\n'));
  };
  if (texts.length === 0)
    throw new ConfigError(name, 'expected a line of cells for each rank, such as 0F0,0B0, got none');
  const cells = texts.map((row, rank) => row.flatMap((cell, column) => read(cell, rank, column, refuse)));
  const all = cells.flat();
  const input = all.find(({ text: cell }) => cell.includes('I'));
  const whole = all.find(({ text: cell }) => cell.includes('B'));
  if (input && whole)
    refuse({
      ...whole,
      text: `expected I and W, or B alone, for all microbatches, got ${whole.text} beside ${input.text}`,
    });
  const outcome = problemOf(cells, name);
  if (outcome.problem) return refuse(outcome.problem);
  return scheduleOf(name, cells, outcome.holders, outcome.shape);
}

function read(text: string, rank: number, column: number, refuse: (problem: Problem) => never): readonly Cell[] {
  if (text === '') return [];
  const match = CELL.exec(text);
  if (!match) return refuse({ rank, column, text: `expected stage, pass and microbatch, such as 1F0, got '${text}'` });
  const [, stage, letter, microbatch] = match;
  const kind = PASSES[letter!];
  if (kind === undefined)
    return refuse({
      rank,
      column,
      text: `expected a pass of ${Object.keys(PASSES).join(', ')}, got '${letter}' in ${text}`,
    });
  return [{ rank, column, text, action: { kind, stage: Number(stage), microbatch: Number(microbatch) } }];
}

function scheduleOf(
  name: string,
  cells: readonly (readonly Cell[])[],
  holders: readonly (readonly number[])[],
  shape: PipelineShape,
): CustomSchedule {
  const used = new Set(cells.flat().map(({ action }) => action.kind));
  const lists: readonly (readonly Action[])[] = cells.map((row) => row.map(({ action }) => action));
  const { ranks, chunks, microbatches } = shape;
  const schedule: Schedule = {
    name,
    passes: (['F', 'R', 'B', 'W'] as const).filter((kind) => used.has(kind)),
    defaultChunks: chunks,
    check(given) {
      const of = ({ ranks: p, chunks: v, microbatches: m }: PipelineShape): string =>
        `${p} ranks with ${v} chunk${v === 1 ? '' : 's'} and ${m} microbatches`;
      if (given.ranks !== ranks || given.chunks !== chunks || given.microbatches !== microbatches)
        throw new LayoutError(`${name}: expected ${of(shape)}, as it is written, got ${of(given)}`);
    },
    stageOf: (rank, chunk) => holders[rank]![chunk]!,
    actions: (rank) => lists[rank]!,
  };
  return { schedule, shape };
}
