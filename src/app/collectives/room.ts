// How the tabs of one bench find each other, signal and ask, over whatever they talk by (talk.ts). The host is rank 0;
// the others answer its roll call and get their ranks in the order in which they answered. Each run has a number, new
// connections and new workers; the tabs stay.

import { AbortedError, TabmeshError } from '../../base/errors.ts';
import { randomHex, realWorld } from '../../base/world.ts';
import type { Call, RequestName, Requests } from '../../bench/collectives/requests.ts';
import type { BenchTransport, CollectivesSettings, MeetBy } from '../../bench/collectives/link.ts';
import { sentence } from '../shared/sentence.ts';
import { RankPage } from './rank-page.ts';
import type { Talk, TalkEvents } from './talk.ts';

type Message =
  | { readonly kind: 'roll-call' }
  | { readonly kind: 'here'; readonly id: string }
  | {
      readonly kind: 'begin';
      readonly run: number;
      readonly tuneMs: number;
      readonly transport: BenchTransport;
      /** By rank. */ readonly ids: readonly string[];
    }
  | { readonly kind: 'end'; readonly run: number }
  | { readonly kind: 'gone'; readonly id: string }
  | {
      readonly kind: 'say';
      readonly run: number;
      readonly from: number;
      readonly to: number;
      readonly about: string;
      readonly data: unknown;
    }
  | {
      readonly kind: 'ask';
      readonly run: number;
      readonly to: number;
      readonly number: number;
      readonly name: RequestName;
      readonly request: unknown;
    }
  | {
      readonly kind: 'answer';
      readonly run: number;
      readonly number: number;
      readonly value?: unknown;
      readonly error?: string;
    };

export interface Meeting {
  readonly call: Call;
  /** Rejects when a tab goes away, in good order or not. */ readonly gone: Promise<never>;
  end(): void;
}

abstract class Member {
  readonly id = randomHex(realWorld, 8);
  protected page: RankPage | undefined;
  protected run = 0;
  #talk: Talk | undefined;
  /** By rank. */
  #ids: readonly string[] = [];
  /** What others said of a run that has not begun here. */
  #early: Extract<Message, { kind: 'say' | 'ask' }>[] = [];

  constructor() {
    addEventListener('pagehide', () => this.tell({ kind: 'gone', id: this.id }));
  }

  /** Rejects with AbortedError as soon as `signal` aborts. */
  protected async open(
    openTalk: (id: string, events: TalkEvents) => Promise<Talk>,
    signal?: AbortSignal,
  ): Promise<Talk> {
    this.#talk?.close();
    this.#talk = undefined;
    const opening = openTalk(this.id, {
      onMessage: (message) => this.take(message as Message),
      onPeer: () => this.onPeer(),
      onGone: (id) => this.onGone(id),
    });
    return (this.#talk = await (signal ? unlessAborted(opening, signal) : opening));
  }

  protected onPeer(): void {
    /* most have nothing to say to a newcomer */
  }
  protected onGone(_id: string): void {
    /* the host decides */
  }

  /** To one rank, or to all. */
  protected tell(message: Message, rank?: number): void {
    this.#talk?.tell(message, rank === undefined ? undefined : this.#ids[rank]);
  }

  protected begin({ run, ids, tuneMs, transport }: Omit<Extract<Message, { kind: 'begin' }>, 'kind'>): void {
    this.page?.close();
    this.run = run;
    this.#ids = ids;
    const rank = ids.indexOf(this.id);
    this.page = new RankPage({
      rank,
      names: ids,
      run,
      tuneMs,
      transport,
      say: (to, about, data) => this.tell({ kind: 'say', run, from: rank, to, about, data }, to),
    });
    this.rank = rank;
    for (const message of this.#early.splice(0)) if (message.run === run) this.take(message);
  }

  protected rank = -1;

  protected take(message: Message): void {
    if (message.kind !== 'say' && message.kind !== 'ask') return;
    if (message.run > this.run) this.#early.push(message);
    else if (message.run === this.run && message.to === this.rank) {
      if (message.kind === 'say') this.page!.hear(message.from, message.about, message.data);
      else void this.#answer(message);
    }
  }

  async #answer({ run, number, name, request }: Extract<Message, { kind: 'ask' }>): Promise<void> {
    try {
      this.tell({ kind: 'answer', run, number, value: await this.page!.perform(name, request as never) }, 0);
    } catch (error) {
      this.tell({ kind: 'answer', run, number, error: sentence(error) }, 0);
    }
  }
}

/** Nobody waits for a talk that is not wanted any more; one that opens all the same is closed. */
function unlessAborted(opening: Promise<Talk>, signal: AbortSignal): Promise<Talk> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(new AbortedError());
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    opening.then((talk) => {
      signal.removeEventListener('abort', stop);
      if (signal.aborted) talk.close();
      else resolve(talk);
    }, reject);
  });
}

export type OpenTalk = (meet: MeetBy, id: string, events: TalkEvents) => Promise<Talk>;

/** Rank 0, who asks the others. */
export class Host extends Member {
  readonly #openTalk: OpenTalk;
  #meets: MeetBy | undefined;
  readonly #here = new Set<string>();
  #onHere: () => void = () => undefined;
  #members: readonly string[] = [];
  #onGone: (error: Error) => void = () => undefined;
  #numbers = 0;
  readonly #waiting = new Map<
    number,
    { readonly rank: number; readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }
  >();

  constructor(openTalk: OpenTalk) {
    super();
    this.#openTalk = openTalk;
  }

