// Who is watched by the lock of its tab: peers of this browser, once connected, and nobody else. The connections
// below are a list of what was asked of them.

import { expect, it } from 'vitest';
import { createWitnessedConnections } from '../../src/cluster/witness.ts';
import type { Witness } from '../../src/cluster/witness.ts';
import type { PeerConnections, PeerConnectionsOptions } from '../../src/cluster/peer-connections.ts';

/** One tab of a browser whose locks are `held`; `open(peer)` is what its connection tells. */
function tab(
  rank: number,
  held: Set<string>,
  { name, ...edit }: { readonly name?: string } & Partial<Witness> = { name: 'view 7' },
) {
  const log: string[] = [];
  let inner: PeerConnectionsOptions | undefined;
  const make = (options: PeerConnectionsOptions): PeerConnections => {
    inner = options;
    return {
      connect: ({ peer }) => log.push(`connect with ${held.size} locks to ${peer}`),
      signal: (peer) => log.push(`signal ${peer}`),
      lanes: () => new Map(),
      routes: async () => new Map([[1, 'host']]),
      examine: async () => new Map(),
      close: () => log.push('close'),
    };
  };
  const witness: Witness = {
    holdLock: async (lock) => {
      held.add(lock);
      return () => held.delete(lock);
    },
    isHeld: async (lock) => held.has(lock),
    watch: (peer, lock) => log.push(`watch ${peer}: ${lock}`),
    ...edit,
  };
  const options = {
    ...(name === undefined ? {} : { name }),
    rank,
    onLink: (peer: number, { state }: { state: string }) => log.push(`${state} ${peer}`),
  } as unknown as PeerConnectionsOptions;
  const connections = createWitnessedConnections(options, witness, make);
  return { connections, log, open: (peer: number) => inner!.onLink(peer, { state: 'open', attempt: 1 }) };
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

it('watches a connected peer whose tab is of this browser, and gives its own lock back', async () => {
  const held = new Set<string>();
  const tabs = [tab(0, held), tab(1, held)];
  tabs[0].connections.connect({ peer: 1, attempt: 1 });
  await settle();
  expect(tabs[0].log).toEqual(['connect with 2 locks to 1']);
  tabs[0].open(1);
  await settle();
  expect(tabs[0].log.slice(1)).toEqual(['open 1', 'watch 1: tabmesh tab view 7 1']);
  tabs[1].connections.close();
  await settle();
  expect([...held]).toEqual(['tabmesh tab view 7 0']);
  tabs[0].connections.close();
  tabs[0].connections.connect({ peer: 1, attempt: 2 });
  await settle();
  expect(tabs[0].log.slice(3)).toEqual(['close']);
  expect(held.size).toBe(0);
});

it('leaves a peer of another browser to silence', async () => {
  const [here, there] = [tab(0, new Set()), tab(1, new Set())];
  for (const [peer, one] of [
    [1, here],
    [0, there],
  ] as const) {
    one.open(peer);
    await settle();
    expect(one.log).toEqual([`open ${peer}`]);
  }
});

it('connects without locks, where the browser has none or the view has no name', async () => {
  const refused = async (): Promise<never> => {
    throw new Error('refused');
  };
  for (const one of [tab(0, new Set(), { name: 'x', holdLock: refused, isHeld: refused }), tab(0, new Set())]) {
    one.connections.connect({ peer: 1, attempt: 1 });
    await settle();
    one.open(1);
    one.connections.signal(1, 1, { type: 'offer', sdp: '' });
    await settle();
    expect(one.log.slice(1)).toEqual(['open 1', 'signal 1']);
    expect([...(await one.connections.routes())]).toEqual([[1, 'host']]);
  }
  const nameless = tab(0, new Set(), {});
  nameless.connections.connect({ peer: 1, attempt: 1 });
  expect(nameless.log).toEqual(['connect with 0 locks to 1']);
});
