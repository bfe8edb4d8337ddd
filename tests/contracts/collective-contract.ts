// What the collective contract is made of: clusters over loopback and ports, data whose sums are exact in f32, and one
// check per collective against a one-line reference and its byte formula.

import { expect } from 'vitest';
import { PeerError } from '../../src/base/errors.ts';
import type { TypedArray } from '../../src/base/shape.ts';
import { realWorld } from '../../src/base/world.ts';
import { allGather } from '../../src/collectives/all-gather.ts';
import { allReduce } from '../../src/collectives/all-reduce.ts';
import { allToAll } from '../../src/collectives/all-to-all.ts';
import { broadcast } from '../../src/collectives/broadcast.ts';
import { barrier } from '../../src/collectives/barrier.ts';
import type { Group } from '../../src/collectives/group.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import type { LedgerBook } from '../../src/collectives/ledger.ts';
import { createGroup } from '../../src/collectives/link-group.ts';
import { reduceScatter } from '../../src/collectives/reduce-scatter.ts';
import { ringSend } from '../../src/collectives/ring-send.ts';
import { createLink } from '../../src/transport/link.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';
import type { LoopbackMeshOptions, LoopbackNode } from '../../src/transport/loopback.ts';
import { messagePortWire } from '../../src/transport/message-port.ts';
import type { Link, Wire } from '../../src/transport/transport.ts';
import { firstDifference, tapped } from './transport-contract.ts';

export interface Cluster {
  readonly groups: Group[];
  readonly ledgers: LedgerBook[];
  readonly nodes: LoopbackNode[];
  leave(): void;
}

export function cluster(size: number, options: LoopbackMeshOptions = {}, world = realWorld): Cluster {
  const nodes = loopbackMesh(size, world, options);
  const ledgers = nodes.map(() => createLedger());
  const groups = nodes.map(({ rank, links }) =>
    createGroup({
      id: 1,
      name: 'dp',
      ranks: nodes.map((node) => node.rank),
      self: rank,
      links,
      ledger: ledgers[rank]!,
    }),
  );
  return {
    groups,
    ledgers,
    nodes,
    leave: () => {
      for (const node of nodes) node.leave();
    },
  };
}

export const SIZES = [1, 2, 3, 4, 5, 8];
/** Above these counts all-gather becomes a ring, reduce-scatter and broadcast send several pieces. */
export const LONG = [66_000, 600_001];
export const counts = (size: number): number[] => [...new Set([0, 1, size - 1, size, size + 1, 1000])];

/** What rank r holds: small numbers of its own, exact in f32 whatever the order of sums. */
export function values(rank: number, count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, i) => ((i * 7 + rank * 13) % 64) / 4 - 5);
}

/** Whether the elements are equal, one by one. */
export const same = (a: TypedArray, b: TypedArray): boolean => firstDifference(a, b) < 0;

/** The sum of what the ranks hold, from rank `salt` on. */
export function sum(size: number, count: number, salt: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(count);
  for (let r = 0; r < size; r++) for (const [i, value] of values(r + salt, count).entries()) out[i] += value;
  return out;
}

