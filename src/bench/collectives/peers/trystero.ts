// Trystero: a room of two with one action. Its strategies differ only in who carries announcements and offers; here our
// signalling does, through the same `createTopicStrategy` that its own strategies use, so nothing leaves the browser.

import { bytesOf } from './peer.ts';
import type { PeerEnd, PeerLibrary } from './peer.ts';

export const trystero: PeerLibrary = {
  library: 'trystero',
  async open(_, name, signalling) {
    const { createTopicStrategy } = await import('@trystero-p2p/core');
    const subscribers = new Map<string, (topic: string, message: string) => unknown>();
    signalling.onMessage = (message) => {
      const { topic, text } = message as { readonly topic: string; readonly text: string };
      void subscribers.get(topic)?.(topic, text);
    };
    const join = createTopicStrategy({
      init: () => ({}),
      subscribeTopic: (_relay, topic, onMessage) => {
        subscribers.set(topic, onMessage);
        return () => {
          subscribers.delete(topic);
        };
      },
      publishTopic: (_relay, topic, message) => {
        signalling.say({ topic, text: typeof message === 'string' ? message : JSON.stringify(message) });
      },
    });
    const room = join({ appId: 'tabmesh-bench', rtcConfig: { iceServers: [] }, turnConfig: [] }, name);
    const action = room.makeAction<Uint8Array<ArrayBuffer>>('array');
    const end: PeerEnd = {
      send: (data) => action.send(data),
      onData: undefined,
      close: () => {
        void room.leave();
      },
    };
    action.onMessage = (data) => end.onData?.(bytesOf(data));
    if (Object.keys(room.getPeers()).length === 0)
      await new Promise<void>((resolve) => {
        room.onPeerJoin = () => resolve();
      });
    return end;
  },
};
