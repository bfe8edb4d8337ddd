// `tabmesh simulate`: what a pipeline schedule looks like before anything is trained: picture, bubble, memory.

import { existsSync, readFileSync } from 'node:fs';
import type { Command, CommandIo } from '../command.ts';
import { ConfigError, LayoutError } from '../../base/errors.ts';
import { parseSchedule } from '../../parallel/pipeline/custom/parse.ts';
import { ganttSvg } from '../../parallel/pipeline/gantt-svg.ts';
import type { SlotClass } from '../../parallel/pipeline/passes.ts';
import { placementOf } from '../../parallel/pipeline/placement.ts';
import { scheduleByName, schedules } from '../../parallel/pipeline/registry.ts';
import { renderSimulation } from '../../parallel/pipeline/render.ts';
import { VOCABULARY_FORMS } from '../../parallel/pipeline/schedule.ts';
import type { PipelineShape, Schedule, VocabularyForm } from '../../parallel/pipeline/schedule.ts';
import { trySimulate } from '../../parallel/pipeline/simulate.ts';
import type { Simulation } from '../../parallel/pipeline/simulate.ts';
import { didYouMean } from '../nearest.ts';
import { describeOptions, parseOptions } from '../options.ts';
import type { Options } from '../options.ts';
import { parseCost } from '../simulate/cost.ts';
import { replaceFiles } from '../train/atomic-file.ts';

const OPTIONS = {
  schedule: {
    type: 'string',
    value: 'NAME|FILE',
    default: '1f1b',
    about: `${[...schedules.keys()].join(', ')}, or a file`,
  },
  stages: { type: 'count', about: 'pipeline ranks p, each with --chunks stages (default 4)' },
  microbatches: { type: 'count', about: 'microbatches per step m (default 8)' },
  chunks: { type: 'count', about: 'stages per rank (default: those that the schedule has)' },
  group: { type: 'count', about: 'microbatches that go through a chunk together, for interleaved (default p)' },
  vocab: { type: 'string', default: 'none', choices: VOCABULARY_FORMS, about: 'how the ranks share the vocabulary' },
  cost: {
    type: 'string',
    value: 'F=1,B=1,..',
    about: 'times in any unit, of passes, and comm, transfer, collective between ranks',
  },
  capacity: { type: 'count', about: 'messages that a channel holds before the sender waits (default: no limit)' },
  posted: { type: 'count', about: 'receives that a rank posts ahead, before which a message does not leave' },
  json: { type: 'flag', about: 'print numbers and timeline as JSON' },
  svg: { type: 'string', value: 'FILE', about: 'write the picture as SVG' },
} as const;

/** Above, pictures and timelines are left out: nobody could read them. */
const MAX_PICTURE = 200_000;
const MAX_SVG = 20_000;
const MAX_ACTIONS = 80_000_000;

interface Chosen {
  readonly schedule: Schedule;
  readonly shape: PipelineShape;
}

