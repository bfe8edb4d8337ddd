// The collectives that are measured: how each is called and checked, how nccl-tests count its bandwidth, and which
// bytes it moves between which ranks (the same bytes between the same pairs over bare channels are what it is compared
// with; a test holds the figures to the ledger).
//
// S = bytes of the array, as nccl-tests count them: the whole result of an all-gather, the whole input of a
// reduce-scatter, of an all-to-all and of a root. algbw = S / t, busbw = algbw x factor: 2 (n - 1) / n for all-reduce,
// (n - 1) / n for all-gather, reduce-scatter, all-to-all, gather and scatter, 1 for broadcast and send/receive. Source:
// github.com/NVIDIA/nccl-tests, doc/PERFORMANCE.md, and src/{gather,scatter,sendrecv}.cu.

import { allGather, allGatherRoute } from '../../collectives/all-gather.ts';
import { allReduce, allReduceRoute } from '../../collectives/all-reduce.ts';
import { allToAll } from '../../collectives/all-to-all.ts';
import { barrier } from '../../collectives/barrier.ts';
import { broadcast } from '../../collectives/broadcast.ts';
import { gather } from '../../collectives/gather.ts';
import type { Group } from '../../collectives/group.ts';
import { evenParts, partSize } from '../../collectives/parts.ts';
import { ringSendBoth } from '../../collectives/point/ring-send-both.ts';
import { scatter } from '../../collectives/point/scatter.ts';
import { recv, send } from '../../collectives/point/send-recv.ts';
import { reduceScatter, reductionRoute } from '../../collectives/reduce-scatter.ts';
import { ringSend } from '../../collectives/ring-send.ts';
import type { TypedArray } from '../../base/shape.ts';
import { ConfigError } from '../../base/errors.ts';
import { countWrong, sumAt, valueAt, valuesOf } from './numbers.ts';

/** One rank's arrays for one call. */
export interface Prepared {
  /** Forgets earlier results. */
  clear(): void;
  run(): Promise<void>;
  /** Elements of the result that are not exactly right. */
  wrong(): number;
}

export interface Collective {
  readonly name: string;
  readonly about: string;
  /** busbw / algbw. */
  factor(ranks: number): number;
  /** Elements of the array: `bytes` / 4, made divisible where the collective asks for it. */
  count(bytes: number, ranks: number): number;
  /** Payload bytes that `from` sends to `to` in one call. */
  traffic(from: number, to: number, ranks: number, count: number): number;
  prepare(group: Group, count: number, salt: number): Prepared;
}

const ROOT = 0;
const half = (ranks: number): number => (ranks - 1) / ranks;
const whole = (bytes: number): number => Math.floor(bytes / 4);
const nextOf = (rank: number, ranks: number): number => (rank + 1) % ranks;
const partBytes = (count: number, ranks: number, part: number): number => 4 * partSize(evenParts(count, ranks), part);

/** Clearing, running and checking one output array. */
function into(
  out: Float32Array<ArrayBuffer>,
  expected: (index: number) => number,
  run: () => Promise<unknown>,
): Prepared {
  const { length } = out;
  return {
    clear: () => {
      out.fill(NaN);
    },
    run: async () => {
      await run();
    },
    wrong: () => countWrong(out, length, expected),
  };
}

/** A rank that only sends, or has no part in it. */
const nothing = (run: () => Promise<unknown>): Prepared => into(new Float32Array(0), () => 0, run);

function allGatherTraffic(from: number, to: number, ranks: number, count: number): number {
  if (from === to) return 0;
  if (allGatherRoute(4 * count) === 'direct') return partBytes(count, ranks, from);
  return to === nextOf(from, ranks) ? 4 * count - partBytes(count, ranks, to) : 0;
}

function reduceScatterTraffic(from: number, to: number, ranks: number, count: number): number {
  if (from === to) return 0;
  if (reductionRoute(4 * count, ranks) === 'owner') return partBytes(count, ranks, to);
  return to === nextOf(from, ranks) ? 4 * count - partBytes(count, ranks, from) : 0;
}

function allReduceTraffic(from: number, to: number, ranks: number, count: number): number {
  if (allReduceRoute(4 * count, ranks) === 'exchange') return from === to ? 0 : 4 * count;
  return reduceScatterTraffic(from, to, ranks, count) + allGatherTraffic(from, to, ranks, count);
}

