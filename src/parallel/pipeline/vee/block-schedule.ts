// A schedule of a V from its building block: the block repeated, squeezed, and where it is asked for with the passes of
// the vocabulary; a barrier of those takes one interval more between forwards and backwards.

import { remembered } from '../remembered.ts';
import type { Action, PipelineShape, Schedule, SharedForm } from '../schedule.ts';
import { placementOf } from '../placement.ts';
import { FORMS, passesWith } from '../vocabulary/forms.ts';
import { vocabularyLists, weave } from '../vocabulary/weave.ts';
import type { TimedList } from '../vocabulary/weave.ts';
import { stageOfVee, vee } from './placement.ts';
import { B0, B1, F0, F1, INTERVAL, repeated, squeeze, withWeights } from './squeeze.ts';
import type { Block } from './squeeze.ts';

/** `blockOf`: with `barriers` intervals between the forwards and backwards of a microbatch. */
export function blockSchedule(name: string, blockOf: (ranks: number, barriers: number) => Block): Schedule {
  const schedule: Schedule = {
    ...vee(name),
    withVocabulary: (form) => (form === 'interlaced' ? undefined : sharedVocabulary(schedule, blockOf, form)),
    actions: remembered((shape) => {
      const lists = timedLists(blockOf(shape.ranks, 0), shape, 0);
      return (rank) => lists[rank]!.actions;
    }),
  };
  return schedule;
}

function sharedVocabulary(
  base: Schedule,
  blockOf: (ranks: number, barriers: number) => Block,
  form: Exclude<SharedForm, 'interlaced'>,
): Schedule {
  const { headGradient, barriers } = FORMS[form];
  const schedule: Schedule = {
    ...base,
    passes: passesWith(base.passes, FORMS[form]),
    headGradient,
    vocabulary: form,
    withVocabulary: undefined,
    actions: remembered((shape) => {
      const lists = timedLists(blockOf(shape.ranks, barriers), shape, barriers);
      const first = lists[0]!;
      const of = (kind: Action['kind'], stage: number): number[] =>
        first.actions.flatMap((action, i) => (action.kind === kind && action.stage === stage ? [first.times[i]!] : []));
      const last = stageOfVee(0, 1, shape);
      const ends = { firstForward: of('F', 0), lastForward: of('F', last), firstBackward: of('B', 0) };
      const shared = vocabularyLists(placementOf(schedule, shape), FORMS[form], ends, INTERVAL);
      return (rank) => weave([...shared, lists[rank]!]);
    }),
  };
  return schedule;
}

interface Column {
  readonly type: number;
  readonly microbatch: number;
  readonly time: number;
}

/** Types of a list: those of the block, and W of chunk 1 and of chunk 0. */
const [W1, W0] = [4, 5];

function timedLists(block: Block, { ranks, microbatches }: PipelineShape, barriers: number): readonly TimedList[] {
  // The middle of a long step repeats itself: what is squeezed is a step that is long enough.
  const short = 2 * ranks + 2 * barriers + 14;
  const more = Math.max(0, microbatches - short);
  const squeezed = columnsOf(block, microbatches - more, barriers);
  const middle = ranks + barriers + 5;
  const columns =
    more === 0 ? squeezed : (extended(squeezed, middle, more) ?? columnsOf(block, microbatches, barriers));
  return columns.map((list, rank) => ({
    actions: list.map(({ type, microbatch }): Action => {
      const chunk = type === F1 || type === B1 || type === W1 ? 1 : 0;
      const kind = type <= F1 ? 'F' : type <= B0 ? 'B' : 'W';
      return { kind, stage: stageOfVee(rank, chunk, { ranks }), microbatch };
    }),
    times: Int32Array.from(list, ({ time }) => time),
  }));
}

/** By rank, what it does when; of several W that are due, those of chunk 1 first. */
function columnsOf(block: Block, microbatches: number, barriers: number): readonly Column[][] {
  // Of so few that the last forwards come with the first backwards, the squeezed order would need more room in
  // channels.
  const few = microbatches <= block.length + barriers + 1;
  const grid = few ? withWeights(repeated(block, microbatches)) : squeeze(block, microbatches, INTERVAL * barriers);
  return block.map((_, rank) => {
    const list: Column[] = [];
    const due = [0, 0];
    const next = [0, 0];
    for (let time = 0; time < grid.units; time++) {
      const item = grid.at(rank, time);
      if (!item) continue;
      if (item.type <= B0) {
        list.push({ ...item, time });
        if (item.type >= B1) due[item.type - B1]!++;
        continue;
      }
      const which = due[0]! > 0 ? 0 : 1;
      due[which]!--;
      list.push({ type: which === 0 ? W1 : W0, microbatch: next[which]!++, time });
    }
    return list;
  });
}

/**
 * With `more` microbatches in the middle, from F0 of microbatch `from` on; undefined where lists do not repeat there.
 */
function extended(lists: readonly Column[][], from: number, more: number): Column[][] | undefined {
  const out: Column[][] = [];
  for (const list of lists) {
    const at = (microbatch: number): number =>
      list.findIndex(({ type, microbatch: j }) => type === F0 && j === microbatch);
    const [a, b] = [at(from), at(from + 1)];
    const later = ({ type, microbatch, time }: Column, by: number): Column => ({
      type,
      microbatch: microbatch + by,
      time: time + INTERVAL * by,
    });
    const repeats = list.slice(a, b).every((one, i) => {
      const other = list[b + i];
      const { type, microbatch, time } = later(one, 1);
      return other?.type === type && other.microbatch === microbatch && other.time === time;
    });
    if (b - a !== INTERVAL || !repeats) return undefined;
    const middle: Column[] = [];
    for (let by = 1; by <= more; by++) for (let i = a; i < b; i++) middle.push(later(list[i]!, by));
    out.push([...list.slice(0, b), ...middle, ...list.slice(b).map((one) => later(one, more))]);
  }
  return out;
}
