// Both ends of watching: a page that is in the room and not in its run asks one of the members for a history and then hears progress; the lowest rank that
// is here tells it, at most once in NEWS_MS, to everybody who watches. No timer: steps make the pace.

import { TabmeshError } from '../../base/errors.ts';
import { atWork } from '../../cluster/membership.ts';
import type { Ending, Presence } from '../../cluster/presence.ts';
import type { Session } from '../../cluster/session.ts';
import type { RankEvent } from '../../../workers/protocol.ts';
import type { PageState } from './page-state.ts';
import type { Plan } from '../plan.ts';
import type { RunView, Sample } from '../run-view.ts';
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
  /** Who forms or trains it, by rank. */
  readonly members: readonly Presence[];
  readonly view: RunView | undefined;
  readonly plan: Plan | undefined;
}

export interface WatchOptions {
  readonly session: () => Pick<Session, 'ask' | 'tell' | 'members' | 'me'> | undefined;
  readonly now: () => number;
  /** The own run, for who asks. */
  readonly own: () => { readonly run: RunView; readonly plan: Plan } | undefined;
  readonly onWatched: (change: Pick<PageState, 'watching' | 'status'> & Partial<Pick<PageState, 'run'>>) => void;
}

export class RoomWatch {
  readonly #options: WatchOptions;
  #watched: Watched | undefined;
  #askedAtMs = -Infinity;
  #toldAtMs = -Infinity;
  readonly #answeredAtMs = new Map<string, number>();
  #pending: { evaluation?: readonly [number, number]; sample?: Sample } = {};

  constructor(options: WatchOptions) { this.#options = options; }

  /** Who is in the room has changed. */
  roster(members: readonly Presence[], me: Presence): void {
    // What we have left ourselves is on our page as we left it.
    const working = me.run ? [] : atWork(members).filter(({ run }) => run!.wish !== me.ended?.wish);
    const run = working[0]?.run?.run;
    if (run === undefined) {
      if (this.#watched) this.#set(undefined);
      return;
    }
    const begun = this.#watched?.run !== run;
    this.#set({ run, members: working, view: begun ? undefined : this.#watched?.view, plan: begun ? undefined : this.#watched?.plan });
    if (begun) this.#askedAtMs = -Infinity;
    if (!this.#watched?.view) this.#ask(working[0]!.address);
  }

  /** Somebody tells about a run. */
  news(run: number, body: unknown, from: Presence): void {
    const watched = this.#watched;
    if (watched?.run !== run) return;
    try {
      if ((body as { kind?: unknown } | null)?.kind === 'history') {
        const { run: view, plan } = viewOf(body);
        this.#set({ ...watched, view, plan });
      } else if (watched.view) {
        applyProgress(watched.view, body);
        this.#set({ ...watched });
      } else this.#ask(from.address);
    } catch (error) {
      if (!(error instanceof TabmeshError)) throw error;
      this.#options.onWatched({ watching: watched.members, status: `what ${from.name} tells about the run makes no sense here (${error.message})` });
    }
  }

  /** A newcomer wants to know. */
  asked(by: Presence): void {
    const own = this.#options.own();
    const now = this.#options.now();
    if (!own || now - (this.#answeredAtMs.get(by.address) ?? -Infinity) < ANSWER_MS) return;
    const here = new Set(this.#options.session()?.members.map(({ address }) => address));
    for (const address of this.#answeredAtMs.keys()) if (!here.has(address)) this.#answeredAtMs.delete(address);
    this.#answeredAtMs.set(by.address, now);
    this.#options.session()?.tell(by.address, historyOf(own.run, own.plan));
  }

  /** Our own rank did something. */
  event(run: RunView, event: RankEvent): void {
    const session = this.#options.session();
    if (!session) return;
    if (event.kind === 'evaluation') this.#pending.evaluation = [event.step, event.loss];
    else if (event.kind === 'sample') this.#pending.sample = cut(event);
    const now = this.#options.now();
    if (event.kind !== 'step' || now - this.#toldAtMs < NEWS_MS) return;
    if (atWork(session.members)[0]?.address !== session.me.address) return;
    const others = session.members.filter(({ run: theirs }) => theirs?.run !== session.me.run?.run);
    if (others.length === 0) return;
    this.#toldAtMs = now;
    const progress: Progress = { kind: 'progress', step: run.step, loss: run.loss.last ?? null, tokensPerSecond: run.tokensPerSecond.last ?? null, ...this.#pending };
    this.#pending = {};
    for (const { address } of others) session.tell(address, progress);
  }

  #ask(address: string): void {
    const now = this.#options.now();
    if (now - this.#askedAtMs < NEWS_MS || !this.#watched) return;
    this.#askedAtMs = now;
    this.#options.session()?.ask(address, this.#watched.run);
  }

  #set(watched: Watched | undefined): void {
    this.#watched = watched;
    if (!watched) {
      const ended = this.#options.session()?.members.map((member) => member.ended).find((end) => end !== undefined);
      return this.#options.onWatched({ watching: undefined, status: `the run of this room is over${ended ? `: ${ENDS[ended.how]} after step ${ended.step}` : ''}` });
    }
    const { members, view } = watched;
    const what = members.every(({ run }) => run?.phase === 'forming') ? 'connect' : view ? `train, step ${view.step} of ${view.config.steps}` : 'train';
    this.#options.onWatched({ watching: members, run: view, status: `watching: ${listNames(members)} ${what}` });
  }
}