  /**
   * Resolves when `size` - 1 other tabs have answered and the run has begun in all. `onWait`: how many are missing.
   * Rejects with AbortedError when `signal` aborts, and after `limitMs`, if given.
   */
  async meet(
    size: number,
    { tuneMs, transport, meet }: Pick<CollectivesSettings, 'tuneMs' | 'transport' | 'meet'>,
    signal: AbortSignal,
    onWait: (missing: number) => void,
    limitMs?: number,
  ): Promise<Meeting> {
    this.#here.clear();
    if (this.#meets !== meet) {
      this.#meets = undefined;
      await this.open((id, events) => this.#openTalk(meet, id, events), signal);
      this.#meets = meet;
    }
    await new Promise<void>((resolve, reject) => {
      const stop = (): void => {
        clearTimeout(timer);
        reject(new AbortedError());
      };
      const timer =
        limitMs === undefined
          ? undefined
          : setTimeout(
              () =>
                reject(new TabmeshError(`only ${this.#here.size + 1} of ${size} tabs came within ${limitMs / 1000} s`)),
              limitMs,
            );
      signal.addEventListener('abort', stop, { once: true });
      this.#onHere = () => {
        onWait(Math.max(0, size - 1 - this.#here.size));
        if (this.#here.size < size - 1) return;
        clearTimeout(timer);
        signal.removeEventListener('abort', stop);
        resolve();
      };
      this.tell({ kind: 'roll-call' });
      this.#onHere();
    });
    this.#onHere = () => undefined;
    this.#members = [this.id, ...[...this.#here].slice(0, size - 1)];
    const run = Math.max(this.run + 1, Math.floor(Date.now() / 1000) % 2 ** 31);
    const gone = new Promise<never>((_, reject) => {
      this.#onGone = reject;
    });
    gone.catch(() => undefined);
    const beginning = { run, tuneMs, transport, ids: this.#members };
    this.tell({ kind: 'begin', ...beginning });
    this.begin(beginning);
    const place = this.page!;
    return {
      gone,
      call: (rank, name, request) => (rank === 0 ? place.perform(name, request) : this.#ask(rank, name, request)),
      end: () => {
        this.#onGone = () => undefined;
        this.tell({ kind: 'end', run });
        place.close();
        for (const { reject } of this.#waiting.values()) reject(new AbortedError());
        this.#waiting.clear();
      },
    };
  }

  protected override take(message: Message): void {
    if (message.kind === 'here') {
      this.#here.add(message.id);
      this.#onHere();
    } else if (message.kind === 'gone') this.#lose(message.id, 'left: its tab was closed or reloaded');
    else if (message.kind === 'answer' && message.run === this.run) {
      const waiting = this.#waiting.get(message.number);
      this.#waiting.delete(message.number);
      if (message.error !== undefined)
        waiting?.reject(
          new TabmeshError(
            message.error.startsWith('rank ') ? message.error : `rank ${waiting.rank}: ${message.error}`,
          ),
        );
      else waiting?.resolve(message.value);
    } else super.take(message);
  }

  protected override onGone(id: string): void {
    this.#lose(id, 'is gone: its tab crashed, was closed or lost its connection');
  }

  #lose(id: string, how: string): void {
    this.#here.delete(id);
    this.#onHere();
    const rank = this.#members.indexOf(id);
    if (rank > 0) this.#onGone(new TabmeshError(`rank ${rank} ${how}; open it again and run anew`));
  }

  #ask<K extends RequestName>(rank: number, name: K, request: Requests[K]['request']): Promise<Requests[K]['answer']> {
    return new Promise((resolve, reject) => {
      const number = ++this.#numbers;
      this.#waiting.set(number, { rank, resolve: resolve as (value: unknown) => void, reject });
      this.tell({ kind: 'ask', run: this.run, to: rank, number, name, request }, rank);
    });
  }
}

/** Any other rank. */
export class Guest extends Member {
  readonly #onState: (text: string) => void;
  #host: string | undefined;

  /** Joins at once; why it cannot is told as its state. */
  constructor(openTalk: (id: string, events: TalkEvents) => Promise<Talk>, onState: (text: string) => void) {
    super();
    this.#onState = onState;
    onState('looking for the tab that runs the bench');
    this.open(openTalk).then(
      ({ over }) => {
        this.onPeer();
        onState(`waiting for the tab that runs the bench (${over})`);
      },
      (error: unknown) => onState(sentence(error)),
    );
  }

  protected override onPeer(): void {
    this.tell({ kind: 'here', id: this.id });
  }

  protected override onGone(id: string): void {
    if (id !== this.#host || this.rank < 0) return;
    this.#leave();
    this.#onState('the tab that runs the bench is gone; this one waits for the next');
  }

  protected override take(message: Message): void {
    if (message.kind === 'roll-call') this.onPeer();
    else if (message.kind === 'begin') {
      const rank = message.ids.indexOf(this.id);
      if (rank < 0) {
        this.#onState('there are enough tabs for this run; this one waits for the next');
        return;
      }
      this.#host = message.ids[0];
      this.begin(message);
      this.#onState(`rank ${rank} of ${message.ids.length}: measuring`);
    } else if (message.kind === 'end' && message.run === this.run) {
      this.#leave();
      this.#onState('the run has ended; this tab waits for the next');
    } else super.take(message);
  }

  #leave(): void {
    this.page?.close();
    this.page = undefined;
    this.rank = -1;
  }
}
