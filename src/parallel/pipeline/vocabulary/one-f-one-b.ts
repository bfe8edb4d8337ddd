// 1F1B with a vocabulary that all ranks share. The building block puts one interval per barrier between F and B of the
// last stage; in each interval a rank runs one F, one B and one vocabulary slot: T of an earlier microbatch with S of
// the next one. Makespan m(F + B + S + T) + (p - 1)(F + B) for alg1 where B = 2F, less T for alg2 and as many
// microbatches in flight as barriers more than 1F1B. The order is that of the released code (sail-sg/
// VocabularyParallelism, vocab_parallel_schedule.py) of Yeung et al. 2025, section 5 and appendix C.
//
// The interlaced pipeline is the paper's baseline (appendix B): all ranks run S and T of a microbatch at the same time,
// between their rounds of F and B, so a microbatch goes through two ranks per interval on its way forth and one on its
// way back, and 1.5 p are in flight. Source: Lin et al. 2024, "nnScaler: Constraint-Guided Parallelization Plan
// Generation for Deep Learning Training".

import type { Action, PassKind, PipelineShape, Schedule, SharedForm } from '../schedule.ts';
import { FORMS, inForm } from './forms.ts';

/** 1F1B, given as `base`, with the passes of `form`. */
export function sharedVocabulary(base: Schedule, form: SharedForm): Schedule {
  return inForm(base, form, (rank, shape) =>
    form === 'interlaced' ? interlaced(rank, shape) : byBlock(rank, shape, form),
  );
}

/** What a rank does in a round of the steady state: backward, vocabulary slot, forward; or backward, forward, slot. */
type Round = 'BSF' | 'BFS';

/** How long a forward and a whole backward take, for the order of rounds. */
const [F, B] = [1, 2];

/**
 * From the last rank to `rank`: its round, and how many vocabulary slots more than the last rank it runs before its
 * first backward. A rank works B later than the one after it; its slot stays near that of the last one by turns.
 */
function roundOf(rank: number, ranks: number): { readonly round: Round; readonly extra: number } {
  let [offset, extra, given] = [0, 0, false];
  let round: Round = 'BSF';
  for (let r = ranks - 1; r >= rank; r--) {
    const after = round;
    if (given) {
      round = 'BSF';
      given = false;
    } else if (offset - F >= -B) {
      round = 'BSF';
      offset -= F;
    } else {
      round = 'BFS';
      offset += B - F;
      given = true;
    }
    if (r < ranks - 1 && !(after === 'BFS' && round === 'BSF')) extra++;
  }
  return { round, extra };
}

function byBlock(rank: number, shape: PipelineShape, form: SharedForm): readonly Action[] {
  const { ranks: p, microbatches: m } = shape;
  const { head, barriers } = FORMS[form];
  const { round, extra } = roundOf(rank, p);
  const list = new List(rank, shape, { F: rank, B: Math.ceil((rank * B) / (F + B)) });
  const slots = m + head.length - 1;
  let slot = 0;
  const runSlot = (): void => {
    if (slot === slots) return;
    // The oldest microbatch first.
    for (let i = head.length - 1; i >= 0; i--) list.add(head[i]!, slot - i);
    slot++;
  };
  for (let i = 0; i < p - rank; i++) list.forward();
  for (let i = 0; i < barriers; i++) {
    runSlot();
    list.forward();
  }
  for (let i = 0; i < extra; i++) runSlot();
  for (let i = 0; i < m; i++) {
    list.backward();
    if (round === 'BSF') runSlot();
    list.forward();
    if (round === 'BFS') runSlot();
  }
  while (slot < slots) runSlot();
  return list.end();
}

/**
 * All ranks run S and T of microbatch j at the beginning of interval j of F + B; the even ranks F before B, the odd
 * ones B before F. When a rank does what, in F, follows; the order of its list is that of these times.
 */
function interlaced(rank: number, { ranks: p, microbatches: m }: PipelineShape): readonly Action[] {
  const interval = F + B;
  const next = (from: number, at: number): number => from + ((((at - from) % interval) + interval) % interval);
  const begins = { F: new Array<number>(p), B: new Array<number>(p) };
  let time = 0;
  for (let r = 0; r < p; r++) {
    begins.F[r] = next(time, r % 2 ? B : 0);
    time = begins.F[r]! + F;
  }
  const slot = next(time, 0);
  time = slot;
  for (let r = p - 1; r >= 0; r--) {
    begins.B[r] = next(time, r % 2 ? 0 : F);
    time = begins.B[r]! + B;
  }
  // At equal times the slot comes first; the embedding is run an interval before its use, its backward one after.
  const streams: readonly (readonly [PassKind, number])[] = [
    ['S', slot],
    ['T', slot],
    ['IB', time + interval - F],
    ['IF', -interval],
    ['F', begins.F[rank]!],
    ['B', begins.B[rank]!],
  ];
  const timed = streams.flatMap(([kind, at], order) =>
    Array.from({ length: m }, (_, microbatch) => ({ kind, microbatch, order, at: at + microbatch * interval })),
  );
  timed.sort((one, other) => one.at - other.at || one.order - other.order);
  return timed.map(({ kind, microbatch }) => ({ kind, stage: stageOf(kind, rank, p), microbatch }));
}

/** The stage of a pass on rank `rank` of `ranks`: its own, or that of the embedding or the head. */
function stageOf(kind: PassKind, rank: number, ranks: number): number {
  return kind === 'F' || kind === 'B' ? rank : ranks + (kind === 'IF' || kind === 'IB' ? 0 : 1);
}

/** The list of a rank as it grows; the embedding is run a round before it is needed, its backward a round after. */
class List {
  readonly #actions: Action[] = [];
  readonly #rank: number;
  readonly #ranks: number;
  readonly #microbatches: number;
  readonly #lead: { readonly F: number; readonly B: number };
  #forwards = 0;
  #backwards = 0;
  #embedded = 0;
  #returned = 0;

  /** `lead`: by how many microbatches rank 0 is ahead of this one in forwards, and behind it in backwards. */
  constructor(rank: number, { ranks, microbatches }: PipelineShape, lead: { readonly F: number; readonly B: number }) {
    this.#rank = rank;
    this.#ranks = ranks;
    this.#microbatches = microbatches;
    this.#lead = lead;
  }

  /** Nothing for a microbatch that there is not. */
  add(kind: PassKind, microbatch: number): void {
    if (microbatch < 0 || microbatch >= this.#microbatches) return;
    this.#actions.push({ kind, stage: stageOf(kind, this.#rank, this.#ranks), microbatch });
  }

  forward(): void {
    while (this.#embedded < Math.min(this.#microbatches, this.#forwards + 2 + this.#lead.F))
      this.add('IF', this.#embedded++);
    this.add('F', this.#forwards);
    this.#forwards = Math.min(this.#forwards + 1, this.#microbatches);
  }

  backward(): void {
    this.add('B', this.#backwards++);
    if (this.#returned < this.#backwards - 1 - this.#lead.B) this.add('IB', this.#returned++);
  }

  end(): readonly Action[] {
    while (this.#returned < this.#microbatches) this.add('IB', this.#returned++);
    return this.#actions;
  }
}
