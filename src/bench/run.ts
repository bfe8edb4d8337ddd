// Runs workloads on tabmesh and on peers, side by side: every library makes a runner of the same problem, its first run
// is checked, then all take turns. A library that cannot do something is named with a sentence, and the rest goes on; a
// lost GPU or a stop ends everything.

import { ConfigError, LimitError } from '../base/errors.ts';
import { realWorld } from '../base/world.ts';
import type { Device } from '../device/device.ts';
import { isFatal, reasonOf } from './failures.ts';
import type { Loaders, Outputs, Peer, PeerBackend, PeerSession, Problem, Runner, Scope, Workload } from './problem.ts';
import { peerBackendOf } from './problem.ts';
import { keepToOneThread, ThreadMeter } from './threads.ts';
import { describeAdapter, median } from './bench-report.ts';
import type { BenchReport, BenchResult } from './bench-report.ts';
import type { Ceilings } from './roofline.ts';
import { roofShare } from './roofline.ts';
import { ratioOf, takeTurns } from './turns.ts';
import type { Times } from './turns.ts';

export const OWN = 'tabmesh';

const TURN_MS = 150;
/** Timed rounds of one shape; first runs and compiling come on top. */
const SHAPE_BUDGET_MS = 6000;
/**
 * A bench of the default scope should end within about this time on a machine without a GPU. Each workload gets its
 * part of what is left, by its number of shapes; a library is left out of a shape if a run of it, by its best speed so
 * far in this workload, would take more than a quarter of that. `full` leaves nobody out.
 */
const BENCH_BUDGET_MS = 480_000;
const SHARE = 1 / 4;
/** Above it, a first run is as good an estimate as a second one would be. */
const SLOW_MS = 2000;

/** Those with many shapes first: what few heavy shapes leave of a bench's time would not do for them. */
export const WORKLOADS: readonly Workload[] = Object.values(
  import.meta.glob<Workload>('./workloads/*.ts', { eager: true, import: 'workload' }),
).toSorted((a, b) => b.shapes.length - a.shapes.length);

export interface WorkloadResult extends BenchResult {
  /** Useful bytes per second, in 10^9: each input and output once. */
  readonly gbps: number;
  /**
   * Share of what the adapter's measured ceilings allow for this work, about 0 to 1; null if they were not measured.
   */
  readonly roofline: number | null;
  readonly minMs: number;
  readonly maxMs: number;
  /** Milliseconds of the first run, with whatever the library compiles then. */
  readonly firstMs: number;
  readonly rounds: number;
  /** Runs in a turn. */
  readonly runs: number;
  /** How many times as long as tabmesh, the median over the rounds; null for tabmesh and without it. */
  readonly ratio: number | null;
  /** The largest error of the check in units of what is allowed; null if nothing finite came out. */
  readonly worstError: number | null;
  /** What the check saw, if it is not correct. */
  readonly problem?: string;
  /** GPU memory at the peak in bytes, inputs included. */
  readonly peakBytes?: number;
  /** tabmesh: the kernels and variants that ran. */
  readonly variants?: readonly string[];
}

/** A library that could not run a workload or shape, and why. */
export interface Missing {
  readonly workload: string;
  readonly shape: string;
  readonly library: string;
  readonly reason: string;
  /**
   * It tried and broke; the others lack the workload, do not load, would take too long or exceed the adapter's limits.
   */
  readonly failed?: true;
}

export interface Workloads {
  readonly adapter: string;
  readonly results: readonly WorkloadResult[];
  readonly missing: readonly Missing[];
  readonly ceilings: Ceilings | null;
}
export interface WorkloadReport extends Workloads, BenchReport<WorkloadResult> {}

export interface BenchOptions {
  readonly device: Device;
  /** What to run: WORKLOADS, or `workloadsNamed`. */
  readonly workloads: readonly Workload[];
  /**
   * Beside whom; all are in load/peers.ts. Beside a device of WebAssembly they compute in WebAssembly, with one thread
   * each, and from then on nothing in this page or worker can share memory between threads.
   */
  readonly peers?: readonly Peer[];
  readonly loaders?: Loaders;
  /** At most; default 5. */
  readonly rounds?: number;
  /** Default 'default'. */
  readonly scope?: Scope;
  readonly ceilings?: Ceilings;
  readonly onStatus?: (text: string) => void;
  /** As they come: the results of one shape, tabmesh first. */
  readonly onResults?: (results: readonly WorkloadResult[], missing: readonly Missing[]) => void;
  /** Called between steps; may throw to stop. */
  readonly checkpoint?: () => void;
}

/** Throws ConfigError for a name that is none. */
export function workloadsNamed(only: string | undefined): readonly Workload[] {
  const chosen = WORKLOADS.filter(({ name }) => only === undefined || name === only);
  if (!chosen.length)
    throw new ConfigError(
      '--only',
      `expected a workload (${WORKLOADS.map(({ name }) => name).join(', ')}), got '${only}'`,
    );
  return chosen;
}

