// How far a run of all tests is and how long it will go on, from what the same files took before. The pace of this run
// scales the rest: a busy or slow machine is seen after a minute. A pure state; the test command feeds it and prints
// its lines.

/** Seconds of the test files of one kind, by path. */
export interface KindSeconds {
  /** From start to end of the kind; less than the sum where files run side by side. */
  readonly wall: number;
  readonly files: Readonly<Record<string, number>>;
}

export type Durations = Readonly<Record<string, KindSeconds>>;

/** For a kind or a file that nobody has timed yet. */
const UNKNOWN_FILE_SECONDS = 10;
/** This much of the run goes at the pace that was expected, so that the first seconds do not decide. */
const PRIOR_SECONDS = 60;

const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);

export function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** '0:07', '12:30', '1:02:03'. */
export function formatClock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n: number): string => String(n).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

class Kind {
  files: ReadonlySet<string>;
  readonly done = new Set<string>();
  readonly running = new Map<string, number>();
  ended = false;
  readonly #known: KindSeconds | undefined;

  constructor(files: readonly string[], known: KindSeconds | undefined) {
    this.files = new Set(files);
    this.#known = known;
  }

  seconds(file: string): number {
    return this.#known?.files[file] ?? median(Object.values(this.#known?.files ?? {})) ?? UNKNOWN_FILE_SECONDS;
  }

  /** Wall seconds that are expected in all: what side by side and starting made of the sum before. */
  get expected(): number {
    const before = sum(Object.values(this.#known?.files ?? {}));
    const perSecond = before > 0 ? this.#known!.wall / before : 1;
    return perSecond * sum([...this.files].map((file) => this.seconds(file)));
  }

  /** Share that is over, from 0 to 1; a file under way counts by its time, and never as whole. */
  share(now: number): number {
    if (this.ended) return 1;
    const all = sum([...this.files].map((file) => this.seconds(file)));
    const done = sum([...this.done].map((file) => this.seconds(file)));
    const part = sum(
      [...this.running].map(([file, since]) => Math.min((now - since) / 1000, 0.95 * this.seconds(file))),
    );
    return all > 0 ? Math.min(0.99, (done + part) / all) : 0;
  }
}

export class TestProgress {
  readonly #kinds: ReadonlyMap<string, Kind>;
  readonly #startedAt: number;

  /** @param files by kind, in the order in which they run. @param now in ms, as everywhere here. */
  constructor(files: ReadonlyMap<string, readonly string[]>, durations: Durations, now: number) {
    this.#kinds = new Map([...files].map(([name, own]) => [name, new Kind(own, durations[name])]));
    this.#startedAt = now;
  }

  #kind(name: string): Kind {
    return this.#kinds.get(name)!;
  }

  /** The files that this kind really runs. */
  planned(name: string, files: readonly string[]): void {
    this.#kind(name).files = new Set(files);
  }

  began(name: string, file: string, now: number): void {
    this.#kind(name).running.set(file, now);
  }

  /** @returns seconds that the file took. */
  finished(name: string, file: string, now: number): number {
    const kind = this.#kind(name);
    const since = kind.running.get(file) ?? now;
    kind.running.delete(file);
    kind.done.add(file);
    return (now - since) / 1000;
  }

  ended(name: string): void {
    this.#kind(name).ended = true;
    this.#kind(name).running.clear();
  }

  running(name: string): readonly string[] {
    return [...this.#kind(name).running.keys()];
  }

  /** Seconds until all kinds are over. */
  secondsLeft(now: number): number {
    const kinds = [...this.#kinds.values()];
    const over = sum(kinds.map((kind) => kind.expected * kind.share(now)));
    const pace = ((now - this.#startedAt) / 1000 + PRIOR_SECONDS) / (over + PRIOR_SECONDS);
    return pace * sum(kinds.map((kind) => kind.expected * (1 - kind.share(now))));
  }

  #times(now: number): string {
    return `${formatClock((now - this.#startedAt) / 1000)} so far, about ${formatClock(this.secondsLeft(now))} left`;
  }

  /** Before a kind: which of how many, its files, the time. */
  headline(name: string, now: number): string {
    const place = [...this.#kinds.keys()].indexOf(name) + 1;
    return `== ${name} tests (${place} of ${this.#kinds.size}): ${this.#kind(name).files.size} files; ${this.#times(now)}`;
  }

  /** While a kind runs. */
  line(name: string, now: number): string {
    const kind = this.#kind(name);
    return `-- ${name}: ${kind.done.size} of ${kind.files.size} files; all tests: ${this.#times(now)}`;
  }
}
