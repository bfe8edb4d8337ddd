// All pipeline schedules by name. The folder schedules/ is the list: a new file there is found at once.

import type { Schedule } from './schedule.ts';
import { ConfigError, InternalError } from '../../base/errors.ts';

const files = import.meta.glob<Schedule>('./schedules/*.ts', { import: 'schedule', eager: true });

function byName(): ReadonlyMap<string, Schedule> {
  const map = new Map<string, Schedule>();
  for (const [path, schedule] of Object.entries(files)) {
    if (schedule === undefined) throw new InternalError(`${path}: expected an export named 'schedule', found none`);
    if (map.has(schedule.name)) throw new InternalError(`${path}: the schedule name '${schedule.name}' is taken`);
    map.set(schedule.name, schedule);
  }
  return map;
}

export const schedules: ReadonlyMap<string, Schedule> = byName();

/** ConfigError for a name that no schedule has, LayoutError for what it cannot do. */
export function checkSchedule({
  schedule,
  layout,
  chunks,
  microbatches,
}: {
  readonly schedule: string;
  readonly layout: { readonly pp: number };
  readonly chunks: number;
  readonly microbatches: number;
}): void {
  scheduleByName(schedule).check?.({ ranks: layout.pp, chunks, microbatches });
}

/** The schedule of that name; ConfigError names the ones there are. */
export function scheduleByName(name: string): Schedule {
  const schedule = schedules.get(name);
  if (schedule === undefined)
    throw new ConfigError('schedule', `expected ${[...schedules.keys()].join(' or ')}, got '${name}'`);
  return schedule;
}
