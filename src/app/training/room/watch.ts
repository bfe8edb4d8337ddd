// Both ends of watching: a page that is in the room and not in its run asks one of the members for a history and then
// hears progress; the lowest rank that is here tells it, at most once in NEWS_MS, to everybody who watches. No timer:
// steps make the pace.

import { TabmeshError } from '../../../base/errors.ts';
import { atWork } from '../../../cluster/membership.ts';
import type { Ending, Presence } from '../../../cluster/presence.ts';
import type { Session } from '../../../cluster/session.ts';
import type { RankEvent } from '../../../../workers/protocol.ts';
import type { PageState } from './page-state.ts';
import type { Job } from '../job.ts';
import type { RunView } from '../run-view.ts';
import { listNames } from './names.ts';
import { applyProgress, cut, historyOf, viewOf } from './news.ts';
import type { Progress } from './news.ts';

const NEWS_MS = 2000;
const ENDS: Readonly<Record<Ending, string>> = { done: 'trained to the end,', stopped: 'stopped', failed: 'failed' };
/** An asker is answered so often. */
const ANSWER_MS = 1000;

/** The run that we watch, as far as we have heard of it. */
export interface Watched {
  readonly run: number;
  readonly wish: number;
  /** Who forms or trains it, by rank. */
  readonly members: readonly Presence[];
  readonly view: RunView | undefined;
  readonly job: Job | undefined;
}

export interface WatchOptions {
  readonly session: () => Pick<Session, 'ask' | 'tell' | 'members' | 'me'> | undefined;
  readonly now: () => number;
  /** What this page knows of the run of this number, for who asks. */
  readonly own: (run: number) => { readonly view: RunView; readonly job: Job } | undefined;
  /** A member has told about this run, at work or over. */
  readonly onKnown: (known: { readonly run: number; readonly view: RunView; readonly job: Job }) => void;
  readonly onWatched: (change: Pick<PageState, 'watching' | 'status'> & Partial<Pick<PageState, 'run'>>) => void;
}

export class RoomWatch {
  readonly #options: WatchOptions;
  #watched: Watched | undefined;
  #askedAtMs = -Infinity;
  #toldAtMs = -Infinity;
  readonly #answeredAtMs = new Map<string, number>();
  /** Whom we have told of the run whose checkpoint we keep, by address. */
  readonly #toldOfPast = new Map<string, number>();
  #pending: Pick<Progress, 'evaluation' | 'accuracy' | 'sample'> = {};

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Who is in the room has changed. */
  roster(members: readonly Presence[], me: Presence): void {
    // What we have left ourselves is on our page as we left it.
    const working = me.run ? [] : atWork(members).filter(({ run }) => run!.wish !== me.ended?.wish);
    const { run, wish } = working[0]?.run ?? {};
    if (run === undefined || wish === undefined) {
      if (this.#watched) this.#set(undefined);
      if (!me.run) {
        this.#askKeeper(members.filter(({ address }) => address !== me.address));
        this.#tellNewcomers(members, me);
      }
      return;
    }
    // A run that goes on after a loss has another wish, and a curve that goes back.
    const begun = this.#watched?.run !== run || this.#watched.wish !== wish;
    this.#set({
      run,
      wish,
      members: working,
      view: begun ? undefined : this.#watched?.view,
      job: begun ? undefined : this.#watched?.job,
    });
    if (begun) this.#askedAtMs = -Infinity;
    if (!this.#watched?.view) this.#ask(working[0]!.address, run);
  }

