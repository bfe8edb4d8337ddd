// A Wire over a BroadcastChannel that two tabs of one browser alone know by name: no server, no connection to make.
// Slower than a port (the bytes are copied by the browser), and it tells nothing when the other tab dies: heartbeats
// notice, or whoever knows sooner calls `lost` (a Web Lock that the tab held, for one). Both ends must exist before
// either sends: a BroadcastChannel keeps nothing for late listeners.

import { messagePortWire } from './message-port.ts';
import type { Wire } from './transport.ts';

export interface BroadcastWire {
  readonly wire: Wire;
  /** The other tab is known to be gone. */
  lost(): void;
}

export function broadcastChannelWire(name: string): BroadcastWire {
  const channel = new BroadcastChannel(name);
  const gone = new EventTarget();
  // What PortWire needs of a port: acknowledgements and the reason for closing travel alike.
  const port = {
    addEventListener: (type: string, listener: (event: never) => void) =>
      (type === 'close' ? gone : channel).addEventListener(type, listener as EventListener),
    postMessage: (message: unknown) => channel.postMessage(message),
    start: () => undefined,
    close: () => channel.close(),
  };
  return {
    wire: messagePortWire(port, 'broadcast-channel'),
    lost: () => {
      gone.dispatchEvent(new Event('close'));
    },
  };
}
