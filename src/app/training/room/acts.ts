// What people do to a run: pause, go on, stop, save, sample. In a room everybody in it is told, and each page does its
// own part when it hears, the one whose person pressed the button included; so a pause is everybody's, with one limit,
// and a stop ends a pause wherever it began.

import type { World } from '../../../base/world.ts';
import type { SampleAsk } from '../../../train/beside/ask.ts';
import type { Act } from '../../../cluster/messages.ts';
import type { Presence } from '../../../cluster/presence.ts';
import type { Session } from '../../../cluster/session.ts';
import type { PageState } from './page-state.ts';
import type { RankHost } from '../rank-host.ts';
import type { RunView } from '../run-view.ts';
import { actSentence } from './names.ts';

/** A paused run goes on by itself after this, so that nobody can hold a room for good. */
export const PAUSE_LIMIT_MS = 5 * 60_000;
const LIMIT = `${PAUSE_LIMIT_MS / 60_000} min`;
/** Who stops before the first step waits so long for the others to hear of it. */
const FAREWELL_MS = 1000;

/** Status while a run that does not train writes or saves. */
const SERVING = { sample: 'writing', save: 'saving' } as const;

const ALONE: Readonly<Record<Act, string>> = {
  pause: 'paused',
  resume: 'training',
  stop: 'stopped',
  save: 'saving after this step',
  sample: 'sampling after this step',
};

export interface ActContext {
  readonly world: World;
  readonly state: () => PageState;
  readonly change: (change: Partial<PageState>) => void;
  readonly session: () => Session | undefined;
  readonly hosts: () => readonly RankHost[];
  /** The hosts, which are ours to end from now on. */
  readonly takeHosts: () => readonly RankHost[];
  /** The next checkpoint is wanted as a file on this page. */
  readonly wantFile: () => void;
  /** Somebody does not want this run any more. */
  readonly onStop: (run: number) => void;
}

export class RunActs {
  readonly #context: ActContext;
  /** Number of a run that was stopped before we had heard that it starts. */
  #stopped: number | undefined;
  #cancelPause = (): void => {};
  #onRoster = (): void => {};
  /** What the person at this page wants the model to write, until it is told to its rank. */
  #ask: SampleAsk | undefined;
  /** Status of the run that does not train, before it was asked to write or save. */
  #waiting = '';

  constructor(context: ActContext) {
    this.#context = context;
  }

  /** The person at this page wants something. */
  want(act: Act, ask?: SampleAsk): void {
    this.#ask = ask;
    const session = this.#context.session();
    if (session?.me.run) session.act(act);
    else this.#perform(act, ALONE[act], true);
  }

  /** A member of the run `run` wants something; `by` may be ourselves. */
  heard(run: number, act: Act, by: Presence): void {
    const me = this.#context.session()?.me;
    const text = actSentence(act, by, me);
    if (act === 'stop') this.#context.onStop(run);
    if (me?.run?.run !== run) return this.#context.change({ status: text });
    if (act === 'stop' && me.run.phase === 'forming') this.#stopped = run;
    else this.#perform(act, text, by.address === me.address);
  }

  /** Whether a run that starts now was stopped before; it is ended then. */
  stoppedEarly(run: number): boolean {
    if (this.#stopped !== run) return false;
    void this.#endEarly('the run was stopped before the first step');
    return true;
  }

  /** The run is over, or another begins. */
  over(): void {
    this.#cancelPause();
    this.#stopped = undefined;
  }

  /** It has written or saved. */
  served(act: keyof typeof SERVING): void {
    if (this.#context.state().status === SERVING[act]) this.#context.change({ status: this.#waiting });
  }

  /** Who is in the room has changed. */
  roster(): void {
    this.#onRoster();
  }

  #perform(act: Act, text: string, mine: boolean): void {
    const { phase, run, stays } = this.#context.state();
    const waits = phase === 'paused' || (stays && (act === 'save' || act === 'sample'));
    if (!run || !(waits || phase === 'training' || phase === 'stopping')) return;
    switch (act) {
      case 'pause':
        if (phase !== 'training') return;
        this.#tellHosts((host) => host.pause());
        this.#cancelPause = this.#context.world.timer(PAUSE_LIMIT_MS, () =>
          this.#perform('resume', `paused for ${LIMIT}; the run goes on by itself`, false),
        );
        return this.#context.change({
          phase: 'paused',
          status: `${text}; it goes on by itself after ${LIMIT} at the latest`,
        });
      case 'resume':
        this.#cancelPause();
        if (phase !== 'paused') return;
        this.#tellHosts((host) => host.resume());
        return this.#context.change({ phase: 'training', status: text });
      case 'stop':
        if (phase === 'stopping') return;
        this.#cancelPause();
        if (!run.ready) {
          void this.#endEarly(`${text} before the first step`);
          return;
        }
        this.#tellHosts((host) => host.request({ stop: true, save: true }));
        return this.#context.change({ phase: 'stopping', status: `${text}; the run ends after this step` });
      case 'save': {
        const first = run.ranks[0]!;
        if (mine) this.#tellOne((host) => host.request({ save: true }));
        else if (waits) this.#ring(run);
        if (mine && first.own) this.#context.wantFile();
        if (mine && !first.own) {
          const when = waits ? '' : ' after this step';
          return this.#context.change({ status: `rank 0 (${first.name || 'another tab'}) saves${when}` });
        }
        return waits && mine ? this.#serve('save') : this.#context.change({ status: text });
      }
      case 'sample':
        if (mine) this.#tellOne((host) => host.request({ sample: this.#ask ?? true }));
        else if (waits) this.#ring(run);
        return waits && mine ? this.#serve('sample') : this.#context.change({ status: text });
    }
  }

  #serve(act: keyof typeof SERVING): void {
    const { status } = this.#context.state();
    if (!Object.values<string>(SERVING).includes(status)) this.#waiting = status;
    this.#context.change({ status: SERVING[act] });
  }

  /** Nobody waits for kernels that nobody wants: the workers are ended, once the others have heard why. */
  async #endEarly(text: string): Promise<void> {
    const { state, change, takeHosts, world } = this.#context;
    const { run } = state();
    const session = this.#context.session();
    const number = session?.me.run?.run;
    const hosts = takeHosts();
    change({ phase: 'stopping', status: text });
    session?.finish('stopped', 0);
    if (session) {
      await new Promise<void>((heard) => {
        const cancel = world.timer(FAREWELL_MS, heard);
        this.#onRoster = () => {
          if (session.members.some((member) => member.run?.run === number)) return;
          cancel();
          heard();
        };
        this.#onRoster();
      });
      this.#onRoster = () => {};
    }
    for (const host of hosts) host.close(0);
    if (state().run === run) change({ phase: 'idle', status: text });
  }

  /** Ranks that wait listen to rank 0 alone: it hears that another has a wish. */
  #ring(run: RunView): void {
    if (run.ranks[0]!.own) this.#tellOne((host) => host.request({}));
  }

  /** One rank's wish reaches all with the step; of two ranks that are asked at different steps there would be two. */
  #tellOne(call: (host: RankHost) => Promise<void>): void {
    const [host] = this.#context.hosts();
    if (host) call(host).catch(() => {});
  }

  #tellHosts(call: (host: RankHost) => Promise<void>): void {
    // A worker that fails here fails its run too, and that is where it is told.
    for (const host of this.#context.hosts()) call(host).catch(() => {});
  }
}