  /** Somebody tells about a run. */
  news(run: number, body: unknown, from: Presence): void {
    const watched = this.#watched;
    try {
      if (watched?.run !== run) return this.#ofThePast(run, body, from);
      if ((body as { kind?: unknown } | null)?.kind === 'history') {
        const { run: view, job } = viewOf(body);
        this.#options.onKnown({ run, view, job });
        this.#set({ ...watched, view, job });
      } else if (watched.view) {
        applyProgress(watched.view, body);
        this.#set({ ...watched });
      } else this.#ask(from.address, run);
    } catch (error) {
      if (!(error instanceof TabmeshError)) throw error;
      this.#options.onWatched({
        watching: watched?.members,
        status: `what ${from.name} tells about the run makes no sense here (${error.message})`,
      });
    }
  }

  /** A newcomer wants to know. */
  asked(run: number, by: Presence): void {
    const own = this.#options.own(run);
    const now = this.#options.now();
    if (!own || now - (this.#answeredAtMs.get(by.address) ?? -Infinity) < ANSWER_MS) return;
    const here = new Set(this.#options.session()?.members.map(({ address }) => address));
    for (const address of this.#answeredAtMs.keys()) if (!here.has(address)) this.#answeredAtMs.delete(address);
    this.#answeredAtMs.set(by.address, now);
    this.#options.session()?.tell(by.address, run, historyOf(own.view, own.job));
  }

  /** Our own rank did something. */
  event(run: RunView, event: RankEvent): void {
    const session = this.#options.session();
    if (!session) return;
    if (event.kind === 'evaluation') {
      const accuracy = event.accuracy === undefined ? {} : { accuracy: [event.step, event.accuracy] as const };
      this.#pending = { ...this.#pending, evaluation: [event.step, event.loss], ...accuracy };
    } else if (event.kind === 'sample') this.#pending = { ...this.#pending, sample: cut(event) };
    const now = this.#options.now();
    if (event.kind !== 'step' || now - this.#toldAtMs < NEWS_MS) return;
    if (atWork(session.members)[0]?.address !== session.me.address) return;
    const others = session.members.filter(({ run: theirs }) => theirs?.run !== session.me.run?.run);
    if (others.length === 0) return;
    this.#toldAtMs = now;
    const progress: Progress = {
      kind: 'progress',
      step: run.step,
      loss: run.loss.last ?? null,
      tokensPerSecond: run.tokensPerSecond.last ?? null,
      ...this.#pending,
    };
    this.#pending = {};
    for (const { address } of others) session.tell(address, session.me.run!.run, progress);
  }

  /** In a room at rest somebody may keep the checkpoint of a run that we have not seen. */
  #askKeeper(members: readonly Presence[]): void {
    const keeper = members.find(({ holds }) => holds);
    if (keeper && !this.#options.own(keeper.holds!.run)) this.#ask(keeper.address, keeper.holds!.run);
  }

  /**
   * A question may come before its asker is known here, so the oldest who keeps the checkpoint tells everybody of its
   * run once.
   */
  #tellNewcomers(members: readonly Presence[], me: Presence): void {
    const run = me.holds?.run;
    const own = run === undefined ? undefined : this.#options.own(run);
    if (run === undefined || !own || members.find(({ holds }) => holds?.run === run)?.address !== me.address) return;
    for (const { address } of members) {
      if (address === me.address || this.#toldOfPast.get(address) === run) continue;
      this.#toldOfPast.set(address, run);
      this.#options.session()?.tell(address, run, historyOf(own.view, own.job));
    }
    const here = new Set(members.map(({ address }) => address));
    for (const address of this.#toldOfPast.keys()) if (!here.has(address)) this.#toldOfPast.delete(address);
  }

  #ofThePast(run: number, body: unknown, from: Presence): void {
    if (from.holds?.run !== run || this.#options.own(run) || this.#hasOwn()) return;
    const { run: view, job } = viewOf(body);
    this.#options.onKnown({ run, view, job });
  }

  /**
   * Anybody can say that it keeps a run: that takes nothing away that we train, or that the room can still go on with.
   */
  #hasOwn(): boolean {
    const { me, members = [] } = this.#options.session() ?? {};
    return me?.run !== undefined || members.some(({ holds }) => holds && this.#options.own(holds.run));
  }

  #ask(address: string, run: number): void {
    const now = this.#options.now();
    if (now - this.#askedAtMs < NEWS_MS) return;
    this.#askedAtMs = now;
    this.#options.session()?.ask(address, run);
  }

  #set(watched: Watched | undefined): void {
    this.#watched = watched;
    if (!watched) {
      const ended = this.#options
        .session()
        ?.members.map((member) => member.ended)
        .find((end) => end !== undefined);
      return this.#options.onWatched({
        watching: undefined,
        status: `the run of this room is over${ended ? `: ${ENDS[ended.how]} after step ${ended.step}` : ''}`,
      });
    }
    const { members, view } = watched;
    const what = members.every(({ run }) => run?.phase === 'forming')
      ? 'connect'
      : view
        ? `train, step ${view.step} of ${view.config.steps}`
        : 'train';
    this.#options.onWatched({ watching: members, run: view, status: `watching: ${listNames(members)} ${what}` });
  }
}
