// The building block for any schedule: its actions with times, of which only the order counts, and between them the
// passes of a vocabulary that all ranks share. A pass of the head stands at the same time on all ranks: S of a
// microbatch a unit after its last forward, what waits for a barrier an interval later. The embedding of a microbatch
// is run one microbatch ahead of its use, its backward one behind. Where a rank is at work at such a time, it does the
// pass next. Source: Yeung et al. 2025, "Balancing Pipeline Parallelism with Vocabulary Parallelism", section 5 and
// appendix C.

import type { Action, PassKind } from '../schedule.ts';
import type { StagePlacement } from '../placement.ts';
import type { Form } from './forms.ts';

/** Actions of one rank in order of time. */
export interface TimedList {
  readonly actions: readonly Action[];
  readonly times: ArrayLike<number>;
}

/** By microbatch, when what the vocabulary depends on begins. */
export interface Ends {
  /** F of the first stage, and of the last one. */
  readonly firstForward: ArrayLike<number>;
  readonly lastForward: ArrayLike<number>;
  /** B of the first stage. */
  readonly firstBackward: ArrayLike<number>;
}

/** The passes of the vocabulary, the same on every rank, with their times. `interval`: from barrier to barrier. */
export function vocabularyLists({ embedding, head }: StagePlacement, form: Form, ends: Ends, interval: number) {
  const { firstForward, lastForward, firstBackward } = ends;
  const m = lastForward.length;
  const list = (kind: PassKind, stage: number, time: (microbatch: number) => number): TimedList => ({
    actions: Array.from({ length: m }, (_, microbatch) => ({ kind, stage, microbatch })),
    times: Float64Array.from({ length: m }, (_, microbatch) => time(microbatch)),
  });
  // Later passes first: what is due at the same time is of earlier microbatches.
  return [
    ...form.head.map((kind, i) => list(kind, head!, (j) => lastForward[j]! + 2 + i * interval)).reverse(),
    list('IB', embedding!, (j) => (j + 1 < m ? firstBackward[j + 1]! : firstBackward[j]! + interval)),
    list('IF', embedding!, (j) => (j > 0 ? firstForward[j - 1]! : firstForward[0]! - 1)),
  ];
}

/** All actions by time; at equal times those of earlier lists first. */
export function weave(lists: readonly TimedList[]): readonly Action[] {
  const next = new Int32Array(lists.length);
  const woven: Action[] = [];
  for (;;) {
    let [first, time] = [-1, Infinity];
    for (let i = 0; i < lists.length; i++) {
      const at = next[i]!;
      const { times, actions } = lists[i]!;
      if (at < actions.length && times[at]! < time) [first, time] = [i, times[at]!];
    }
    if (first < 0) return woven;
    woven.push(lists[first]!.actions[next[first]!++]!);
  }
}
