// Going on with a run of the room from its last checkpoint: who keeps one says so in its presence, anybody who knows
// the run may propose to go on, and if the job says so the oldest of those who keep the latest checkpoint does it
// after a loss, without being asked. A proposal is a wish like any other: it waits in the room until enough tabs are
// here, and whoever lacks the checkpoint gets it over the mesh.

import { worldSize } from '../../../base/axis.ts';
import type { Evidence } from '../../../base/errors.ts';
import { atWork } from '../../../cluster/membership.ts';
import { byAge } from '../../../cluster/presence.ts';
import type { Holds, Presence } from '../../../cluster/presence.ts';
import type { Session, Wanted } from '../../../cluster/session.ts';
import { configOf } from '../job.ts';
import type { Job } from '../job.ts';
import type { RunView } from '../run-view.ts';
import type { PageState } from './page-state.ts';

/** A run of this room, as far as this page has seen it. */
export interface KnownRun {
  readonly run: number;
  readonly job: Job;
  readonly view: RunView;
  /** Identities of those who trained it with us; absent when we only heard of it. */
  readonly group?: readonly string[];
}

export interface ResumeContext {
  readonly session: () => Pick<Session, 'members' | 'me'> | undefined;
  readonly state: () => PageState;
  readonly change: (change: Partial<PageState>) => void;
  readonly propose: (wanted: Wanted) => void;
}

/** How a run ends when a tab is lost. What a tab did wrong is no loss: it would do it again. */
const LOST: ReadonlySet<Evidence> = new Set(['closed', 'left', 'silent', 'slow', 'device-lost', 'crashed']);
/** So often the room goes on by itself from one step; after that somebody has to want it. */
const MOST_TRIES = 3;

export class RoomResume {
  readonly #context: ResumeContext;
  #known: KnownRun | undefined;
  /** Our run was lost, and its job says that the room goes on. */
  #automatic = false;
  #tries = { step: -1, count: 0 };

  constructor(context: ResumeContext) {
    this.#context = context;
  }

  get known(): KnownRun | undefined {
    return this.#known;
  }

  /** This page takes part in a run, or hears of one. */
  know(known: KnownRun): void {
    const before = this.#known?.run === known.run ? this.#known.group : undefined;
    const group = known.group && before ? [...new Set([...before, ...known.group])] : (known.group ?? before);
    this.#known = group ? { ...known, group } : known;
  }

  /** What the page has shown of the run that is formed again; `number` is the run's. */
  before(number: number): RunView | undefined {
    return this.#known?.run === number ? this.#known.view : undefined;
  }

  /** Our run is over. */
  ended(how: { readonly evidence?: Evidence | undefined }): void {
    this.#automatic = this.#known?.job.onLoss === 'resume' && how.evidence !== undefined && LOST.has(how.evidence);
  }

  /** The person takes the wish back, or begins something else. */
  declined(): void {
    this.#automatic = false;
  }

  /** Somebody has stopped this run: it does not go on by itself. */
  stopped(run: number): void {
    if (this.#known?.run === run) this.declined();
  }

  /** What a person does next after a loss, for the end of a sentence. */
  get advice(): string {
    return this.#automatic
      ? '; the room goes on from the last checkpoint when enough tabs are here'
      : '; train again when enough tabs are in the room';
  }

  /** Who is in the room has changed, or what they keep. */
  roster(): void {
    const { session, state, change } = this.#context;
    const here = session();
    const best = this.#best();
    const offered = here && best && !here.me.wants && !here.me.run ? best.holds.step : undefined;
    if (state().goOn !== offered) change({ goOn: offered });
    if (!here || !best) return;
    const wisher = here.members.find(({ wants }) => wants?.run === best.holds.run);
    if (wisher) this.#tellWaiting(wisher, best.holds.step);
    else if (this.#automatic && best.oldest.address === here.me.address) this.#goOnByItself(best.holds.step);
  }

  /** Proposes to go on. Throws RoomError as Session.propose does. */
  goOn(): void {
    const best = this.#best();
    if (!best || !this.#known) return;
    this.#context.propose({
      worldSize: worldSize(configOf(this.#known.job).layout),
      run: best.holds.run,
      plan: resumed(this.#known.job, best.holds),
    });
  }

  /**
   * The latest checkpoint of the known run, and the oldest member who keeps it; undefined while the room is at work,
   * and when there is nothing left to train.
   */
  #best(): { readonly holds: Holds; readonly oldest: Presence } | undefined {
    const here = this.#context.session();
    const known = this.#known;
    if (!here || !known || atWork(here.members).length > 0) return undefined;
    const keepers = here.members
      .filter(({ holds }) => holds?.run === known.run && holds.step < known.view.config.steps)
      .sort((a, b) => b.holds!.step - a.holds!.step || byAge(a, b));
    // Anybody can say that it keeps a later one, and nobody could go on from it: those who trained the run are believed
    // first.
    const first = keepers.find(({ id }) => known.group?.includes(id)) ?? keepers[0];
    return first && { holds: first.holds!, oldest: first };
  }

  #goOnByItself(step: number): void {
    this.#tries = { step, count: this.#tries.step === step ? this.#tries.count + 1 : 1 };
    if (this.#tries.count <= MOST_TRIES) return this.goOn();
    this.#automatic = false;
    this.#context.change({
      status: `the run was lost ${MOST_TRIES} times since step ${step}, so it does not go on by itself any more`,
    });
  }

  #tellWaiting(wisher: Presence, step: number): void {
    const { session, state, change } = this.#context;
    const { members, me } = session()!;
    const missing = wisher.wants!.worldSize - members.filter(({ role }) => role === 'trainer').length;
    if (wisher.address === me.address || missing <= 0 || !['idle', 'done', 'failed'].includes(state().phase)) return;
    change({
      status: `${wisher.name} goes on from step ${step} when ${missing} more tab${missing === 1 ? ' is' : 's are'} here`,
    });
  }
}

/** The job of a run that goes on from a checkpoint, which has model and tokenizer within. */
export function resumed(
  { files: { weights: _, checkpoint: __, ...files }, shared: { weights: ___, ...shared } = {}, ...job }: Job,
  { run, step, hash, bytes }: Holds,
): Job {
  return {
    ...job,
    files,
    shared: { ...shared, checkpoint: { name: `checkpoint of step ${step}`, bytes, hash } },
    from: { run, step },
  };
}
