// The far end of a transferred channel, for channel.browser.test.ts: makes a link in a worker, sends back twice what it
// receives, then waits for the leave.

import { realWorld } from '../../src/base/world.ts';
import { createLink } from '../../src/transport/link.ts';
import { messagePortWire } from '../../src/transport/message-port.ts';
import type { Lanes, Tag } from '../../src/transport/transport.ts';
import { channelWire } from '../../src/transport/webrtc.ts';

/** `channels`: transferred data channels; `ports`: ports that the page relays. */
export interface EchoRequest {
  readonly channels?: { control: RTCDataChannel; bulk: RTCDataChannel };
  readonly ports?: { control: MessagePort; bulk: MessagePort };
  readonly count: number;
}

addEventListener('message', (event: MessageEvent<EchoRequest>) => void echo(event.data));

async function echo({ channels, ports, count }: EchoRequest): Promise<void> {
  const lanes: Lanes = channels
    ? { control: channelWire(channels.control, 'webrtc worker'), bulk: channelWire(channels.bulk, 'webrtc worker') }
    : { control: messagePortWire(ports!.control, 'webrtc relay'), bulk: messagePortWire(ports!.bulk, 'webrtc relay') };
  const link = createLink({ lanes, self: 1, peer: 0, run: 1, view: 1, world: realWorld });
  const tag = (seq: number): Tag => ({ group: 1, seq, chunk: 0, kind: 'gradient' });
  const x = new Float32Array(count);
  await link.recv(tag(0), x);
  await link.send(
    tag(1),
    x.map((value) => 2 * value),
  );
  postMessage({ kind: link.kind, evidence: (await link.failed).evidence });
}
