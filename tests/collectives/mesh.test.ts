// The mesh: coordinates, groups along axes, their ids and orders, and that streams of different groups never mix.

import { describe, expect, it } from 'vitest';
import { AXES, worldSize } from '../../src/base/axis.ts';
import type { Layout } from '../../src/base/axis.ts';
import { LayoutError, PeerError } from '../../src/base/errors.ts';
import { realWorld } from '../../src/base/world.ts';
import { allReduce } from '../../src/collectives/all-reduce.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { coordinatesOf, createMesh, rankOf } from '../../src/collectives/mesh.ts';
import type { Mesh } from '../../src/collectives/mesh.ts';
import { createFlightRecorder } from '../../src/collectives/record/flight-recorder.ts';
import { mergeTimeline } from '../../src/collectives/record/timeline.ts';
import { evenParts } from '../../src/collectives/parts.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';

function layoutOf(sizes: Partial<Layout>): Layout {
  return { pp: 1, dp: 1, sp: 1, ep: 1, tp: 1, ...sizes };
}

function meshes(sizes: Partial<Layout>): { all: Mesh[]; leave(): void } {
  const layout = layoutOf(sizes);
  const nodes = loopbackMesh(worldSize(layout), realWorld);
  return {
    all: nodes.map(({ rank, links }) => createMesh({ layout, rank, links, ledger: createLedger() })),
    leave: () => {
      for (const node of nodes) node.leave();
    },
  };
}