const sendReceive: Collective = {
  name: 'send',
  about: 'rank 0 to rank 1',
  factor: () => 1,
  count: whole,
  traffic: (from, to, _, count) => (from === 0 && to === 1 ? 4 * count : 0),
  prepare(group, count, salt) {
    if (group.rank === 0) {
      const x = valuesOf(0, count, salt);
      return nothing(() => send(group, 1, x));
    }
    if (group.rank !== 1) return nothing(async () => undefined);
    const out = new Float32Array(count);
    return into(
      out,
      (i) => valueAt(0, i, salt),
      () => recv(group, 0, out),
    );
  },
};

const ring: Collective = {
  name: 'ring-send',
  about: 'each rank to the next, all at once',
  factor: () => 1,
  count: whole,
  traffic: (from, to, ranks, count) => (to === nextOf(from, ranks) ? 4 * count : 0),
  prepare(group, count, salt) {
    const { rank, size } = group;
    const [x, out, previous] = [valuesOf(rank, count, salt), new Float32Array(count), (rank - 1 + size) % size];
    return into(
      out,
      (i) => valueAt(previous, i, salt),
      () => ringSend(group, x, out),
    );
  },
};

const ringBoth: Collective = {
  name: 'ring-send-both',
  about: 'each rank half the array to the next and half to the previous, all at once',
  factor: () => 1,
  count: (bytes) => 2 * Math.floor(bytes / 8),
  traffic: (from, to, ranks, count) =>
    2 * count * ((to === nextOf(from, ranks) ? 1 : 0) + (from === nextOf(to, ranks) ? 1 : 0)),
  prepare(group, count, salt) {
    const { rank, size } = group;
    const [x, out, previous, next, h] = [
      valuesOf(rank, count, salt),
      new Float32Array(count),
      (rank - 1 + size) % size,
      nextOf(rank, size),
      count / 2,
    ];
    return into(
      out,
      (i) => valueAt(i < h ? previous : next, i, salt),
      () =>
        ringSendBoth(
          group,
          { data: x.subarray(0, h), out: out.subarray(0, h) },
          { data: x.subarray(h), out: out.subarray(h) },
        ),
    );
  },
};

const broadcasting: Collective = {
  name: 'broadcast',
  about: 'rank 0 to all, along the chain',
  factor: () => 1,
  count: whole,
  traffic: (from, to, _, count) => (to === from + 1 ? 4 * count : 0),
  prepare(group, count, salt) {
    if (group.rank === ROOT) {
      const x = valuesOf(ROOT, count, salt);
      return nothing(() => broadcast(group, x, ROOT));
    }
    const out = new Float32Array(count);
    return into(
      out,
      (i) => valueAt(ROOT, i, salt),
      () => broadcast(group, out, ROOT),
    );
  },
};

const scattering: Collective = {
  name: 'scatter',
  about: 'a part of rank 0 to each',
  factor: half,
  count: whole,
  traffic: (from, to, ranks, count) => (from === ROOT && to !== ROOT ? partBytes(count, ranks, to) : 0),
  prepare(group, count, salt) {
    const offsets = evenParts(count, group.size);
    const x = group.rank === ROOT ? valuesOf(ROOT, count, salt) : undefined;
    const out = new Float32Array(partSize(offsets, group.rank));
    return into(
      out,
      (i) => valueAt(ROOT, offsets[group.rank] + i, salt),
      () => scatter(group, x, offsets, out, ROOT),
    );
  },
};

const gathering: Collective = {
  name: 'gather',
  about: 'a part of each to rank 0',
  factor: half,
  count: whole,
  traffic: (from, to, ranks, count) => (to === ROOT && from !== ROOT ? partBytes(count, ranks, from) : 0),
  prepare(group, count, salt) {
    const offsets = evenParts(count, group.size);
    const x = valuesOf(group.rank, partSize(offsets, group.rank), salt);
    let parts: readonly TypedArray[] = [];
    return {
      clear: () => {
        parts = [];
      },
      run: async () => {
        parts = await gather(group, x, ROOT, offsets[1]);
      },
      wrong() {
        let wrong = 0;
        if (group.rank === ROOT)
          for (let from = 0; from < group.size; from++)
            wrong += countWrong(parts[from] ?? [], partSize(offsets, from), (i) => valueAt(from, i, salt));
        return wrong;
      },
    };
  },
};

