// How the tabs of one bench find each other, signal and ask: one BroadcastChannel of this browser. The host is rank 0; the others answer its roll call and get
// their ranks in the order in which they answered. Each run has a number, new connections and new workers; the tabs stay.

import { AbortedError, TabmeshError } from '../../base/errors.ts';
import { randomHex, realWorld } from '../../base/world.ts';
import type { Call, JobName, Jobs } from '../../bench/collectives/jobs.ts';
import type { BenchTransport, CollectivesSettings } from '../../bench/collectives/link.ts';
import { sentence } from '../plan.ts';
import { RankPage } from './rank-page.ts';

type Message =
  | { readonly kind: 'roll-call' }
  | { readonly kind: 'here'; readonly id: string }
  | { readonly kind: 'begin'; readonly run: number; readonly tuneMs: number; readonly transport: BenchTransport; /** By rank. */ readonly ids: readonly string[] }
  | { readonly kind: 'end'; readonly run: number }
  | { readonly kind: 'gone'; readonly id: string }
  | { readonly kind: 'say'; readonly run: number; readonly from: number; readonly to: number; readonly about: string; readonly data: unknown }
  | { readonly kind: 'ask'; readonly run: number; readonly to: number; readonly number: number; readonly name: JobName; readonly job: unknown }
  | { readonly kind: 'answer'; readonly run: number; readonly number: number; readonly value?: unknown; readonly error?: string };

export interface Meeting { readonly call: Call; /** Rejects when a tab goes away in good order. */ readonly gone: Promise<never>; end(): void }

abstract class Member {
  readonly id = randomHex(realWorld, 8);
  protected readonly channel: BroadcastChannel;
  protected page: RankPage | undefined;
  protected run = 0;
  /** What others said of a run that has not begun here. */
  #early: Extract<Message, { kind: 'say' | 'ask' }>[] = [];

  constructor(room: string) {
    this.channel = new BroadcastChannel(`tabmesh collectives bench ${room}`);
    this.channel.addEventListener('message', ({ data }: MessageEvent<Message>) => this.take(data));
    addEventListener('pagehide', () => this.tell({ kind: 'gone', id: this.id }));
  }

  protected tell(message: Message): void { this.channel.postMessage(message); }

  protected begin({ run, ids, tuneMs, transport }: Omit<Extract<Message, { kind: 'begin' }>, 'kind'>): void {
    this.page?.close();
    this.run = run;
    const rank = ids.indexOf(this.id);
    this.page = new RankPage({ rank, names: ids, run, tuneMs, transport, say: (to, about, data) => this.tell({ kind: 'say', run, from: rank, to, about, data }) });
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

  async #answer({ run, number, name, job }: Extract<Message, { kind: 'ask' }>): Promise<void> {
    try {
      this.tell({ kind: 'answer', run, number, value: await this.page!.perform(name, job as never) });
    } catch (error) {
      this.tell({ kind: 'answer', run, number, error: sentence(error) });
    }
  }
}

/** Rank 0, who asks the others. */
export class Host extends Member {
  readonly #here = new Set<string>();
  #onHere: () => void = () => undefined;
  #ids: readonly string[] = [];
  #onGone: (error: Error) => void = () => undefined;
  #numbers = 0;
  readonly #waiting = new Map<number, { readonly rank: number; readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }>();

  /**
   * Resolves when `size` - 1 other tabs have answered and the run has begun in all. `onWait`: how many are missing. Rejects with AbortedError when `signal` aborts,
   * and after `limitMs`, if given.
   */
  async meet(size: number, { tuneMs, transport }: Pick<CollectivesSettings, 'tuneMs' | 'transport'>, signal: AbortSignal, onWait: (missing: number) => void, limitMs?: number): Promise<Meeting> {
    this.#here.clear();
    await new Promise<void>((resolve, reject) => {
      const stop = (): void => { clearTimeout(timer); reject(new AbortedError()); };
      const timer = limitMs === undefined ? undefined : setTimeout(() => reject(new TabmeshError(`only ${this.#here.size + 1} of ${size} tabs came within ${limitMs / 1000} s`)), limitMs);
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
    this.#ids = [this.id, ...[...this.#here].slice(0, size - 1)];
    const run = Math.max(this.run + 1, Math.floor(Date.now() / 1000) % 2 ** 31);
    const gone = new Promise<never>((_, reject) => { this.#onGone = reject; });
    gone.catch(() => undefined);
    const beginning = { run, tuneMs, transport, ids: this.#ids };
    this.tell({ kind: 'begin', ...beginning });
    this.begin(beginning);
    const place = this.page!;
    return {
      gone,
      call: (rank, name, job) => (rank === 0 ? place.perform(name, job) : this.#ask(rank, name, job)),
      end: () => {
        this.tell({ kind: 'end', run });
        place.close();
        for (const { reject } of this.#waiting.values()) reject(new AbortedError());
        this.#waiting.clear();
      },
    };
  }

  protected override take(message: Message): void {
    if (message.kind === 'here') { this.#here.add(message.id); this.#onHere(); }
    else if (message.kind === 'gone') {
      this.#here.delete(message.id);
      const rank = this.#ids.indexOf(message.id);
      if (rank > 0) this.#onGone(new TabmeshError(`rank ${rank} left: its tab was closed or reloaded; open it again and run anew`));
    } else if (message.kind === 'answer' && message.run === this.run) {
      const waiting = this.#waiting.get(message.number);
      this.#waiting.delete(message.number);
      if (message.error !== undefined) waiting?.reject(new TabmeshError(message.error.startsWith('rank ') ? message.error : `rank ${waiting.rank}: ${message.error}`));
      else waiting?.resolve(message.value);
    } else super.take(message);
  }

  #ask<K extends JobName>(rank: number, name: K, job: Jobs[K]['job']): Promise<Jobs[K]['answer']> {
    return new Promise((resolve, reject) => {
      const number = ++this.#numbers;
      this.#waiting.set(number, { rank, resolve: resolve as (value: unknown) => void, reject });
      this.tell({ kind: 'ask', run: this.run, to: rank, number, name, job });
    });
  }
}

/** Any other rank. */
export class Guest extends Member {
  readonly #onState: (text: string) => void;

  constructor(room: string, onState: (text: string) => void) {
    super(room);
    this.#onState = onState;
    this.tell({ kind: 'here', id: this.id });
    onState('waiting for the tab that runs the bench');
  }

  protected override take(message: Message): void {
    if (message.kind === 'roll-call') this.tell({ kind: 'here', id: this.id });
    else if (message.kind === 'begin') {
      const rank = message.ids.indexOf(this.id);
      if (rank < 0) { this.#onState('there are enough tabs for this run; this one waits for the next'); return; }
      this.begin(message);
      this.#onState(`rank ${rank} of ${message.ids.length}: measuring`);
    } else if (message.kind === 'end' && message.run === this.run) {
      this.page?.close();
      this.page = undefined;
      this.rank = -1;
      this.#onState('the run has ended; this tab waits for the next');
    } else super.take(message);
  }
}
