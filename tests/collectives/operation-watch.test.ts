// The deadline of an operation: it ends what takes too long, and nothing that is excused. Virtual time.

import { describe, expect, it } from 'vitest';
import type { PeerError } from '../../src/base/errors.ts';
import { VirtualWorld } from '../../src/base/world.ts';
import { barrier } from '../../src/collectives/barrier.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createGroup } from '../../src/collectives/link-group.ts';
import { createOperationWatch } from '../../src/collectives/record/operation-watch.ts';
import { createWatchedLinks } from '../../src/collectives/record/watched-links.ts';
import type { WatchedLinks } from '../../src/collectives/record/watched-links.ts';
import { loopbackPair } from '../../src/transport/loopback.ts';
import type { Lanes } from '../../src/transport/transport.ts';

const DEADLINE_MS = 120_000;

/** `size` ranks in virtual time, as workers/rank.ts makes them. */
function ranks(
  size: number,
  world: VirtualWorld,
): { own: WatchedLinks; errors: PeerError[]; call: () => Promise<void> }[] {
  const lanes = Array.from({ length: size }, () => new Map<number, Lanes>());
  for (let a = 0; a < size; a++) {
    for (let b = a + 1; b < size; b++) {
      const [control, bulk] = [loopbackPair(), loopbackPair()];
      for (const [end, self, peer] of [
        [0, a, b],
        [1, b, a],
      ] as const)
        lanes[self]!.set(peer, { control: control.ends[end], bulk: bulk.ends[end] });
    }
  }
  return lanes.map((given, rank) => {
    const errors: PeerError[] = [];
    const own = createWatchedLinks({
      rank,
      lanes: given,
      run: 1,
      view: 1,
      world,
      operationMs: DEADLINE_MS,
      expired: (error) => {
        errors.push(error);
        for (const link of own.links.values()) link.abort(error);
      },
    });
    const group = createGroup({
      id: 0,
      name: 'world',
      ranks: lanes.map((_, i) => i),
      self: rank,
      links: own.links,
      ledger: createLedger(),
      recorder: own.recorder,
      watch: own.watch,
    });
    const call = (): Promise<void> =>
      barrier(group).catch((error: PeerError) => {
        errors.push(error);
      });
    return { own, errors, call };
  });
}

describe('a rank that lives but does not call', () => {
  it('is named slow by everybody when the deadline has passed, and not before', async () => {
    const world = new VirtualWorld();
    const all = ranks(3, world);
    for (const { call } of all.slice(0, 2)) void call();
    await world.advance(DEADLINE_MS - 1000);
    expect(all.flatMap(({ errors }) => errors)).toEqual([]);
    await world.advance(2000);
    for (const { errors } of all.slice(0, 2)) expect(errors[0]).toMatchObject({ culprit: 2, evidence: 'slow' });
  });

  it('is waited for as long as it says that it takes its time, and given the whole deadline afterwards', async () => {
    const world = new VirtualWorld();
    const all = ranks(3, world);
    all[2]!.own.hold(true);
    await world.advance(2000);
    const done = all.slice(0, 2).map(({ call }) => call());
    // A pause that ends shortly before a deadline would have passed.
    await world.advance(30 * DEADLINE_MS - 3000);
    all[2]!.own.hold(false);
    await world.advance(DEADLINE_MS / 2);
    expect(all.flatMap(({ errors }) => errors)).toEqual([]);
    await Promise.all([...done, all[2]!.call(), world.advance(10)]);
    expect(all.flatMap(({ errors }) => errors)).toEqual([]);
    for (const { own } of all) for (const link of own.links.values()) link.leave();
    await world.advance(2 * DEADLINE_MS);
    expect(world.pending).toBe(0);
  });

  it('is waited for during a piece of work, in a pause or not', async () => {
    const world = new VirtualWorld();
    const all = ranks(3, world);
    const { own } = all[2]!;
    let compiled = (): void => {};
    own.hold(true);
    const work = own.holdDuring(
      new Promise<void>((resolve) => {
        compiled = resolve;
      }),
    );
    await world.advance(2000);
    for (const { call } of all.slice(0, 2)) void call();
    // Whichever ends first, the other still holds.
    own.hold(false);
    await world.advance(3 * DEADLINE_MS);
    own.hold(true);
    compiled();
    await work;
    await world.advance(3 * DEADLINE_MS);
    expect(all.flatMap(({ errors }) => errors)).toEqual([]);
    own.hold(false);
    await world.advance(1.2 * DEADLINE_MS);
    for (const { errors } of all.slice(0, 2)) expect(errors[0]).toMatchObject({ culprit: 2, evidence: 'slow' });
  });

  it('is named also after a pause, when it hangs', async () => {
    const world = new VirtualWorld();
    const all = ranks(3, world);
    all[2]!.own.hold(true);
    await world.advance(2000);
    for (const { call } of all.slice(0, 2)) void call();
    await world.advance(DEADLINE_MS);
    all[2]!.own.hold(false);
    await world.advance(1.2 * DEADLINE_MS);
    for (const { errors } of all.slice(0, 2)) expect(errors[0]).toMatchObject({ culprit: 2, evidence: 'slow' });
  });
});

describe('the watch', () => {
  function watched(excused?: (rank: number) => boolean): {
    world: VirtualWorld;
    expired: PeerError[];
    watch: ReturnType<typeof createOperationWatch>;
    sleep: (ms: number) => void;
  } {
    const world = new VirtualWorld();
    const expired: PeerError[] = [];
    let asleep = 0;
    // A frozen tab: its clock goes on, its timers come late.
    const frozen = {
      now: () => world.now(),
      randomBytes: () => new Uint8Array(0),
      timer: (ms: number, fire: () => void) =>
        world.timer(ms, () => {
          if (asleep > world.now()) world.timer(asleep - world.now(), fire);
          else fire();
        }),
    };
    const watch = createOperationWatch({
      world: frozen,
      self: 0,
      operationMs: DEADLINE_MS,
      expired: (error) => {
        expired.push(error);
      },
      ...(excused ? { excused } : {}),
    });
    return {
      world,
      expired,
      watch,
      sleep: (ms) => {
        asleep = world.now() + ms;
      },
    };
  }

  it.each([
    ['with', () => false],
    ['without', undefined],
  ] as const)('does not count the time in which its own tab was frozen, %s excuses', async (_, excused) => {
    const { world, expired, watch, sleep } = watched(excused);
    watch.started('dp', 'barrier', 0, 1);
    await world.advance(1000);
    sleep(10 * DEADLINE_MS);
    await world.advance(10 * DEADLINE_MS + 1000);
    // Without excuses it looks but once, and lets the answer that lies in the queue come in.
    expect(expired).toEqual([]);
    await world.advance(DEADLINE_MS);
    expect(expired.length).toBe(1);
  });

  it('leaves no timer when everything has ended', async () => {
    const { world, watch } = watched(() => true);
    const id = watch.started('dp', 'barrier', 0, 1);
    await world.advance(3 * DEADLINE_MS);
    expect(world.pending).toBe(1);
    watch.ended(id);
    expect(world.pending).toBe(0);
  });
});
