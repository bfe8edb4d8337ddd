// Receives that are posted ahead of need, over loopback links under a virtual clock: a large message comes while nobody
// waits; deadlines and the watch over values begin when somebody does.

import { expect, test } from 'vitest';
import { PeerError } from '../../src/base/errors.ts';
import { VirtualWorld } from '../../src/base/world.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import { ValueWatch, watchValues } from '../../src/collectives/record/value-watch.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';
import type { LoopbackMeshOptions } from '../../src/transport/loopback.ts';

/** Half a MiB: sent when it is asked for. */
const FLOATS = 128 * 1024;

function pair(world: VirtualWorld, options: LoopbackMeshOptions = {}) {
  const layout = { pp: 2, dp: 1, sp: 1, ep: 1, tp: 1 };
  return loopbackMesh(2, world, options).map(({ rank, links }) =>
    createMesh({ layout, rank, links, ledger: createLedger() }),
  );
}

test('a large message comes when its receive is posted, before it is taken', async () => {
  const world = new VirtualWorld();
  const [here, there] = pair(world);
  await world.advance(50);
  let sent = false;
  const data = Float32Array.from({ length: FLOATS }, (_, i) => i);
  const send = there!.scope('forward').axis('pp').begin('activation', 3).send(0, 0, data);
  void send.then(() => {
    sent = true;
  });
  await world.advance(500);
  expect(sent, 'before it is posted').toBe(false);
  const out = new Float32Array(FLOATS);
  const take = here!.scope('forward').axis('pp').begin('activation', 3).post(1, 0, out);
  await world.advance(500);
  expect(sent, 'after it is posted').toBe(true);
  expect(out).toEqual(data);
  await take();
});

test('no deadline counts before it is taken', async () => {
  const world = new VirtualWorld();
  const [here] = pair(world, { link: { deadlineMs: 5000 } });
  await world.advance(50);
  const take = here!.scope('forward').axis('pp').begin('activation', 3).post(1, 0, new Float32Array(FLOATS));
  let ended: unknown;
  void here!.failed.then((error) => {
    ended = error;
  });
  await world.advance(60_000);
  expect(ended).toBeUndefined();
  const taken = expect(take()).rejects.toThrow(PeerError);
  await world.advance(4000);
  expect(ended, 'within the deadline').toBeUndefined();
  await world.advance(4000);
  await taken;
  expect(ended).toMatchObject({ culprit: 1, evidence: 'slow' });
});

test('it is looked at where it is taken, not where it came', async () => {
  const world = new VirtualWorld();
  const [here, there] = pair(world);
  const watch = new ValueWatch();
  const group = watchValues(here!, watch).scope('forward').axis('pp');
  watch.order = 1;
  const out = new Float32Array(4);
  const take = group.begin('activation', 3).post(1, 0, out);
  await there!
    .scope('forward')
    .axis('pp')
    .begin('activation', 3)
    .send(0, 0, Float32Array.of(1, NaN, 3, 4));
  await world.advance(50);
  expect([out[0], watch.first]).toEqual([1, undefined]);
  watch.order = 7;
  await take();
  expect(watch.first).toEqual({ order: 7, from: 1 });
});
