// The picture of a simulated schedule as text: one row per rank, time to the right, `F2` the forward of microbatch 2,
// dashes for as long as an action lasts, dots for idle time. Chunks carry a letter (F2b). Too wide a picture drops the
// numbers; one wider still is cut and says so.

import { formatPass } from './passes.ts';
import type { PassKind, PipelineShape, Schedule } from './schedule.ts';
import type { Simulation, TimedAction } from './simulate.ts';

const SHORT: Readonly<Partial<Record<PassKind, string>>> = { IF: 'f', IB: 'b', S2: 's' };

/**
 * Duration of one column: the greatest step that all starts and ends are multiples of, or 1/100 of the whole for uneven
 * times.
 */
function columnTime({ timeline, makespan }: Simulation): number {
  const divide = (a: number, b: number): number => (b < 1e-9 * makespan ? a : divide(b, a % b));
  const step = timeline
    .flat()
    .reduce(
      (unit, { start, end }) => divide(divide(Math.max(unit, start), Math.min(unit, start)), end - start),
      makespan,
    );
  return step * 100_000 < makespan || step === 0 ? makespan / 100 : step;
}

function row(
  actions: readonly TimedAction[],
  columns: number,
  unit: number,
  width: number,
  label: (action: TimedAction) => string,
): string {
  const idle = '.'.padEnd(width);
  const cells = new Array<string>(columns).fill(idle);
  for (const action of actions) {
    if (action.end === action.start) continue;
    const from = Math.round(action.start / unit);
    const span = Math.max(1, Math.round(action.end / unit) - from);
    // The last character of an action stays blank, so that neighbours do not run together.
    const text =
      width === 1
        ? label(action).repeat(span)
        : label(action)
            .padEnd(span * width - 1, '-')
            .padEnd(span * width);
    for (let i = 0; i < span && from + i < columns; i++) cells[from + i] = text.slice(i * width, (i + 1) * width);
  }
  return cells.join('');
}

/** Lines of text at most `maxColumns` wide. */
export function renderSimulation(
  schedule: Schedule,
  shape: PipelineShape,
  simulation: Simulation,
  maxColumns = Infinity,
): readonly string[] {
  const unit = columnTime(simulation);
  const columns = simulation.makespan === 0 ? 0 : Math.round(simulation.makespan / unit);
  const head = (rank: number) => `rank ${String(rank).padStart(String(shape.ranks - 1).length)} |`;
  const room = maxColumns - head(0).length - 1;
  const chunkLetter = new Map<number, string>();
  if (shape.chunks > 1) {
    for (let rank = 0; rank < shape.ranks; rank++)
      for (let chunk = 0; chunk < shape.chunks; chunk++)
        chunkLetter.set(schedule.stageOf(rank, chunk, shape), String.fromCharCode(97 + chunk));
  }
  const full = (action: TimedAction) => `${formatPass(action)}${chunkLetter.get(action.stage) ?? ''}`;
  // IF and IB as f and b, S2 as s, where there is room for a letter only.
  const short = ({ kind }: TimedAction): string => SHORT[kind] ?? kind;
  const longest = Math.max(
    ...schedule.passes.map((kind) => formatPass({ kind, microbatch: shape.microbatches - 1 }).length),
  );
  const labelWidth = 1 + longest + (shape.chunks > 1 ? 1 : 0);
  const labelled = columns * labelWidth <= room;
  const shown = labelled ? columns : Math.min(columns, Math.max(0, room));
  const lines = simulation.timeline.map(
    (actions, rank) => `${head(rank)}${row(actions, shown, unit, labelled ? labelWidth : 1, labelled ? full : short)}|`,
  );
  if (shown < columns) lines.push(`(the first ${shown} of ${columns} columns)`);
  return lines;
}
