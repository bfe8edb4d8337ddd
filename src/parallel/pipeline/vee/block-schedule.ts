// A schedule of a V from its building block: the block repeated, squeezed, and where it is asked for with the passes of
// the vocabulary; a barrier of those takes one interval more between forwards and backwards.

import { remembered } from '../remembered.ts';
import type { Action, PipelineShape, Schedule, SharedForm } from '../schedule.ts';
import { placementOf } from '../placement.ts';
import { FORMS, inForm } from '../vocabulary/forms.ts';
import { vocabularyLists, weave } from '../vocabulary/weave.ts';
import { stageOfVee, vee } from './placement.ts';
import { B0, B1, F0, F1, INTERVAL, repeated, squeeze, withWeights } from './squeeze.ts';
import type { Block } from './squeeze.ts';

/** `blockOf`: with `barriers` intervals between the forwards and backwards of a microbatch. */
export function blockSchedule(name: string, blockOf: (ranks: number, barriers: number) => Block): Schedule {
  const schedule: Schedule = {
    ...vee(name),
    withVocabulary: (form) => (form === 'interlaced' ? undefined : sharedVocabulary(schedule, blockOf, form)),
    actions: remembered((shape) => {
      const columns = columnsFor(blockOf(shape.ranks, 0), shape, 0);
      return (rank) => actionsOf(columns[rank]!, rank, shape);
    }),
  };
  return schedule;
}

function sharedVocabulary(
  base: Schedule,
  blockOf: (ranks: number, barriers: number) => Block,
  form: Exclude<SharedForm, 'interlaced'>,
): Schedule {
  const { barriers } = FORMS[form];
  const schedule = inForm(
    base,
    form,
    remembered((shape) => {
      const columns = columnsFor(blockOf(shape.ranks, barriers), shape, barriers);
      const first = columns[0]!;
      const of = (type: number): ArrayLike<number> => first.times.filter((_, i) => first.codes[i]! % TYPES === type);
      const ends = { firstForward: of(F0), lastForward: of(F1), firstBackward: of(B0) };
      const shared = vocabularyLists(placementOf(schedule, shape), FORMS[form], ends, INTERVAL);
      return (rank) => {
        const column = columns[rank]!;
        return weave([...shared, { actions: actionsOf(column, rank, shape), times: column.times }]);
      };
    }),
  );
  return schedule;
}

/** What a rank does when: microbatch * TYPES + type, and the times. Compact: a step may have millions of actions. */
interface Column {
  readonly codes: Int32Array;
  readonly times: Int32Array;
}

/** Types of a column: those of the block, then W of chunk 1 and of chunk 0. */
const [W1, W0, TYPES] = [4, 5, 6];

function actionsOf({ codes }: Column, rank: number, shape: PipelineShape): readonly Action[] {
  const stages = [stageOfVee(rank, 0, shape), stageOfVee(rank, 1, shape)] as const;
  return Array.from(codes, (code): Action => {
    const type = code % TYPES;
    const kind = type <= F1 ? 'F' : type <= B0 ? 'B' : 'W';
    const chunk = type === F1 || type === B1 || type === W1 ? 1 : 0;
    return { kind, stage: stages[chunk], microbatch: (code - type) / TYPES };
  });
}

function columnsFor(block: Block, { ranks, microbatches }: PipelineShape, barriers: number): readonly Column[] {
  // The middle of a long step repeats itself: what is squeezed is a step that is long enough.
  const short = 2 * ranks + 2 * barriers + 14;
  const more = microbatches - short;
  if (more <= 0) return columnsOf(block, microbatches, barriers);
  const squeezed = columnsOf(block, short, barriers);
  return extended(squeezed, ranks + barriers + 5, more) ?? columnsOf(block, microbatches, barriers);
}

/** By rank, what it does when; of several W that are due, those of chunk 1 first. */
function columnsOf(block: Block, microbatches: number, barriers: number): readonly Column[] {
  // Where the last forwards come with the first backwards, the squeezed order would need more room in channels.
  const few = microbatches <= block.length + barriers + 1;
  const grid = few ? withWeights(repeated(block, microbatches)) : squeeze(block, microbatches, INTERVAL * barriers);
  return grid.cells.map((cells, rank) => {
    const column = { codes: new Int32Array(TYPES * microbatches), times: new Int32Array(TYPES * microbatches) };
    const [due, next] = [
      [0, 0],
      [0, 0],
    ];
    let at = 0;
    for (let time = 0; time < cells.length; time++) {
      if (cells[time] === 0) continue;
      let { type, microbatch } = grid.at(rank, time)!;
      if (type === B1 || type === B0) due[type - B1]!++;
      if (type > B0) {
        const which = due[0]! > 0 ? 0 : 1;
        due[which]!--;
        [type, microbatch] = [which === 0 ? W1 : W0, next[which]!++];
      }
      column.codes[at] = microbatch * TYPES + type;
      column.times[at++] = time;
    }
    return column;
  });
}

/** With `more` microbatches in the middle, from F0 of microbatch `from` on; undefined where a list does not repeat. */
function extended(columns: readonly Column[], from: number, more: number): readonly Column[] | undefined {
  const out: Column[] = [];
  for (const { codes, times } of columns) {
    const begin = codes.indexOf(from * TYPES + F0);
    const end = codes.indexOf((from + 1) * TYPES + F0);
    if (end - begin !== INTERVAL) return undefined;
    for (let i = begin; i < end; i++)
      if (codes[i + INTERVAL] !== codes[i]! + TYPES || times[i + INTERVAL] !== times[i]! + INTERVAL) return undefined;
    const longer = {
      codes: new Int32Array(codes.length + INTERVAL * more),
      times: new Int32Array(codes.length + INTERVAL * more),
    };
    longer.codes.set(codes.subarray(0, end));
    longer.times.set(times.subarray(0, end));
    for (let i = end; i < longer.codes.length; i++) {
      // In the middle as an interval before, at the end as in the short step.
      const rest = i - INTERVAL * more;
      const repeats = rest < end;
      longer.codes[i] = repeats ? longer.codes[i - INTERVAL]! + TYPES : codes[rest]! + TYPES * more;
      longer.times[i] = repeats ? longer.times[i - INTERVAL]! + INTERVAL : times[rest]! + INTERVAL * more;
    }
    out.push(longer);
  }
  return out;
}
