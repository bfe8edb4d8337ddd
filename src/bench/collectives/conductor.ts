// Runs the bench on ranks that it can only ask (requests.ts). Everything that is compared takes turns within a round,
// forwards and backwards by turns, and a share is the median over the rounds of the share within a round: on a busy
// machine the parts of a round suffer alike, the rounds do not.

import { allReduceRoute } from '../../collectives/all-reduce.ts';
import { median } from '../bench-report.ts';
import { collectiveNamed, collectivesNamed, COLLECTIVES, trafficOf } from './catalogue.ts';
import type { Call, RequestName, Requests } from './requests.ts';
import type { RawSetting } from './raw.ts';
import { OWN } from './collectives-report.ts';
import type { CollectiveResult, CollectivesMeasured, Latency, MissingLibrary } from './collectives-report.ts';
import { Rounds } from './rounds.ts';
import type { Contestant, Turn } from './rounds.ts';
import { latencyOf, LATENCY_BYTES, rowOf } from './rows.ts';
import { sizeName } from './sizes.ts';

export interface BenchPlan {
  readonly ranks: number;
  /** Names from `selectable`. */
  readonly only: readonly string[];
  /** Bytes. */
  readonly sizes: readonly number[];
  /** Rounds of every row; without, as many as fit into a few seconds, 2 to 5. */
  readonly rounds?: number;
  /** Other libraries that send the same arrays from rank 0 to rank 1. */
  readonly peers: readonly string[];
}

export interface BenchListener {
  readonly onStatus: (text: string, done: number, total: number) => void;
  readonly onRows?: (rows: readonly CollectiveResult[]) => void;
  /** All that is known so far, after every row: whatever ends the run, this can be kept. */
  readonly onMeasured?: (measured: CollectivesMeasured) => void;
  /** Called between requests; may throw to stop. */
  readonly checkpoint?: () => void;
}

export const GPU_TO_GPU = 'gpu-to-gpu';
const NAIVE = 'gpu-to-gpu-naive';
const MIB = 1024 * 1024;

/** Names for --only: collectives, and the way between two GPUs. */
export function selectable(only: string | undefined, where?: string): readonly string[] {
  return collectivesNamed(only, where, [GPU_TO_GPU]);
}

/** Rejects when a rank fails, with what it says. */
export async function benchCollectives(
  plan: BenchPlan,
  call: Call,
  listener: BenchListener,
): Promise<CollectivesMeasured> {
  return new Conductor(plan, call, listener).run();
}

class Conductor {
  readonly #plan: BenchPlan;
  readonly #call: Call;
  readonly #listener: BenchListener;
  readonly #results: CollectiveResult[] = [];
  readonly #missing: MissingLibrary[] = [];
  #latency: Latency | null = null;
  readonly #rounds: Rounds;
  #done = 0;
  #total = 1;
  #pipe: RawSetting = { frame: 65536, window: 262144 };
  #ring: RawSetting = this.#pipe;
  #rates = { onPage: 0, inWorker: 0 };
  #links: readonly string[] = [];
  #tried: CollectivesMeasured['raw']['tried'] = [];

  constructor(plan: BenchPlan, call: Call, listener: BenchListener) {
    this.#plan = plan;
    this.#call = call;
    this.#listener = listener;
    this.#rounds = new Rounds(plan.rounds);
  }

