// The passes of a pipeline as a table: what each needs, which slots it takes and frees, what it costs and what it
// sends. Validation, slots, simulation and execution are derived from it; a new pass is a row here and an execution in
// the part of the model that runs it. Vocabulary passes after Yeung et al. 2025, section 4; B and W apart after Qi et
// al. 2024, "Zero Bubble Pipeline Parallelism", section 2.

import { PASS_KINDS } from './schedule.ts';
import type { Action, PassKind } from './schedule.ts';
import type { Part, StagePlacement } from './placement.ts';

/**
 * How the result of another action is got. same-rank: it lies on this rank; p2p: a message from its only host, unless
 * that is this rank; barrier: a collective over all hosts of its stage, within the executions, which ends when the last
 * of them has run it.
 */
export type Edge = 'same-rank' | 'p2p' | 'barrier';

export interface Dependency {
  readonly action: Action;
  readonly edge: Edge;
}

/**
 * What is kept of a microbatch, by its life. activation: what B alone needs of the forward; retained: what W needs of
 * the forward; output-gradient: what W needs of B; stage-input: what the forward is made from again; logits: from S to
 * T.
 */
export type SlotClass = 'activation' | 'retained' | 'output-gradient' | 'stage-input' | 'logits';

type Passes = StagePlacement['passes'];

export interface Pass {
  readonly part: Part;
  /** Towards the loss, or back from it: which way a microbatch takes through the stages of blocks. */
  readonly direction: 'forward' | 'backward';
  needs(action: Action, placement: StagePlacement): readonly Dependency[];
  takes(passes: Passes): readonly SlotClass[];
  /** After the pass. */
  frees(passes: Passes): readonly SlotClass[];
  /** The durations that it takes, added up. */
  costs(passes: Passes): readonly PassKind[];
  /** What its result is to another rank. */
  readonly sends?: 'activation' | 'gradient';
}

const none = (): readonly [] => [];
const keeps = (passes: Passes): readonly SlotClass[] => (passes.has('W') ? ['activation', 'retained'] : ['activation']);

function before(kind: PassKind, stage: number | undefined, action: Action, edge: Edge): readonly Dependency[] {
  return stage === undefined ? [] : [{ action: { kind, stage, microbatch: action.microbatch }, edge }];
}

/** Whose results B of stage `stage` turns into gradients, besides what its own forward kept. */
function gradientsOf(action: Action, { chain, head, headGradient }: StagePlacement): readonly Dependency[] {
  if (action.stage < chain - 1) return before('B', action.stage + 1, action, 'p2p');
  return headGradient === undefined ? [] : before(headGradient, head, action, 'barrier');
}

export const PASSES: Readonly<Record<PassKind, Pass>> = {
  IF: { part: 'embedding', direction: 'forward', needs: none, takes: none, frees: none, costs: () => ['IF'] },
  F: {
    part: 'blocks',
    direction: 'forward',
    needs: (action, { embedding }) =>
      action.stage > 0 ? before('F', action.stage - 1, action, 'p2p') : before('IF', embedding, action, 'barrier'),
    takes: (passes) => (passes.has('R') ? ['stage-input'] : keeps(passes)),
    frees: none,
    costs: () => ['F'],
    sends: 'activation',
  },
  S: {
    part: 'head',
    direction: 'forward',
    needs: (action, { chain }) => before('F', chain - 1, action, 'p2p'),
    takes: () => ['logits'],
    frees: none,
    costs: () => ['S'],
  },
  S2: {
    part: 'head',
    direction: 'forward',
    needs: (action) => before('S', action.stage, action, 'barrier'),
    takes: none,
    frees: none,
    costs: () => ['S2'],
  },
  T: {
    part: 'head',
    direction: 'backward',
    needs: (action, { passes }) => before(passes.has('S2') ? 'S2' : 'S', action.stage, action, 'barrier'),
    takes: none,
    frees: () => ['logits'],
    costs: () => ['T'],
  },
  R: {
    part: 'blocks',
    direction: 'backward',
    needs: (action) => before('F', action.stage, action, 'same-rank'),
    takes: keeps,
    frees: none,
    costs: () => ['R'],
  },
  B: {
    part: 'blocks',
    direction: 'backward',
    needs: (action, placement) => [
      ...before(placement.passes.has('R') ? 'R' : 'F', action.stage, action, 'same-rank'),
      ...gradientsOf(action, placement),
    ],
    takes: (passes) => (passes.has('W') ? ['output-gradient'] : []),
    // B reads the stage's inputs, too: the first layer's weights get their gradient from them.
    frees: (passes) => (passes.has('R') ? ['activation', 'stage-input'] : ['activation']),
    costs: (passes) => (passes.has('W') ? ['B'] : ['B', 'W']),
    sends: 'gradient',
  },
  W: {
    part: 'blocks',
    direction: 'backward',
    needs: (action) => before('B', action.stage, action, 'same-rank'),
    takes: none,
    frees: () => ['retained', 'output-gradient'],
    costs: () => ['W'],
  },
  IB: {
    part: 'embedding',
    direction: 'backward',
    needs: (action) => before('B', 0, action, 'p2p'),
    takes: none,
    frees: none,
    costs: () => ['IB'],
  },
};

/** 'F2@1' is the forward of microbatch 2 on stage 1; 'S2.0@5' pass S2 of microbatch 0, not S of microbatch 20. */
export function formatAction(action: Action): string {
  return `${formatPass(action)}@${action.stage}`;
}

/** An action without its stage. */
export function formatPass({ kind, microbatch }: Pick<Action, 'kind' | 'microbatch'>): string {
  return kind === 'S2' ? `S2.${microbatch}` : `${kind}${microbatch}`;
}

/**
 * Messages from one rank to another go in streams that do not hold each other up: by direction, and apart those that
 * bring the last hidden states to the head and the first gradient to the embedding of all ranks.
 */
export function streamOf(consumer: Action, source: Action, { part }: StagePlacement): string {
  return `${PASSES[source.kind].sends} ${part(consumer.stage)}`;
}

/** The passes of a schedule that run on stages of `part`, in the order of a microbatch's way. */
export function passesOf(passes: Passes, part: Part): readonly PassKind[] {
  return PASS_KINDS.filter((kind) => passes.has(kind) && PASSES[kind].part === part);
}

/** Which passes of a stage may use what is kept in each class: from the one that takes it to the one that frees it. */
export function slotLives(passes: Passes, part: Part): ReadonlyMap<SlotClass, readonly PassKind[]> {
  const kinds = passesOf(passes, part);
  const lives = new Map<SlotClass, readonly PassKind[]>();
  for (const [from, kind] of kinds.entries()) {
    for (const name of PASSES[kind].takes(passes)) {
      const to = kinds.findIndex((other) => PASSES[other].frees(passes).includes(name));
      lives.set(name, kinds.slice(from, to + 1));
    }
  }
  return lives;
}

/** The passes between which something of a microbatch is kept on a stage of blocks. */
export function lifeOnBlocks(passes: Passes): { readonly first: PassKind; readonly last: PassKind } {
  const kinds = passesOf(passes, 'blocks');
  return {
    first: kinds.find((kind) => PASSES[kind].takes(passes).length > 0)!,
    last: kinds.findLast((kind) => PASSES[kind].frees(passes).length > 0)!,
  };
}