describe('mesh', () => {
  it('numbers the ranks ((((pp * DP) + dp) * SP + sp) * EP + ep) * TP + tp', () => {
    const layout: Layout = { pp: 2, dp: 3, sp: 2, ep: 1, tp: 2 };
    expect(rankOf({ pp: 1, dp: 2, sp: 0, ep: 0, tp: 1 }, layout)).toBe((((1 * 3 + 2) * 2 + 0) * 1 + 0) * 2 + 1);
    for (let rank = 0; rank < worldSize(layout); rank++) expect(rankOf(coordinatesOf(rank, layout), layout)).toBe(rank);
    expect(() => rankOf({ pp: 2, dp: 0, sp: 0, ep: 0, tp: 0 }, layout)).toThrow('internal: coordinate pp = 2');
  });

  it('groups the ranks along one axis and along products, in world order', () => {
    const { all, leave } = meshes({ pp: 2, dp: 2, tp: 2 });
    const mesh = all[5]!; // pp 1, dp 0, tp 1
    expect(AXES.map((axis) => mesh.coordinate(axis))).toEqual([1, 0, 0, 0, 1]);
    expect(mesh.axis('pp').ranks).toEqual([1, 5]);
    expect(mesh.axis('dp').ranks).toEqual([5, 7]);
    expect(mesh.axis('tp').ranks).toEqual([4, 5]);
    expect([mesh.axis('sp').ranks, mesh.axis('sp').size]).toEqual([[5], 1]);
    expect(mesh.group(['tp', 'dp']).ranks).toEqual([4, 5, 6, 7]);
    expect(mesh.group(['dp', 'tp'])).toBe(mesh.group(['tp', 'dp']));
    expect(mesh.group(['dp', 'tp']).name).toBe('dp x tp');
    expect([mesh.world.ranks, mesh.world.rank, mesh.world.name]).toEqual([[0, 1, 2, 3, 4, 5, 6, 7], 5, 'world']);
    expect(mesh.rankAt({ pp: 0, tp: 0 })).toBe(0);
    leave();
  });

  it('gives all members of a group one id, different groups different ids', () => {
    const { all, leave } = meshes({ pp: 2, dp: 2 });
    const ids = (mesh: Mesh): number[] => [
      mesh.axis('pp').id,
      mesh.axis('dp').id,
      mesh.group(['pp', 'dp']).id,
      mesh.world.id,
      mesh.subgroup([3, 0, 1, 2])!.id,
      ...['forward', 'backward'].flatMap((name) => {
        const scope = mesh.scope(name);
        return [scope.axis('pp').id, scope.world.id, scope.scope('pp').world.id, scope.subgroup([3, 0, 1, 2])!.id];
      }),
    ];
    const [first, ...others] = all.map(ids);
    expect(new Set(first).size).toBe(13);
    for (const other of others) expect(other).toEqual(first);
    leave();
  });

  it('lends the name of a scope to one at a time, and counts on when it is lent again', async () => {
    const { all, leave } = meshes({ dp: 2 });
    const [mesh, other] = all;
    const first = mesh!.scope('a');
    expect(() => mesh!.scope('a')).toThrow("scope 'a' of the mesh is in use");
    expect(() => mesh!.scope('b/c')).toThrow("scope 'b/c': expected a name without /");
    first.scope('b');
    expect(() => first.scope('b')).toThrow("scope 'a/b' of the mesh is in use");
    expect(first.axis('dp').name).toBe('a/dp');
    expect(first.axis('dp').begin('send').seq).toBe(0);
    first.close();
    // The other rank may still be busy with what was sent before.
    expect(mesh!.scope('a').axis('dp').begin('send').seq).toBe(1);
    const theirs = other!.scope('a').axis('dp');
    expect([theirs.numbers(1), theirs.begin('send').seq]).toEqual([0, 1]);
    leave();
  });

  it('never mixes the streams of different groups, whatever the order between them', async () => {
    const { all, leave } = meshes({ dp: 2, tp: 3 });
    const results = await Promise.all(
      all.map(async (mesh) => {
        const [dp, tp, both] = [0, 1, 2].map(() => new Float32Array(50).fill(10 ** mesh.rank));
        const calls = [
          () => allReduce(mesh.axis('dp'), dp!),
          () => allReduce(mesh.axis('tp'), tp!),
          () => allReduce(mesh.group(['dp', 'tp']), both!),
          () => allReduce(mesh.scope('extra').axis('dp'), new Float32Array(9)),
        ];
        if (mesh.rank % 2) calls.reverse(); // the order counts within a group only
        await Promise.all(calls.map((call) => call()));
        return [dp![49], tp![0], both![7]];
      }),
    );
    expect(results).toEqual([
      [1001, 111, 111111],
      [10010, 111, 111111],
      [100100, 111, 111111],
      [1001, 111000, 111111],
      [10010, 111000, 111111],
      [100100, 111000, 111111],
    ]);
    leave();
  });

  it('keeps coordinates and orders where the links number the ranks otherwise', async () => {
    const layout = layoutOf({ pp: 2, dp: 2 });
    const ranks = [2, 0, 3, 1];
    const nodes = loopbackMesh(4, realWorld);
    const all = nodes.map(({ rank, links }) => createMesh({ layout, rank, ranks, links, ledger: createLedger() }));
    const mesh = all[3]!; // third of the mesh: pp 1, dp 0
    expect([mesh.rank, mesh.coordinate('pp'), mesh.coordinate('dp')]).toEqual([2, 1, 0]);
    expect([mesh.world.ranks, mesh.axis('dp').ranks, mesh.axis('pp').ranks]).toEqual([ranks, [3, 1], [2, 3]]);
    expect([mesh.rankAt({ pp: 0 }), mesh.subgroup([3, 2])!.ranks]).toEqual([0, [1, 3]]);
    const sums = await Promise.all(
      all.map(async (own) => {
        const x = Float32Array.of(10 ** own.rank);
        await allReduce(own.axis('dp'), x);
        return [own.rank, x[0]];
      }),
    );
    expect(sums).toEqual([
      [1, 11],
      [3, 1100],
      [0, 11],
      [2, 1100],
    ]);
    const bad = (order: readonly number[]) => () =>
      createMesh({ layout, rank: 0, ranks: order, links: nodes[0]!.links, ledger: createLedger() });
    for (const order of [
      [0, 1, 2],
      [0, 1, 2, 2],
      [1, 2, 3, 4],
    ])
      expect(bad(order)).toThrow(/mesh of 4: expected the ranks \[0, 1, 2, 3\] in some order, got/);
    for (const node of nodes) node.leave();
  });

  it('tells all ranks when one of them crashes', async () => {
    const { all } = meshes({ pp: 3, dp: 2 });
    all[4]!.abort(new PeerError(4, 'device-lost', 'the GPU was lost'));
    const failures = await Promise.all(all.map((mesh) => mesh.failed));
    for (const error of failures) expect([error.culprit, error.evidence]).toEqual([4, 'device-lost']);
  });

  it('records the operations of all its groups where a recorder is given', async () => {
    const nodes = loopbackMesh(4, realWorld);
    const recorders = nodes.map(({ rank }) => createFlightRecorder(rank, realWorld));
    const all = nodes.map(({ rank, links }) =>
      createMesh({
        layout: layoutOf({ dp: 2, tp: 2 }),
        rank,
        links,
        ledger: createLedger(),
        recorder: recorders[rank],
      }),
    );
    // What has its number and has not started was not called.
    const later = all.map((mesh) => mesh.axis('dp').begin('all-reduce'));
    expect(recorders.flatMap((recorder) => recorder.dump('test').records)).toEqual([]);
    await Promise.all(
      all.flatMap((mesh, rank) => [
        allReduce(mesh.axis('dp'), new Float32Array(9), { operation: later[rank]! }),
        allReduce(mesh.axis('tp'), new Float32Array(5)),
      ]),
    );
    for (const mesh of all)
      void allReduce(mesh.axis('tp'), new Float32Array(mesh.rank === 3 ? 6 : 7)).catch(() => undefined);
    await Promise.all(all.map((mesh) => mesh.failed));
    const { entries, diverged } = mergeTimeline(recorders.map((recorder) => recorder.dump('test')));
    expect(entries.map(({ group, seq, steps }) => [group, seq, steps.map(({ rank }) => rank)])).toEqual([
      ['dp', 0, [0, 2]],
      ['tp', 0, [0, 1]],
      ['tp', 1, [0, 1]],
      ['dp', 0, [1, 3]],
      ['tp', 0, [2, 3]],
      ['tp', 1, [2, 3]],
    ]);
    expect(diverged).toMatchObject({ kind: 'mismatch', group: 'tp', seq: 1 });
  });

  it('refuses a layout that does not fit the world', () => {
    const [node] = loopbackMesh(3, realWorld);
    const make = (): Mesh =>
      createMesh({ layout: layoutOf({ dp: 2, tp: 2 }), rank: 0, links: node!.links, ledger: createLedger() });
    expect(make).toThrow(LayoutError);
    expect(make).toThrow('mesh: dp=2,tp=2 needs 4 ranks, but the world has 3');
    node!.leave();
  });

  it('divides any count into parts', () => {
    expect(evenParts(10, 4)).toEqual([0, 3, 6, 8, 10]);
    expect(evenParts(2, 4)).toEqual([0, 1, 2, 2, 2]);
    expect(evenParts(0, 3)).toEqual([0, 0, 0, 0]);
  });
});
