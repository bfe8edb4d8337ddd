// `tabmesh simulate`: what a pipeline schedule looks like before anything is trained: picture, bubble, memory.

import type { Command } from '../command.ts';
import { ConfigError, LayoutError } from '../../base/errors.ts';
import type { SlotClass } from '../../parallel/pipeline/passes.ts';
import { renderSimulation } from '../../parallel/pipeline/render.ts';
import { scheduleByName, schedules } from '../../parallel/pipeline/registry.ts';
import type { PipelineShape, Schedule } from '../../parallel/pipeline/schedule.ts';
import { simulate } from '../../parallel/pipeline/simulate.ts';
import { validate } from '../../parallel/pipeline/validate.ts';
import { describeOptions, parseOptions } from '../options.ts';

const OPTIONS = {
  schedule: { type: 'string', default: '1f1b', choices: [...schedules.keys()], about: 'pipeline schedule' },
  ranks: { type: 'count', default: 4, about: 'pipeline ranks p' },
  microbatches: { type: 'count', default: 8, about: 'microbatches per step m' },
  chunks: { type: 'count', default: 1, about: 'model chunks per rank' },
  forward: { type: 'number', default: 1, about: 'time of one forward, in any unit' },
  backward: { type: 'number', default: 1, about: 'time of one backward for the inputs' },
  weights: { type: 'number', default: 1, about: 'time of one backward for the weights' },
  comm: { type: 'number', default: 0, about: 'time from one rank to the next' },
  capacity: { type: 'count', about: 'messages that a channel holds before the sender waits (default: no limit)' },
  json: { type: 'flag', about: 'print numbers and timeline as JSON' },
} as const;

const MAX_ACTIONS = 200_000;

function checkShape(schedule: Schedule, shape: PipelineShape): void {
  const actions = 2 * shape.ranks * shape.chunks * shape.microbatches;
  if (actions > MAX_ACTIONS)
    throw new ConfigError(
      '--microbatches',
      `expected at most ${MAX_ACTIONS} actions, got ${actions}; use fewer ranks or microbatches`,
    );
  try {
    schedule.check?.(shape);
  } catch (error) {
    if (error instanceof LayoutError) throw new ConfigError('--schedule', error.message);
    throw error;
  }
}

/** Four digits are plenty, and 0.1 + 0.2 should not look odd. */
const round = (value: number) =>
  Number(value.toPrecision(12)).toLocaleString('en-US', { maximumFractionDigits: 4, useGrouping: false });

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
    'A schedule that does not split off the weights runs both backwards as one action B.',
  ].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, OPTIONS);
    for (const name of ['forward', 'backward', 'weights', 'comm'] as const) {
      if (options[name] < 0) throw new ConfigError(`--${name}`, `expected a time of at least 0, got ${options[name]}`);
    }
    if (options.forward + options.backward + options.weights === 0)
      throw new ConfigError('--forward', 'expected some action to take time, got 0 for all');
    const schedule = scheduleByName(options.schedule);
    const shape = { ranks: options.ranks, chunks: options.chunks, microbatches: options.microbatches };
    checkShape(schedule, shape);
    const problems = validate(schedule, shape);
    if (problems.length > 0) {
      for (const problem of problems.slice(0, 10)) io.err(`${schedule.name}: ${problem}`);
      return 1;
    }
    const result = simulate(schedule, shape, {
      F: options.forward,
      B: options.backward,
      W: options.weights,
      comm: options.comm,
      capacity: options.capacity,
    });
    if (options.json) {
      io.out(JSON.stringify({ schedule: schedule.name, ...shape, ...result }));
      return 0;
    }
    io.out(
      `${schedule.name}: ${shape.ranks} ranks, ${shape.microbatches} microbatches${shape.chunks > 1 ? `, ${shape.chunks} chunks per rank` : ''}`,
    );
    for (const line of renderSimulation(schedule, shape, result, io.columns)) io.out(line);
    io.out(`step time       ${round(result.makespan)}`);
    io.out(`bubble          ${round(100 * result.bubble)} % over the ideal time`);
    io.out(`idle by rank    ${result.idle.map(round).join(' ')}`);
    io.out(
      `peak in flight  ${result.peakLive.join(' ')} (microbatches${shape.chunks > 1 ? ' times chunks' : ''}, by rank)`,
    );
    const classes = [...new Set(result.peakSlots.flatMap((slots) => Object.keys(slots)))] as SlotClass[];
    if (classes.length > 1) {
      const byRank = (name: SlotClass): string => result.peakSlots.map((slots) => slots[name] ?? 0).join(' ');
      io.out(`slots by rank   ${classes.map((name) => `${name} ${byRank(name)}`).join(', ')}`);
    }
    io.out(`messages        ${result.messages}`);
    return 0;
  },
};
