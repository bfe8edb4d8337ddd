// What a peer may not do on a connection: each is told once, and nothing of it is kept.

import { expect, it } from 'vitest';
import { OWN_CHANNEL, SignalGuard, guardConnection } from '../../../src/cluster/ice/peer-guard.ts';
import type { Guarded, OwnChannel } from '../../../src/cluster/ice/peer-guard.ts';
import type { IceSignal } from '../../../src/cluster/messages.ts';

interface Scene {
  readonly pc: EventTarget;
  readonly own: OwnChannel & { closed: number };
  readonly told: string[];
  open(): { closed: boolean };
}

function scene(): Scene {
  const pc = new EventTarget();
  const own = {
    onmessage: null,
    onclose: () => undefined,
    closed: 0,
    close() {
      this.closed++;
    },
  } as Scene['own'];
  const told: string[] = [];
  guardConnection(pc as unknown as Guarded, own, (what) => told.push(what));
  return {
    pc,
    own,
    told,
    open() {
      const channel = {
        closed: false,
        close() {
          this.closed = true;
        },
      };
      pc.dispatchEvent(Object.assign(new Event('datachannel'), { channel }));
      return channel;
    },
  };
}

it('takes nothing on the channel of simple-peer, not even an empty message', () => {
  const { own, told } = scene();
  (own.onmessage as () => void)();
  expect(told).toEqual(['it sent data on a channel that carries none']);
  // Its end would end the connection, on the other side, before the worker here has heard why.
  expect([own.onmessage, own.onclose, own.closed]).toEqual([null, null, 0]);
});

it('closes every channel that a peer opens, and tells of the first', () => {
  const { pc, told, open } = scene();
  expect(Array.from({ length: 500 }, open).every(({ closed }) => closed)).toBe(true);
  pc.dispatchEvent(new Event('track'));
  expect(told).toEqual(['it opened a data channel of its own']);
  const media = scene();
  media.pc.dispatchEvent(new Event('track'));
  expect(media.told).toEqual(['it sent sound or pictures']);
});

it('knows its own channel from the lanes', () => {
  expect([10, 11, 12]).not.toContain(OWN_CHANNEL.id);
});

it("takes one description of the peer's role, data only, and so many candidates", () => {
  const sdp = 'v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n';
  const [offer, answer] = (['offer', 'answer'] as const).map((type): IceSignal => ({ type, sdp })) as [
    IceSignal,
    IceSignal,
  ];
  const called = new SignalGuard(false);
  expect([
    called.check(answer),
    called.check(offer),
    called.check(offer),
    called.check({ type: 'offer', sdp: `${sdp}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n` }),
  ]).toEqual([false, true, false, false]);
  const caller = new SignalGuard(true);
  expect([caller.check(offer), caller.check(answer), caller.check(answer)]).toEqual([false, true, false]);
  expect(new SignalGuard(false).check({ type: 'offer', sdp: `${sdp}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n` })).toBe(
    'it offers sound or pictures',
  );
  const candidate: IceSignal = {
    type: 'candidate',
    candidate: { candidate: 'candidate:1 1 udp 1 192.0.2.1 9 typ host', sdpMLineIndex: 0, sdpMid: '0' },
  };
  expect(Array.from({ length: 300 }, () => caller.check(candidate)).filter(Boolean)).toHaveLength(256);
});
