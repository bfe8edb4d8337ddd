// A member of a room in a thread of its own, for tests that end the thread without a word.

import { realWorld } from '../../src/base/world.ts';
import { broadcastChannelCarrier } from '../../src/cluster/broadcast-channel.ts';
import { joinRendezvous } from '../../src/cluster/rendezvous.ts';
import { introduction } from './support.ts';

onmessage = ({ data }: MessageEvent<{ room: string; key: string }>) => {
  const quiet = (): void => {};
  const joined = joinRendezvous(
    {
      world: realWorld,
      carrier: broadcastChannelCarrier({ world: realWorld }),
      ...data,
      me: introduction(9),
      settleMs: 100,
    },
    { onPeers: quiet, onSignal: quiet, onNotice: () => {}, onStatus: quiet, onFatal: quiet },
  );
  joined.then(
    () => postMessage('joined'),
    (error: unknown) => postMessage(String(error)),
  );
};