export function concatenated(parts: readonly TypedArray[]): Float32Array<ArrayBuffer> {
  const out = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Parts of very different sizes, some empty; the last takes the rest. */
export function unevenParts(count: number, size: number): number[] {
  return Array.from({ length: size + 1 }, (_, i) => (i === size ? count : Math.floor((count * i * i) / (size * size))));
}

/** The wire with every message handed over `turns` macrotasks late, in order. */
export function delayed(wire: Wire, turns: number): Wire {
  if (turns === 0) return wire;
  let last = Promise.resolve();
  return tapped(wire, (message, pass) => {
    const copy = message.slice();
    last = last.then(async () => {
      for (let i = 0; i < turns; i++)
        await new Promise<void>((resolve) => {
          setImmediate(resolve);
        });
      pass(copy);
    });
  });
}

/** `size` ranks joined by message ports. */
export function portMesh(size: number): { groups: Group[]; leave(): void } {
  const links = Array.from({ length: size }, () => new Map<number, Link>());
  for (let a = 0; a < size; a++) {
    for (let b = a + 1; b < size; b++) {
      const [control, bulk] = [new MessageChannel(), new MessageChannel()];
      for (const [self, peer, end] of [
        [a, b, 'port1'],
        [b, a, 'port2'],
      ] as const) {
        const lanes = { control: messagePortWire(control[end]), bulk: messagePortWire(bulk[end]) };
        links[self]!.set(peer, createLink({ lanes, self, peer, run: 1, view: 1, world: realWorld }));
      }
    }
  }
  const ranks = links.map((_, rank) => rank);
  const groups = links.map((own, self) =>
    createGroup({ id: 1, name: 'dp', ranks, self, links: own, ledger: createLedger() }),
  );
  return {
    groups,
    leave: () => {
      for (const own of links) for (const link of own.values()) link.leave();
    },
  };
}

export type Run = (groups: readonly Group[]) => Promise<void>;

export async function checkAllReduce(groups: readonly Group[], count: number): Promise<void> {
  const xs = groups.map((_, r) => values(r, count));
  const maxima = groups.map((_, r) => values(r, count));
  await Promise.all(
    groups.flatMap((group, r) => [allReduce(group, xs[r]!), allReduce(group, maxima[r]!, { reduction: 'max' })]),
  );
  const inputs = groups.map((_, r) => values(r, count));
  const sum = Float32Array.from({ length: count }, (_, i) => inputs.reduce((s, x) => s + x[i]!, 0));
  const max = Float32Array.from({ length: count }, (_, i) => Math.max(...inputs.map((x) => x[i]!)));
  for (const x of xs) expect(firstDifference(x, sum)).toBe(-1);
  for (const x of maxima) expect(firstDifference(x, max)).toBe(-1);
}

export async function checkAllGather(groups: readonly Group[], offsets: readonly number[]): Promise<void> {
  const count = offsets.at(-1)!;
  const parts = groups.map((_, r) => values(r, offsets[r + 1]! - offsets[r]!));
  const outs = groups.map(() => new Float32Array(count));
  await Promise.all(groups.map((group, r) => allGather(group, parts[r]!, offsets, outs[r]!)));
  const expected = concatenated(parts);
  for (const out of outs) expect(firstDifference(out, expected)).toBe(-1);
}

export async function checkReduceScatter(groups: readonly Group[], offsets: readonly number[]): Promise<void> {
  const count = offsets.at(-1)!;
  const xs = groups.map((_, r) => values(r, count));
  const outs = groups.map((_, r) => new Float32Array(offsets[r + 1]! - offsets[r]!));
  await Promise.all(groups.map((group, r) => reduceScatter(group, xs[r]!, offsets, outs[r]!)));
  const sum = new Float32Array(count);
  for (const x of xs) for (let i = 0; i < count; i++) sum[i]! += x[i]!;
  expect(firstDifference(concatenated(outs), sum)).toBe(-1);
  for (const [r, x] of xs.entries()) expect(firstDifference(x, values(r, count))).toBe(-1); // inputs are only read
}

export async function checkRingSend(groups: readonly Group[], count: number): Promise<void> {
  const size = groups.length;
  // Both directions at once; at size 2 both neighbours are the same rank.
  const down = groups.map(() => new Float32Array(count));
  const up = groups.map(() => new Float32Array(count));
  await Promise.all(
    groups.flatMap((group, r) => [
      ringSend(group, values(r, count), down[r]!, 1),
      ringSend(group, values(r + 100, count), up[r]!, -1),
    ]),
  );
  for (let r = 0; r < size; r++) {
    expect(firstDifference(down[r]!, values((r - 1 + size) % size, count))).toBe(-1);
    expect(firstDifference(up[r]!, values(((r + 1) % size) + 100, count))).toBe(-1);
  }
}

export async function checkAllToAll(groups: readonly Group[], block: number): Promise<void> {
  const size = groups.length;
  const outs = groups.map(() => new Float32Array(block * size));
  await Promise.all(groups.map((group, r) => allToAll(group, values(r, block * size), outs[r]!)));
  for (let r = 0; r < size; r++) {
    const expected = concatenated(
      groups.map((_, from) => values(from, block * size).subarray(r * block, (r + 1) * block)),
    );
    expect(firstDifference(outs[r]!, expected)).toBe(-1);
  }
}

export async function checkBroadcast(
  groups: readonly Group[],
  count: number,
  root: number,
  route: 'chain' | 'direct',
): Promise<void> {
  const xs = groups.map((_, r) => values(r, count));
  await Promise.all(groups.map((group, r) => broadcast(group, xs[r]!, root, { route })));
  for (const x of xs) expect(firstDifference(x, values(root, count))).toBe(-1);
}

/** Rank 2 of 4 dies before or amid `call`: every survivor has to reject with its name. */
export async function checkDeath(call: (group: Group) => Promise<unknown>): Promise<void> {
  const culprit = 2;
  for (const afterMessages of [0, 3]) {
    let left = afterMessages;
    const c = cluster(4, {
      wrap: (wire, self, _peer, lane) =>
        self === culprit && lane !== 'control'
          ? tapped(wire, (message, pass) => {
              if (left-- > 0) pass(message);
              else c.nodes[culprit]!.kill();
            })
          : wire,
    });
    // A rank that only sends in this collective may finish it; it fails in the barriers behind.
    const running = c.groups.map((group) =>
      call(group)
        .then(() => barrier(group))
        .then(() => barrier(group)),
    );
    const results = await Promise.allSettled(running);
    for (const r of [0, 1, 3]) {
      const result = results[r]!;
      expect(result.status, `rank ${r}`).toBe('rejected');
      const { reason } = result as PromiseRejectedResult;
      expect(reason).toBeInstanceOf(PeerError);
      expect([(reason as PeerError).culprit, (reason as PeerError).evidence]).toEqual([culprit, 'closed']);
    }
    c.leave();
  }
}
