// PeerJS: a DataConnection with its default, binary serialisation. Its server only carries offers, answers and
// candidates, and is replaced by our signalling: the socket that it opens while a Peer is made is one of these, so
// nothing leaves the browser. The connection and all its code stay PeerJS's own.

import { bytesOf } from './peer.ts';
import type { PeerEnd, PeerLibrary, Signalling } from './peer.ts';

/**
 * What PeerJS uses of a WebSocket to its server. `onThere`: the other side listens; that may come before our own Peer
 * is ready.
 */
function serverOver(signalling: Signalling, own: string, onThere: () => void): typeof WebSocket {
  class ServerSocket {
    readyState = 1;
    onmessage: ((event: { data: string }) => void) | undefined;
    onopen: (() => void) | undefined;
    onclose: (() => void) | undefined;
    constructor() {
      signalling.onMessage = (message) => {
        if (message === THERE) onThere();
        else this.onmessage?.({ data: JSON.stringify(message) });
      };
      queueMicrotask(() => {
        this.onopen?.();
        this.onmessage?.({ data: '{"type":"OPEN"}' });
      });
    }
    send(text: string): void {
      const message = JSON.parse(text) as { readonly type: string };
      if (message.type !== 'HEARTBEAT') signalling.say({ ...message, src: own });
    }
    close(): void {
      this.readyState = 3;
    }
  }
  return ServerSocket as unknown as typeof WebSocket;
}

const THERE = 'there';

export const peerjs: PeerLibrary = {
  library: 'peerjs',
  async open(initiator, name, signalling) {
    const { Peer } = await import('peerjs');
    const [own, other] = [`${name}-${initiator ? 0 : 1}`, `${name}-${initiator ? 1 : 0}`];
    const real = globalThis.WebSocket;
    let answered: () => void = () => undefined;
    // The one that answers must listen before it is called.
    const listening = new Promise<void>((resolve) => {
      answered = resolve;
    });
    globalThis.WebSocket = serverOver(signalling, own, () => answered());
    let peer: InstanceType<typeof Peer>;
    try {
      peer = new Peer(own, { host: 'localhost', config: { iceServers: [] } });
    } finally {
      globalThis.WebSocket = real;
    }
    const failed = new Promise<never>((_, reject) => {
      peer.on('error', reject);
    });
    failed.catch(() => undefined);
    await Promise.race([
      failed,
      new Promise<void>((resolve) => {
        peer.on('open', () => resolve());
      }),
    ]);
    const incoming = new Promise<ReturnType<typeof peer.connect>>((resolve) => {
      peer.on('connection', resolve);
    });
    if (!initiator) signalling.say(THERE);
    else await listening;
    const connection = initiator ? peer.connect(other, { reliable: true }) : await Promise.race([failed, incoming]);
    if (!connection.open)
      await Promise.race([
        failed,
        new Promise<void>((resolve) => {
          connection.on('open', () => resolve());
        }),
      ]);
    const end: PeerEnd = {
      send: async (data) => {
        await connection.send(data);
      },
      onData: undefined,
      close: () => peer.destroy(),
    };
    connection.on('data', (data) => end.onData?.(bytesOf(data)));
    return end;
  },
};
