// The exchange of rows between expert owners: every row reaches its expert in the order (expert, source rank, source
// order), comes back to its place, and the bytes are the rows that cross ranks plus the counts. Uneven loads, experts
// without a row, and all rows at one expert.

import { expect, test } from 'vitest';
import { RandomStream } from '../../src/base/random.ts';
import { realWorld } from '../../src/base/world.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { Program, readTensors } from '../../src/device/program.ts';
import { expertExchange } from '../../src/parallel/expert/all-to-all.ts';
import { makeLayout } from '../../src/train/layout.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';

const D = 3;
const TOKENS = 6;
const PER_TOKEN = 2;
const EXPERTS = 4;

/**
 * Rows per expert on each rank; each sums to TOKENS * PER_TOKEN and none exceeds TOKENS (the experts of a token
 * differ).
 */
const LOADS: Readonly<Record<string, readonly (readonly number[])[]>> = {
  even: [
    [3, 3, 3, 3],
    [3, 3, 3, 3],
  ],
  uneven: [
    [6, 1, 0, 5],
    [2, 4, 6, 0],
  ],
  'all to the first rank': [
    [6, 6, 0, 0],
    [6, 6, 0, 0],
  ],
  'four ranks': [
    [6, 0, 3, 3],
    [0, 6, 6, 0],
    [3, 3, 3, 3],
    [1, 5, 2, 4],
  ],
};

async function exchange(loads: readonly (readonly number[])[]) {
  const P = loads.length;
  const nodes = loopbackMesh(P, realWorld);
  const ledgers = nodes.map(() => createLedger());
  const random = new RandomStream(5, 'rows');
  const rowsOf = loads.map((load, rank) =>
    Float32Array.from(
      { length: load.reduce((a, b) => a + b, 0) * D },
      (_, i) => rank * 1000 + i + random.uniform(i) / 4,
    ),
  );
  const results = await Promise.all(
    nodes.map(async ({ rank, links }) => {
      const group = createMesh({ layout: makeLayout({ ep: P }), rank, links, ledger: ledgers[rank] }).axis('ep');
      const own = expertExchange(group, { tokens: TOKENS, perToken: PER_TOKEN, experts: EXPERTS, width: D });
      const program = new Program(createCpuDevice());
      const rows = program.tensor([TOKENS * PER_TOKEN, D], 'f32', 'rows');
      const offsets = program.tensor([EXPERTS + 1], 'u32', 'offsets');
      const r = program.recorder('all');
      const at = own.dispatch(r, rows, offsets);
      const again = own.redispatch(r, rows, offsets, at.counts);
      const back = own.collect(r, at.rows, offsets, at.counts);
      program.keep(rows, offsets, at.rows, at.offsets, again, back);
      const plans = await program.finish();
      let sum = 0;
      program.write(rows, 0, rowsOf[rank]);
      program.write(offsets, 0, Uint32Array.from([0, ...loads[rank].map((n) => (sum += n))]));
      await plans.get('all')!.run();
      const [here, bounds, twice, home] = await readTensors(program, [at.rows, at.offsets, again, back]);
      return { here, bounds, twice, home };
    }),
  );
  for (const node of nodes) node.leave();
  return { P, rowsOf, results, ledgers };
}

test.each(Object.entries(LOADS))('%s', async (_name, loads) => {
  const { P, rowsOf, results, ledgers } = await exchange(loads);
  const local = EXPERTS / P;
  results.forEach(({ here, bounds, twice, home }, rank) => {
    const want: number[] = [];
    const ends = [0];
    for (let e = rank * local; e < (rank + 1) * local; e++) {
      for (let p = 0; p < P; p++) {
        const from = loads[p].slice(0, e).reduce((a, b) => a + b, 0) * D;
        want.push(...rowsOf[p].subarray(from, from + loads[p][e] * D));
      }
      ends.push(want.length / D);
    }
    expect([...bounds]).toEqual(ends);
    expect([...here.subarray(0, want.length)]).toEqual(want);
    expect([...twice.subarray(0, want.length)]).toEqual(want);
    expect([...home]).toEqual([...rowsOf[rank]]);
    const sent = (e: number): boolean => Math.floor(e / local) !== rank;
    const out = loads[rank].reduce((n, rows, e) => n + (sent(e) ? rows : 0), 0);
    const returned = loads.reduce(
      (n, load, p) => n + (p === rank ? 0 : load.slice(rank * local, (rank + 1) * local).reduce((a, b) => a + b, 0)),
      0,
    );
    expect(ledgers[rank].sentByKind()['all-to-all']).toBe((2 * out + returned) * D * 4 + (P - 1) * local * 4);
  });
});