  async run(): Promise<CollectivesMeasured> {
    const { only, sizes, peers } = this.#plan;
    const collectives = COLLECTIVES.filter(({ name }) => only.includes(name));
    const gpuSizes = only.includes(GPU_TO_GPU) ? sizes.filter((bytes) => bytes >= MIB) : [];
    const transfers = peers.length ? sizes.filter((bytes) => bytes > 0) : [];
    this.#total =
      1 +
      collectives.reduce((sum, { name }) => sum + this.#sizesOf(name).length, 0) +
      transfers.length +
      gpuSizes.length;
    this.#status('connecting');
    this.#links = [...new Set((await this.#all('meet', null)).flat())];
    this.#tried = await this.#tuneRaw();
    this.#done++;
    for (const { name } of collectives) for (const bytes of this.#sizesOf(name)) await this.#collective(name, bytes);
    if (transfers.length) await this.#transfers(transfers);
    if (gpuSizes.length) await this.#gpu(gpuSizes);
    return this.#measured();
  }

  #measured(): CollectivesMeasured {
    const raw = { pipe: this.#pipe, ring: this.#ring, ...this.#rates, tried: this.#tried };
    return {
      ranks: this.#plan.ranks,
      links: this.#links,
      raw,
      latency: this.#latency,
      results: [...this.#results],
      missing: [...this.#missing],
    };
  }

  #sizesOf(name: string): readonly number[] {
    return name === 'barrier' ? [0] : this.#plan.sizes;
  }

  #status(text: string): void {
    this.#listener.onStatus(text, this.#done, this.#total);
  }

  #all<K extends RequestName>(name: K, request: Requests[K]['request']): Promise<Requests[K]['answer'][]> {
    this.#listener.checkpoint?.();
    return Promise.all(Array.from({ length: this.#plan.ranks }, (_, rank) => this.#call(rank, name, request)));
  }

  #row(row: CollectiveResult, ...more: CollectiveResult[]): void {
    this.#results.push(row, ...more);
    this.#listener.onRows?.([row, ...more]);
    this.#listener.onMeasured?.(this.#measured());
    this.#done++;
  }

  /**
   * The fastest frame and window, for one pipe and for a ring of all; both have to be found before anything is
   * compared.
   */
  async #tuneRaw(): Promise<CollectivesMeasured['raw']['tried']> {
    this.#status('the best message and window of bare channels');
    const { ranks } = this.#plan;
    const settings = [16384, 32768, 65536].flatMap((frame) =>
      [131072, 262144, 524288, 1048576].map((window): RawSetting => ({ frame, window })),
    );
    const bytes = 2 * MIB;
    const rate = async (traffic: readonly (readonly number[])[], setting: RawSetting): Promise<number> =>
      bytes / Math.max(...(await this.#all('raw', { traffic, times: 1, setting }))) / 1000;
    const [one, all] = [this.#pipeTraffic(bytes), trafficOf(collectiveNamed('ring-send'), ranks, bytes / 4)];
    await rate(one, this.#pipe);
    const seen = settings.map(() => ({ pipe: [] as number[], ring: [] as number[] }));
    for (let round = 0; round < Math.min(3, this.#plan.rounds ?? 3); round++) {
      for (const [i, setting] of round % 2 ? [...settings.entries()].toReversed() : settings.entries()) {
        seen[i].pipe.push(await rate(one, setting));
        seen[i].ring.push(await rate(all, setting));
      }
    }
    const tried = settings.map((setting, i) => ({
      ...setting,
      pipe: median(seen[i].pipe),
      ring: median(seen[i].ring),
    }));
    const bestOf = (what: 'pipe' | 'ring'): RawSetting => {
      const { frame, window } = tried.reduce((a, b) => (b[what] > a[what] ? b : a));
      return { frame, window };
    };
    this.#pipe = bestOf('pipe');
    this.#ring = bestOf('ring');
    // Where the channel lives makes a difference; what is compared are channels in workers, as a training rank has
    // them.
    const seenAt = { onPage: [] as number[], inWorker: [] as number[] };
    for (let round = 0; round < Math.min(4, this.#plan.rounds ?? 4); round++) {
      seenAt.inWorker.push(await rate(one, this.#pipe));
      const told = await Promise.all([0, 1].map((rank) => this.#call(rank, 'pageRaw', { bytes, setting: this.#pipe })));
      seenAt.onPage.push(bytes / told[0] / 1000);
    }
    this.#rates = { onPage: median(seenAt.onPage), inWorker: median(seenAt.inWorker) };
    return tried;
  }

  #pipeTraffic(bytes: number): readonly (readonly number[])[] {
    return trafficOf(collectiveNamed('send'), this.#plan.ranks, bytes / 4);
  }

  #raw(name: string, traffic: readonly (readonly number[])[], setting: RawSetting): Contestant {
    return {
      name,
      run: async (times) => ({ ms: Math.max(...(await this.#all('raw', { traffic, times, setting }))), wrong: 0 }),
    };
  }

  #timed<K extends 'collective' | 'transfer'>(
    name: string,
    kind: K,
    request: Omit<Requests[K]['request'], 'times' | 'salt'>,
  ): Contestant {
    return {
      name,
      run: async (times, salt) => {
        const answers = (await this.#all(kind, {
          ...request,
          times,
          salt,
        } as Requests[K]['request'])) as readonly Turn[];
        return {
          ms: Math.max(...answers.map(({ ms }) => ms)),
          wrong: answers.reduce((sum, { wrong }) => sum + wrong, 0),
        };
      },
    };
  }

  async #collective(name: string, bytes: number): Promise<void> {
    const { ranks } = this.#plan;
    const collective = collectiveNamed(name);
    const count = collective.count(bytes, ranks);
    const size = 4 * count;
    this.#status(`${name} ${sizeName(size)}`);
    const traffic = trafficOf(collective, ranks, count);
    const flows = traffic.flat().filter((sent) => sent > 0);
    // One flow of the whole array is the pipe itself.
    const alike = flows.length > 0 && !(flows.length === 1 && flows[0] === size);
    const isLatency = name === 'all-reduce' && size === LATENCY_BYTES;
    const measured = await this.#rounds.of(
      [
        ...(size > 0 ? [this.#raw('pipe', this.#pipeTraffic(size), this.#pipe)] : []),
        this.#timed(OWN, 'collective', { name, bytes }),
        ...(alike ? [this.#raw('alike', traffic, flows.length === 1 ? this.#pipe : this.#ring)] : []),
        ...(isLatency ? [this.#steps(count)] : []),
        ...(isLatency
          ? [
              {
                name: 'trip',
                run: async (times: number) => ({
                  ms: Math.max(...(await this.#all('roundTrip', { bytes: LATENCY_BYTES, times }))),
                  wrong: 0,
                }),
              },
            ]
          : []),
      ],
      { name, bytes: size },
    );
    if (isLatency) this.#latency = latencyOf(measured.turns, ranks);
    this.#row(
      rowOf({ collective: name, ranks, bytes: size, library: OWN, factor: collective.factor(ranks), measured }),
    );
  }

  /** Over bare channels, what an all-reduce moves in each of its steps, one after the other. */
  #steps(count: number): Contestant {
    const { ranks } = this.#plan;
    const moves = allReduceRoute(4 * count, ranks) === 'exchange' ? ['all-reduce'] : ['reduce-scatter', 'all-gather'];
    const steps = moves.map((name) => this.#raw(name, trafficOf(collectiveNamed(name), ranks, count), this.#ring));
    return {
      name: 'steps',
      run: async (times, salt) => {
        let ms = 0;
        for (const step of steps) ms += (await step.run(times, salt)).ms;
        return { ms, wrong: 0 };
      },
    };
  }

  /** The same arrays from rank 0 to rank 1 by tabmesh and the others, each until the sender is told that all came. */
  async #transfers(sizes: readonly number[]): Promise<void> {
    const { peers, ranks } = this.#plan;
    const there: string[] = [];
    for (const library of peers) {
      this.#status(`loading ${library}`);
      const answers = await this.#all('peerOpen', { library });
      const reason = answers.find((answer) => answer.reason !== undefined)?.reason;
      if (reason === undefined) there.push(library);
      else this.#missing.push({ library, reason });
    }
    for (const bytes of sizes) {
      this.#status(`transfer ${sizeName(bytes)}: ${[OWN, ...there].join(', ')}`);
      const others = there.map((library) => this.#peer(library, bytes));
      const measured = await this.#rounds.of(
        [this.#raw('pipe', this.#pipeTraffic(bytes), this.#pipe), this.#timed(OWN, 'transfer', { bytes }), ...others],
        { name: 'transfer', bytes },
        20,
      );
      const row = (library: string): CollectiveResult => ({
        ...rowOf({ collective: 'transfer', ranks, bytes, library, factor: 1, measured }),
        ratio:
          library === OWN
            ? null
            : median(measured.turns[library].map(({ ms }, round) => ms / measured.turns[OWN][round].ms)),
      });
      this.#row(row(OWN), ...there.map(row));
    }
  }

  #peer(library: string, bytes: number): Contestant {
    return {
      name: library,
      run: async (times) => {
        let [ms, wrong] = [0, 0];
        for (let i = 0; i < times; i++) {
          const salt = this.#rounds.nextSalt();
          this.#listener.checkpoint?.();
          await this.#call(1, 'peerExpect', { library, bytes });
          ms += await this.#call(0, 'peerSend', { library, bytes, salt });
          wrong += await this.#call(1, 'peerVerdict', { library, bytes, salt });
        }
        return { ms: ms / times, wrong };
      },
    };
  }

  async #gpu(sizes: readonly number[]): Promise<void> {
    const { ranks } = this.#plan;
    this.#status('opening the GPUs of ranks 0 and 1');
    const reason = (await Promise.all([this.#call(0, 'openGpu', null), this.#call(1, 'openGpu', null)])).find(
      (answer) => answer.reason !== undefined,
    )?.reason;
    if (reason !== undefined) {
      this.#missing.push({ library: GPU_TO_GPU, reason });
      return;
    }
    for (const bytes of sizes) {
      this.#status(`${GPU_TO_GPU} ${sizeName(bytes)}`);
      const way = (name: string, overlapped: boolean): Contestant => ({
        name,
        run: async (_, salt) => {
          const answers = await this.#all('gpu', { bytes, overlapped, salt });
          return {
            ms: Math.max(...answers.map(({ ms }) => ms)),
            wrong: answers.reduce((sum, { wrong }) => sum + wrong, 0),
          };
        },
      });
      const measured = await this.#rounds.of(
        [this.#raw('pipe', this.#pipeTraffic(bytes), this.#pipe), way(GPU_TO_GPU, true), way(NAIVE, false)],
        { name: GPU_TO_GPU, bytes },
        1,
      );
      const row = (collective: string): CollectiveResult =>
        rowOf({ collective, ranks, bytes, library: OWN, factor: 1, measured, contestant: collective });
      this.#row(row(GPU_TO_GPU), row(NAIVE));
    }
  }
}
