// The passes of a vocabulary that all ranks share, put into the lists of any schedule. Its actions have the times of
// the simulator at F = B = W; backwards are moved on by an interval per barrier, so that as many forwards more come
// before them, and the passes of the vocabulary stand between at their times. A schedule that knows better says so
// itself (withVocabulary). Source: Yeung et al. 2025, "Balancing Pipeline Parallelism with Vocabulary Parallelism",
// section 5.

import { PASSES } from '../passes.ts';
import { placementOf } from '../placement.ts';
import { remembered } from '../remembered.ts';
import type { Action, PipelineShape, Schedule, SharedForm } from '../schedule.ts';
import { startsOf } from '../simulate.ts';
import { FORMS, inForm } from './forms.ts';
import { vocabularyLists, weave } from './weave.ts';

const UNIT = { F: 1, R: 1, B: 1, W: 1 };
/** F, B and W of a chunk. */
const INTERVAL = 3;

/** Undefined for the interlaced form, which is an order of its own. */
export function sharedAround(base: Schedule, form: SharedForm): Schedule | undefined {
  if (form === 'interlaced') return undefined;
  const { barriers } = FORMS[form];
  const schedule = inForm(
    // Where microbatches go in groups, the head of the next ones comes between.
    base.room ? { ...base, room: (shape) => base.room!(shape) + 1 } : base,
    form,
    remembered((shape) => {
      const placement = placementOf(schedule, shape);
      const starts = startsOf(base, shape, UNIT);
      const wait = barriers * INTERVAL;
      const begin = (kind: Action['kind'], stage: number): Float64Array =>
        beginsOf(base, shape, placement.hosts(stage)[0]!, starts, kind, stage);
      const ends = {
        firstForward: begin('F', 0),
        lastForward: begin('F', placement.chain - 1),
        firstBackward: begin('B', 0).map((time) => time + wait),
      };
      const shared = vocabularyLists(placement, FORMS[form], ends, INTERVAL);
      return (rank) => {
        const actions = base.actions(rank, shape);
        const times = starts[rank]!;
        const of = (direction: 'forward' | 'backward', later: number) => {
          const at = actions.flatMap(({ kind }, i) => (PASSES[kind].direction === direction ? [i] : []));
          return { actions: at.map((i) => actions[i]!), times: Float64Array.from(at, (i) => times[i]! + later) };
        };
        return weave([...shared, of('backward', wait), of('forward', 0)]);
      };
    }),
  );
  return schedule;
}

function beginsOf(
  base: Schedule,
  shape: PipelineShape,
  rank: number,
  starts: readonly Float64Array[],
  kind: Action['kind'],
  stage: number,
): Float64Array {
  const begins = new Float64Array(shape.microbatches);
  for (const [i, action] of base.actions(rank, shape).entries())
    if (action.kind === kind && action.stage === stage) begins[action.microbatch] = starts[rank]![i]!;
  return begins;
}
