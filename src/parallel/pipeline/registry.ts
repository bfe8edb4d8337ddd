// All pipeline schedules by name. The folder schedules/ is the list: a new file there is found at once.

import { VOCABULARY_FORMS } from './schedule.ts';
import type { Schedule, SharedForm, VocabularyForm } from './schedule.ts';
import { ConfigError, InternalError } from '../../base/errors.ts';
import { sharedAround } from './vocabulary/around.ts';

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

const shared = new Map<string, Schedule>();

function withForm(schedule: Schedule, form: SharedForm): Schedule | undefined {
  return schedule.withVocabulary ? schedule.withVocabulary(form) : sharedAround(schedule, form);
}

/** ConfigError for a name or a form of the vocabulary that no schedule has, LayoutError for what it cannot do. */
export function checkSchedule({
  schedule,
  layout,
  chunks,
  microbatches,
  vocab,
}: {
  readonly schedule: string;
  readonly layout: { readonly pp: number };
  readonly chunks: number;
  readonly microbatches: number;
  readonly vocab?: VocabularyForm;
}): void {
  scheduleByName(schedule, vocab).check?.({ ranks: layout.pp, chunks, microbatches });
}

/**
 * The schedule of that name with the passes of that form of the vocabulary, the same object each time; ConfigError
 * names the ones there are.
 */
export function scheduleByName(name: string, vocabulary: VocabularyForm = 'none'): Schedule {
  const schedule = schedules.get(name);
  if (schedule === undefined)
    throw new ConfigError('schedule', `expected ${[...schedules.keys()].join(' or ')}, got '${name}'`);
  if (vocabulary === 'none') return schedule;
  const key = `${name} ${vocabulary}`;
  const known = shared.get(key) ?? withForm(schedule, vocabulary);
  if (known === undefined)
    throw new ConfigError(
      'vocab',
      `expected ${vocabularyForms(name).join(' or ')} with schedule ${name}, got '${vocabulary}'`,
    );
  shared.set(key, known);
  return known;
}

/** The forms of the vocabulary that the schedule of that name has; ConfigError if there is none of that name. */
export function vocabularyForms(name: string): readonly VocabularyForm[] {
  const schedule = scheduleByName(name);
  return VOCABULARY_FORMS.filter((form) => form === 'none' || withForm(schedule, form) !== undefined);
}
