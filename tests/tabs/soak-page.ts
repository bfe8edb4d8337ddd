// A page for soak.tabs.test.ts: two ranks in one page, joined over real WebRTC again and again. Each time they
// all-reduce and end in another way.

import { PeerError } from '../../src/base/errors.ts';
import { realWorld } from '../../src/base/world.ts';
import type { World } from '../../src/base/world.ts';
import { NO_ICE } from '../../src/cluster/ice/servers.ts';
import type { ChannelLanes, PeerConnections } from '../../src/cluster/peer-connections.ts';
import { createWebRtcConnections } from '../../src/cluster/webrtc-connections.ts';
import { allReduce } from '../../src/collectives/all-reduce.ts';
import { connectChannels } from '../../src/collectives/library/connect.ts';

declare global {
  interface Window {
    /** Connects and disconnects so often. `leak`: keeps what should go. */
    soak(rounds: number, leak?: boolean): Promise<void>;
    /** Timers that have neither fired nor been cancelled. */
    openTimers(): number;
  }
}

let timers = 0;
const world: World = {
  ...realWorld,
  timer(delayMs, fire) {
    let live = true;
    timers++;
    const end = (): void => {
      if (live) {
        live = false;
        timers--;
      }
    };
    const cancel = realWorld.timer(delayMs, () => {
      end();
      fire();
    });
    return () => {
      end();
      cancel();
    };
  },
};
const kept: unknown[] = [];

window.soak = async (rounds, leak = false) => {
  for (let n = 0; n < rounds; n++) await round(n, leak);
};
window.openTimers = () => timers;

async function round(n: number, leak: boolean): Promise<void> {
  const { ends, lanes } = await join();
  const all = lanes.map((own, rank) => connectChannels(rank, new Map([[1 - rank, own]]), { world }));
  const xs = all.map(() => new Float32Array(5000).fill(1));
  await Promise.all(all.map((own, rank) => allReduce(own, xs[rank])));
  if (xs[0][4999] !== 2) throw new Error(`round ${n}: got ${xs[0][4999]}`);
  if (n % 3 === 1) {
    const stuck = allReduce(all[1], new Float32Array(300_000));
    all[0].abort(new PeerError(0, 'crashed', 'the soak test says so'));
    await stuck.then(
      () => {
        throw new Error(`round ${n}: an operation did not fail`);
      },
      (error: unknown) => {
        if (!(error instanceof PeerError)) throw error;
      },
    );
  }
  // In a third of the rounds the connection goes first.
  if (n % 3 === 2) for (const end of ends) end.close();
  for (const own of all) own.leave();
  for (const end of ends) end.close();
  if (leak) kept.push(all, lanes);
}

/** Two ends whose channels are open; signals go from one to the other directly. */
function join(): Promise<{ readonly ends: readonly PeerConnections[]; readonly lanes: readonly ChannelLanes[] }> {
  return new Promise((resolve, reject) => {
    const lanes: ChannelLanes[] = [];
    const open = new Set<number>();
    const ends: readonly PeerConnections[] = [0, 1].map((rank) =>
      createWebRtcConnections({
        rank,
        ice: () => NO_ICE,
        now: () => realWorld.now(),
        adopt: (_, own) => {
          lanes[rank] = own;
          return Promise.all(
            Object.values(own).map(
              (channel: RTCDataChannel) =>
                new Promise((opened) => {
                  channel.addEventListener('open', opened, { once: true });
                }),
            ),
          ).then(() => undefined);
        },
        onLink: (_, link) => {
          if (link.state === 'failed') reject(new Error(link.reason));
          if (link.state === 'open' && open.add(rank).size === 2) resolve({ ends, lanes });
        },
        onSignal: (peer, attempt, data) => queueMicrotask(() => ends[peer]!.signal(rank, attempt, data)),
      }),
    );
    for (const [rank, end] of ends.entries()) end.connect({ peer: 1 - rank, attempt: 1 });
  });
}