function choose(options: Options<typeof OPTIONS>): Chosen {
  const { schedule: name, stages, microbatches, chunks, group } = options;
  const vocab = options.vocab as VocabularyForm;
  if (schedules.has(name)) {
    const schedule = scheduleByName(name, vocab);
    const given = {
      ranks: stages ?? 4,
      chunks: chunks ?? schedule.defaultChunks ?? 1,
      microbatches: microbatches ?? 8,
      ...(group === undefined ? {} : { group }),
    };
    if (group !== undefined && schedule.room === undefined)
      throw new ConfigError('--group', `expected a schedule with groups (interleaved), got ${name}`);
    return { schedule, shape: given };
  }
  if (!existsSync(name))
    throw new ConfigError(
      '--schedule',
      `expected ${[...schedules.keys()].join(', ')}, or a file, got '${name}'${didYouMean(name, [...schedules.keys()])}`,
    );
  if (vocab !== 'none') throw new ConfigError('--vocab', `expected none with a schedule from a file, got ${vocab}`);
  const { schedule, shape } = parseSchedule(name, readText(name));
  return {
    schedule,
    shape: {
      ranks: stages ?? shape.ranks,
      chunks: chunks ?? shape.chunks,
      microbatches: microbatches ?? shape.microbatches,
    },
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError('--schedule', `cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function check({ schedule, shape }: Chosen): number {
  const { ranks, chunks, microbatches } = shape;
  const perRank = schedule.passes.reduce((sum, kind) => sum + (/^[FRBW]$/.test(kind) ? chunks : 1), 0);
  const actions = perRank * ranks * microbatches;
  if (actions > MAX_ACTIONS)
    throw new ConfigError(
      '--microbatches',
      `expected at most ${MAX_ACTIONS} actions, got ${actions}; use fewer stages or microbatches`,
    );
  try {
    schedule.check?.(shape);
  } catch (error) {
    if (error instanceof LayoutError) throw new ConfigError('--schedule', error.message);
    throw error;
  }
  return actions;
}

/** Four digits are plenty, and 0.1 + 0.2 should not look odd. */
const round = (value: number) =>
  Number(value.toPrecision(12)).toLocaleString('en-US', { maximumFractionDigits: 4, useGrouping: false });

/** All values, or where there are many the first ones and the extremes. */
function row(values: readonly number[]): string {
  if (values.length <= 32) return values.map(round).join(' ');
  const [least, most] = values.reduce(
    ([a, b], value) => [Math.min(a, value), Math.max(b, value)],
    [Infinity, -Infinity],
  );
  return `${values.slice(0, 8).map(round).join(' ')} .. (${round(least)} to ${round(most)})`;
}

function print({ schedule, shape }: Chosen, result: Simulation, actions: number, io: CommandIo): void {
  const { ranks, chunks, microbatches } = shape;
  io.out(
    `${schedule.name}: ${ranks} ranks, ${microbatches} microbatches${chunks > 1 ? `, ${chunks} chunks per rank` : ''}` +
      `${schedule.vocabulary ? `, vocabulary ${schedule.vocabulary}` : ''}`,
  );
  if (actions <= MAX_PICTURE) for (const line of renderSimulation(schedule, shape, result, io.columns)) io.out(line);
  io.out(`step time       ${round(result.makespan)}`);
  io.out(`bubble          ${round(100 * result.bubble)} % over the ideal time`);
  io.out(`idle by rank    ${row(result.idle)}`);
  io.out(`peak in flight  ${row(result.peakLive)} (microbatches${chunks > 1 ? ' times chunks' : ''}, by rank)`);
  const classes = [...new Set(result.peakSlots.flatMap((slots) => Object.keys(slots)))] as SlotClass[];
  if (classes.length > 1) {
    const byRank = (name: SlotClass): string => row(result.peakSlots.map((slots) => slots[name] ?? 0));
    io.out(`slots by rank   ${classes.map((name) => `${name} ${byRank(name)}`).join(', ')}`);
  }
  io.out(`messages        ${result.messages}`);
  if (result.barriers > 0)
    io.out(`barriers        ${result.barriers} (${result.barriers / microbatches} per microbatch)`);
}

export const command: Command = {
  name: 'simulate',
  summary: 'draws a pipeline schedule and says its bubble and memory',
  help: [
    'tabmesh simulate: draws a pipeline schedule and says its bubble and memory',
    '',
    'usage: tabmesh simulate [options]',
    '',
    describeOptions(OPTIONS),
    '',
    'Passes are F, B and W (forward, backward for the inputs and for the weights), R (forward again), and of a shared',
    'vocabulary IF, IB (embedding), S, S2, T (head); a schedule without W takes the time of both backwards for B. A time',
    'for each stage stands with slashes: F=1/1/1.5/1. comm: until a result is usable on another rank; transfer: how long',
    'a message occupies its link; collective: until all ranks have the result of one, from when the last has come.',
    'Defaults: F, B, W, R 1, S, T 0.25, all others 0.',
    '',
    'A file has a line per rank with cells of stage, pass and microbatch as PyTorch writes them: 0F0,0F1,,0B0',
  ].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, OPTIONS);
    const chosen = choose(options);
    const { schedule, shape } = chosen;
    const actions = check(chosen);
    const timing = parseCost(options.cost, schedule, placementOf(schedule, shape));
    if (options.svg !== undefined && actions > MAX_SVG)
      throw new ConfigError('--svg', `expected at most ${MAX_SVG} actions, got ${actions}; use fewer microbatches`);
    const { capacity, posted } = options;
    const outcome = trySimulate(schedule, shape, {
      ...timing,
      ...(capacity === undefined ? {} : { capacity }),
      ...(posted === undefined ? {} : { posted }),
    });
    if (!outcome.ok) {
      for (const line of outcome.stuck.slice(0, 10)) io.err(`${schedule.name}: deadlock: ${line}`);
      return 1;
    }
    const { simulation } = outcome;
    if (options.svg !== undefined) {
      const title =
        `${schedule.name}, ${shape.ranks} ranks, ${shape.microbatches} microbatches: ` +
        `${round(simulation.makespan)}, ${round(100 * simulation.bubble)} % over the ideal time`;
      const bytes = new TextEncoder().encode(ganttSvg(schedule, shape.chunks, simulation, title));
      replaceFiles([{ path: options.svg, bytes }], { keep: false });
    }
    if (options.json) {
      const { timeline: _, ...numbers } = Object.getOwnPropertyDescriptors(simulation);
      const told = Object.fromEntries(Object.entries(numbers).map(([name, { value }]) => [name, value as unknown]));
      const { name, vocabulary = 'none' } = schedule;
      const timeline = actions <= MAX_PICTURE ? { timeline: simulation.timeline } : {};
      io.out(JSON.stringify({ schedule: name, vocab: vocabulary, ...shape, ...told, ...timeline }));
    } else print(chosen, simulation, actions, io);
    return 0;
  },
};