/** A library that takes part, or why it does not. */
interface Entrant {
  readonly library: string;
  readonly session?: PeerSession;
  readonly reason?: string;
}

async function openPeers(
  peers: readonly Peer[],
  loaders: Loaders,
  on: PeerBackend,
  threads: ThreadMeter | undefined,
  onStatus: (text: string) => void,
): Promise<readonly Entrant[]> {
  if (on === 'wasm' && peers.length) keepToOneThread();
  const entrants: Entrant[] = [];
  for (const peer of peers) {
    onStatus(`loading ${peer.library}`);
    try {
      const open = () => peer.open(loaders, on);
      entrants.push({ library: peer.library, session: await (threads?.during(peer.library, open) ?? open()) });
    } catch (error) {
      entrants.push({ library: peer.library, reason: reasonOf(error) });
    }
  }
  return entrants;
}

/** Rejects with DeviceLostError when tabmesh's GPU goes away, and with what `checkpoint` throws. */
export async function benchWorkloads(options: BenchOptions): Promise<Workloads> {
  const {
    device,
    workloads,
    peers = [],
    loaders = {},
    scope = 'default',
    ceilings,
    onStatus = () => {},
    onResults,
    checkpoint,
  } = options;
  const on = peerBackendOf(device);
  const threads = on === 'wasm' ? new ThreadMeter() : undefined;
  const entrants = await openPeers(peers, loaders, on, threads, onStatus);
  const start = realWorld.now();
  const results: WorkloadResult[] = [];
  const missing: Missing[] = [];
  try {
    for (const [i, workload] of workloads.entries()) {
      const shapesLeft = workloads.slice(i).reduce((sum, { shapes }) => sum + shapes.length, 0);
      const end =
        realWorld.now() +
        Math.max(0, BENCH_BUDGET_MS - (realWorld.now() - start)) * (workload.shapes.length / shapesLeft);
      const rates = new Map<string, number>();
      for (const { dims } of workload.shapes.filter((shape) => inScope(shape.scope, scope))) {
        checkpoint?.();
        const shape = new ShapeBench(
          workload,
          workload.problem(dims),
          options,
          rates,
          scope === 'full' ? Infinity : SHARE * Math.max(0, end - realWorld.now()),
          threads,
        );
        const found = await shape.measure(entrants);
        results.push(...found);
        missing.push(...shape.missing);
        onResults?.(found, shape.missing);
      }
    }
  } finally {
    for (const { session } of entrants) session?.close?.();
    threads?.stop();
  }
  return { adapter: describeAdapter(device.adapter), results, missing, ceilings: ceilings ?? null };
}

function inScope(shape: Scope, wanted: Scope): boolean {
  return wanted === 'full' || shape === 'quick' || shape === wanted;
}

/** A library that has done its first run. */
interface Ready {
  readonly library: string;
  readonly runner: Runner;
  readonly firstMs: number;
  readonly warmMs: number;
  readonly peakBytes?: number;
  readonly outputs: Outputs;
}

class ShapeBench {
  readonly missing: Missing[] = [];
  readonly #workload: Workload;
  readonly #problem: Problem;
  readonly #options: BenchOptions;
  /** The most GFLOP/s that each library reached in this workload so far. */
  readonly #rates: Map<string, number>;
  /** Of one run of a peer. */
  readonly #longestMs: number;
  readonly #threads: ThreadMeter | undefined;

  constructor(
    workload: Workload,
    problem: Problem,
    options: BenchOptions,
    rates: Map<string, number>,
    longestMs: number,
    threads: ThreadMeter | undefined,
  ) {
    this.#workload = workload;
    this.#problem = problem;
    this.#options = options;
    this.#rates = rates;
    this.#longestMs = longestMs;
    this.#threads = threads;
  }