const gatheringAll: Collective = {
  name: 'all-gather',
  about: 'the parts of all on each',
  factor: half,
  count: whole,
  traffic: allGatherTraffic,
  prepare(group, count, salt) {
    const offsets = evenParts(count, group.size);
    const [x, out] = [valuesOf(group.rank, partSize(offsets, group.rank), salt), new Float32Array(count)];
    const ownerOf = (i: number): number => offsets.findLastIndex((offset, part) => part < group.size && offset <= i);
    return into(
      out,
      (i) => {
        const from = ownerOf(i);
        return valueAt(from, i - offsets[from], salt);
      },
      () => allGather(group, x, offsets, out),
    );
  },
};

const reducing: Collective = {
  name: 'reduce-scatter',
  about: 'a part of the sum on each',
  factor: half,
  count: whole,
  traffic: reduceScatterTraffic,
  prepare(group, count, salt) {
    const offsets = evenParts(count, group.size);
    const [x, out] = [valuesOf(group.rank, count, salt), new Float32Array(partSize(offsets, group.rank))];
    return into(
      out,
      (i) => sumAt(group.size, offsets[group.rank] + i, salt),
      () => reduceScatter(group, x, offsets, out),
    );
  },
};

const reducingAll: Collective = {
  name: 'all-reduce',
  about: 'the whole sum on each',
  factor: (ranks) => 2 * half(ranks),
  count: whole,
  traffic: allReduceTraffic,
  prepare(group, count, salt) {
    const [x, out] = [valuesOf(group.rank, count, salt), new Float32Array(count)];
    return into(
      out,
      (i) => sumAt(group.size, i, salt),
      () => allReduce(group, x, { out }),
    );
  },
};

const exchanging: Collective = {
  name: 'all-to-all',
  about: 'block j of rank i to block i of rank j',
  factor: half,
  count: (bytes, ranks) => ranks * Math.floor(bytes / 4 / ranks),
  traffic: (from, to, ranks, count) => (from === to ? 0 : (4 * count) / ranks),
  prepare(group, count, salt) {
    const [x, out, block] = [valuesOf(group.rank, count, salt), new Float32Array(count), count / group.size];
    return into(
      out,
      (i) => valueAt(Math.floor(i / block), group.rank * block + (i % block), salt),
      () => allToAll(group, x, out),
    );
  },
};

const meeting: Collective = {
  name: 'barrier',
  about: 'no bytes, only the wait',
  factor: () => 1,
  count: () => 0,
  traffic: () => 0,
  prepare: (group) => nothing(() => barrier(group)),
};

export const COLLECTIVES: readonly Collective[] = [
  sendReceive,
  ring,
  ringBoth,
  broadcasting,
  scattering,
  gathering,
  gatheringAll,
  reducing,
  reducingAll,
  exchanging,
  meeting,
];

/** Throws ConfigError for a name that is none. `only`: names with commas; all without. */
export function collectivesNamed(
  only: string | undefined,
  where = '--only',
  more: readonly string[] = [],
): readonly string[] {
  const known = [...COLLECTIVES.map(({ name }) => name), ...more];
  const names = only === undefined ? known : only.split(',').map((name) => name.trim());
  const stranger = names.find((name) => !known.includes(name));
  if (stranger !== undefined) throw new ConfigError(where, `expected some of ${known.join(', ')}, got '${stranger}'`);
  return known.filter((name) => names.includes(name));
}

export function collectiveNamed(name: string): Collective {
  const found = COLLECTIVES.find((one) => one.name === name);
  if (!found) throw new ConfigError('collective', `there is none named '${name}'`);
  return found;
}

/** Payload bytes by sender, then receiver. */
export function trafficOf(collective: Collective, ranks: number, count: number): readonly (readonly number[])[] {
  const all = Array.from({ length: ranks }, (_, rank) => rank);
  return all.map((from) => all.map((to) => (from === to ? 0 : collective.traffic(from, to, ranks, count))));
}

/** MB/s (10^6 bytes) as nccl-tests count them; 0 for no bytes. */
export function bandwidths(
  collective: Pick<Collective, 'factor'>,
  ranks: number,
  bytes: number,
  ms: number,
): { readonly algbw: number; readonly busbw: number } {
  const algbw = bytes === 0 ? 0 : bytes / ms / 1000;
  return { algbw, busbw: algbw * collective.factor(ranks) };
}
