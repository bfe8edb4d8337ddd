// The collectives as one signature, each with data of its own and its one-line reference: calls of a simulated program.
// Values are small multiples of 1/4, so that every sum is exact in f32 and in any order; true when the result is right.
// A collective of its own file in tests/collectives/calls/ is found there, and has a contract of what is found
// (tests/contracts/collective-calls.test.ts).

import { allGather } from '../../src/collectives/all-gather.ts';
import { allReduce } from '../../src/collectives/all-reduce.ts';
import { allToAll, allToAllVariable } from '../../src/collectives/all-to-all.ts';
import { barrier } from '../../src/collectives/barrier.ts';
import { broadcast } from '../../src/collectives/broadcast.ts';
import { gather } from '../../src/collectives/gather.ts';
import type { Group } from '../../src/collectives/group.ts';
import { evenParts } from '../../src/collectives/parts.ts';
import { ringSendBoth } from '../../src/collectives/point/ring-send-both.ts';
import { scatter } from '../../src/collectives/point/scatter.ts';
import { recv, send } from '../../src/collectives/point/send-recv.ts';
import { reduceScatter } from '../../src/collectives/reduce-scatter.ts';
import { same, sum, values } from '../contracts/collective-contract.ts';

export type Call = (group: Group, count: number, salt: number) => Promise<boolean>;

/** What a file of tests/collectives/calls/ exports as `call`; it is named as the file of the collective. */
export interface CollectiveCall {
  readonly name: string;
  readonly run: Call;
  /** Payload bytes that `rank` sends in `run`, by the formula of the collective's file. */
  bytes(rank: number, size: number, count: number, salt: number): number;
}

export const FILES: readonly CollectiveCall[] = Object.values(
  import.meta.glob<CollectiveCall>('../collectives/calls/*.ts', { import: 'call', eager: true }),
);

export const CALLS: readonly Call[] = [
  async (group) => {
    await barrier(group);
    return true;
  },
  async (group, count, salt) => {
    const x = values(group.rank + salt, count);
    await allReduce(group, x, { route: (['owner', 'ring', 'exchange'] as const)[salt % 3] });
    return same(x, sum(group.size, count, salt));
  },
  async (group, count, salt) => {
    const offsets = evenParts(count, group.size);
    const out = new Float32Array(count);
    await allGather(group, values(salt, count).subarray(offsets[group.rank], offsets[group.rank + 1]), offsets, out, {
      route: salt % 2 ? 'direct' : 'ring',
    });
    return same(out, values(salt, count));
  },
  async (group, count, salt) => {
    const offsets = evenParts(count, group.size);
    const out = new Float32Array(offsets[group.rank + 1] - offsets[group.rank]);
    await reduceScatter(group, values(group.rank + salt, count), offsets, out, {
      route: salt % 2 ? 'owner' : 'ring',
      wire: salt % 3 ? 'f32' : 'bf16',
    });
    // The contract's values are exact in bf16, sums of a ring's few members too.
    return same(out, sum(group.size, count, salt).subarray(offsets[group.rank], offsets[group.rank + 1]));
  },
  async (group, count, salt) => {
    const x = values(group.rank + salt, count);
    await broadcast(group, x, salt % group.size, { route: salt % 2 ? 'chain' : 'direct' });
    return same(x, values((salt % group.size) + salt, count));
  },
  async (group, count, salt) => {
    const block = Math.ceil(count / group.size);
    const out = new Float32Array(block * group.size);
    await allToAll(group, values(group.rank + salt, block * group.size), out);
    return group.ranks.every((_, from) =>
      same(
        out.subarray(from * block, (from + 1) * block),
        values(from + salt, block * group.size).subarray(group.rank * block, (group.rank + 1) * block),
      ),
    );
  },
  async (group, count, salt) => {
    const length = (from: number, to: number): number => (from * 3 + to * 5 + salt) % Math.max(1, count);
    const out = await allToAllVariable(
      group,
      group.ranks.map((_, to) => values(group.rank * 10 + to, length(group.rank, to))),
      'f32',
      count + 1,
      { wire: salt % 3 ? 'f32' : 'f16' },
    );
    return out.every((block, from) => same(block, values(from * 10 + group.rank, length(from, group.rank))));
  },
  async (group, count, salt) => {
    const root = salt % group.size;
    const out = await gather(group, values(group.rank + salt, count), root, count, { wire: salt % 3 ? 'f32' : 'bf16' });
    return group.rank !== root || out.every((part, from) => same(part, values(from + salt, count)));
  },
  async (group, count, salt) => {
    const root = salt % group.size;
    const offsets = evenParts(count, group.size);
    const out = new Float32Array(offsets[group.rank + 1] - offsets[group.rank]);
    await scatter(group, group.rank === root ? values(salt, count) : undefined, offsets, out, root);
    return same(out, values(salt, count).subarray(offsets[group.rank], offsets[group.rank + 1]));
  },
  async (group, count, salt) => {
    const [up, down] = [new Float32Array(count), new Float32Array(count)];
    await ringSendBoth(
      group,
      { data: values(group.rank + salt, count), out: up },
      { data: values(group.rank + salt + 9, count), out: down },
    );
    const at = (step: number): number => (group.rank + step + group.size) % group.size;
    return same(up, values(at(-1) + salt, count)) && same(down, values(at(1) + salt + 9, count));
  },
  async (group, count, salt) => {
    const [from, to] = [salt % group.size, (salt + 1) % group.size];
    if (group.rank === from) await send(group, to, values(salt, count));
    if (group.rank !== to) return true;
    const out = new Float32Array(count);
    await recv(group, from, out);
    return same(out, values(salt, count));
  },
  ...FILES.map(({ run }) => run),
];