  async measure(entrants: readonly Entrant[]): Promise<readonly WorkloadResult[]> {
    const { device, rounds = 5, checkpoint } = this.#options;
    const ready: (Ready & { verdict: ReturnType<Problem['check']> })[] = [];
    const makers: [string, () => Promise<Runner>][] = [[OWN, () => this.#workload.prepare(device, this.#problem)]];
    for (const entrant of entrants) {
      const make = this.#makerOf(entrant);
      if (typeof make === 'string') this.#miss(entrant.library, make);
      else makers.push([entrant.library, make]);
    }
    try {
      for (const [library, make] of makers) {
        checkpoint?.();
        this.#options.onStatus?.(`${this.#problem.workload} ${this.#problem.shape}: ${library}`);
        const warmUp = () => this.#warmUp(library, make);
        const one = await (this.#threads?.during(library, warmUp) ?? warmUp());
        if (one) ready.push({ ...one, verdict: this.#problem.check(one.outputs) });
      }
      if (!ready.length) return [];
      const agreed = this.#problem.agree?.(new Map(ready.map(({ library, outputs }) => [library, outputs])));
      // One that nobody is compared with need not work for a minute twice.
      const once = ready.length === 1 && ready[0].firstMs > SLOW_MS && !this.#problem.agree;
      const broken = new Map<string, unknown>();
      const contestants = ready.map(({ library, runner }) => ({
        run: (n: number) =>
          broken.has(library)
            ? Promise.resolve()
            : runner.run(n).catch((error: unknown) => {
                if (isFatal(error)) throw error;
                broken.set(library, error);
              }),
      }));
      const times = once
        ? [{ turns: [ready[0].firstMs], runs: 1 }]
        : await takeTurns(
            contestants,
            ready.map(({ warmMs }) => warmMs),
            { rounds, turnMs: TURN_MS, budgetMs: SHAPE_BUDGET_MS },
            checkpoint,
          );
      for (const [library, error] of broken) this.#fail(library, error);
      const own = ready.findIndex(({ library }) => library === OWN && !broken.has(library));
      return ready.flatMap(({ library, runner, firstMs, verdict, peakBytes }, i) =>
        broken.has(library)
          ? []
          : [
              {
                ...this.#result(
                  library,
                  times[i],
                  firstMs,
                  i === own || own < 0 ? null : ratioOf(times[own], times[i]),
                ),
                correct: verdict.correct && (agreed?.get(library) ?? true),
                worstError: Number.isFinite(verdict.worst) ? verdict.worst : null,
                ...(verdict.text === undefined ? {} : { problem: verdict.text }),
                ...(peakBytes === undefined ? {} : { peakBytes }),
                ...(runner.variants ? { variants: runner.variants } : {}),
              },
            ],
      );
    } finally {
      for (const { runner } of ready) runner.dispose();
    }
  }

  #makerOf({ library, session, reason }: Entrant): (() => Promise<Runner>) | string {
    const make = session?.workloads[this.#problem.workload];
    if (make === undefined || typeof make === 'string')
      return reason ?? make ?? `${library} has nothing for this workload`;
    return () => make(this.#problem);
  }

  #miss(library: string, reason: string, failed = false): void {
    this.missing.push({
      workload: this.#problem.workload,
      shape: this.#problem.shape,
      library,
      reason,
      ...(failed ? { failed } : {}),
    });
  }

  #fail(library: string, error: unknown): void {
    this.#miss(library, reasonOf(error), !(error instanceof LimitError));
  }

  /** The first run, checked, and a second one for the pace; undefined if the library fails, or would take too long. */
  async #warmUp(library: string, make: () => Promise<Runner>): Promise<Ready | undefined> {
    const rate = this.#rates.get(library);
    const expectedMs = rate === undefined ? 0 : this.#problem.cost.flops / rate / 1e6;
    // Checked runs and a timed one, against the two of most workloads.
    if ((expectedMs * ((this.#problem.checkedRuns ?? 1) + 1)) / 2 > this.#longestMs && library !== OWN) {
      this.#miss(
        library,
        `left out: a run would take ${expectedMs < 1000 ? 'up to a second' : `about ${Math.round(expectedMs / 1000)} s`} here, too long for what is left of the time (--full runs it)`,
      );
      return undefined;
    }
    let runner: Runner | undefined;
    try {
      runner = await make();
      const start = realWorld.now();
      for (let i = 0; i < (this.#problem.checkedRuns ?? 1); i++) {
        this.#options.checkpoint?.();
        await runner.run(1);
      }
      const firstMs = (realWorld.now() - start) / (this.#problem.checkedRuns ?? 1);
      // Of one run: in timed turns a library may hold the results of several.
      const { peakBytes } = runner;
      const outputs = await runner.read();
      let warmMs = firstMs;
      if (firstMs < SLOW_MS) {
        const again = realWorld.now();
        await runner.run(1);
        warmMs = realWorld.now() - again;
      }
      return { library, runner, firstMs, warmMs, outputs, ...(peakBytes === undefined ? {} : { peakBytes }) };
    } catch (error) {
      runner?.dispose();
      if (isFatal(error)) throw error;
      this.#fail(library, error);
      return undefined;
    }
  }

  #result(
    library: string,
    { turns, runs }: Times,
    firstMs: number,
    ratio: number | null,
  ): Omit<WorkloadResult, 'correct' | 'worstError'> {
    const { workload, shape, cost } = this.#problem;
    const medianMs = median(turns);
    const gflops = cost.flops / medianMs / 1e6;
    const threads = library === OWN ? this.#options.device.adapter.threads : this.#threads?.threadsOf(library);
    this.#rates.set(library, Math.max(gflops, this.#rates.get(library) ?? 0));
    return {
      workload,
      shape,
      library,
      medianMs,
      gflops,
      gbps: cost.bytes / medianMs / 1e6,
      roofline: this.#options.ceilings ? roofShare(this.#options.ceilings, cost, medianMs) : null,
      minMs: Math.min(...turns),
      maxMs: Math.max(...turns),
      firstMs,
      rounds: turns.length,
      runs,
      ratio,
      ...(threads === undefined ? {} : { threads }),
    };
  }
}
