// The doctor's look at connections that are over: in Firefox a closed one throws where others answer. What was seen
// before stays, of this peer and of the others.

import { afterEach, expect, it, vi } from 'vitest';
import { createWebRtcConnections } from '../../../src/cluster/webrtc-connections.ts';
import { IceWatch } from '../../../src/cluster/ice/watch.ts';
import type { Watched } from '../../../src/cluster/ice/watch.ts';
import { diagnose } from '../../../src/cluster/ice/diagnosis.ts';
import { NO_ICE } from '../../../src/cluster/ice/servers.ts';
import type { IceDiagnosis } from '../../../src/cluster/ice/diagnosis.ts';
import type { PeerConnectionsOptions } from '../../../src/cluster/peer-connections.ts';

const SDP =
  'v=0\r\na=candidate:1 1 udp 2122 192.0.2.7 5000 typ host\r\na=candidate:2 1 UDP 1686 198.51.100.2 5001 typ srflx\r\n';
const STATS = new Map<string, Record<string, unknown>>([
  ['t', { type: 'transport', selectedCandidatePairId: 'p' }],
  ['l', { type: 'local-candidate', candidateType: 'host' }],
  ['r', { type: 'remote-candidate', candidateType: 'host' }],
  [
    'p',
    {
      type: 'candidate-pair',
      localCandidateId: 'l',
      remoteCandidateId: 'r',
      state: 'succeeded',
      requestsSent: 3,
      responsesReceived: 3,
      currentRoundTripTime: 0.001,
    },
  ],
]);

/** A connection that answers until it is closed, and then as that browser does. */
class Connection extends EventTarget {
  closed: 'no' | 'throws' | 'null' | 'throws at all' = 'no';
  connected = true;
  #guard(): void {
    if (this.closed === 'throws' || this.closed === 'throws at all')
      throw new DOMException('Peer connection is closed', 'InvalidStateError');
  }
  get localDescription(): { sdp: string } | null {
    this.#guard();
    return this.closed === 'null' ? null : { sdp: SDP };
  }
  get remoteDescription(): { sdp: string } | null {
    this.#guard();
    return this.closed === 'null' ? null : { sdp: SDP };
  }
  get iceConnectionState(): string {
    if (this.closed === 'throws at all') this.#guard();
    return this.closed !== 'no' ? 'closed' : this.connected ? 'connected' : 'checking';
  }
  get iceGatheringState(): string {
    if (this.closed === 'throws at all') this.#guard();
    return 'complete';
  }
  async getStats(): Promise<typeof STATS> {
    this.#guard();
    return this.closed === 'no' && this.connected ? STATS : new Map();
  }
}

const watching = (pc: Connection): IceWatch => new IceWatch(pc as unknown as Watched, NO_ICE, () => 5000);

it.each(['throws', 'null', 'throws at all'] as const)(
  'keeps what it knew of a connection that %s when it is closed',
  async (how) => {
    const pc = new Connection();
    const watch = watching(pc);
    const before = await watch.look();
    expect(before).toMatchObject({
      state: 'connected',
      answered: true,
      local: [{ type: 'host' }, { type: 'srflx' }],
      route: { local: 'host' },
    });
    pc.closed = how;
    const after = await watch.look();
    expect(after).toEqual({ ...before, state: how === 'throws at all' ? 'connected' : 'closed' });
    expect(await watch.route()).toBe('host');
    // One problem, and the right one: not a peer that never answered, nor a browser that blocks WebRTC.
    if (how !== 'throws at all') expect(diagnose(after).verdict).toBe('broken');
  },
);

it.each(['throws', 'null', 'throws at all'] as const)(
  'says something of a connection that %s before it was ever looked at',
  async (how) => {
    const pc = new Connection();
    const watch = watching(pc);
    pc.closed = how;
    expect(await watch.look()).toMatchObject({ answered: false, local: [], remote: [], pairs: [] });
  },
);

afterEach(() => {
  vi.unstubAllGlobals();
});

it('loses no other diagnosis when one connection cannot be looked at', async () => {
  const made: Browser[] = [];
  class Browser extends Connection {
    ondatachannel = null;
    constructor() {
      super();
      made.push(this);
    }
    createDataChannel(): unknown {
      return Object.assign(new EventTarget(), {
        close: () => undefined,
        readyState: 'connecting',
        bufferedAmountLowThreshold: 0,
      });
    }
    async createOffer(): Promise<unknown> {
      return { type: 'offer', sdp: SDP };
    }
    async setLocalDescription(): Promise<void> {
      /* nothing to do */
    }
    close(): void {
      this.closed = 'throws';
    }
  }
  vi.stubGlobal('window', globalThis);
  for (const name of ['RTCPeerConnection', 'RTCSessionDescription', 'RTCIceCandidate']) vi.stubGlobal(name, Browser);
  const options: PeerConnectionsOptions = {
    rank: 0,
    ice: () => NO_ICE,
    now: () => 0,
    adopt: async () => undefined,
    onLink: () => undefined,
    onSignal: () => undefined,
  };
  const connections = createWebRtcConnections(options);
  connections.connect({ peer: 1, attempt: 1 });
  connections.connect({ peer: 2, attempt: 1 });
  const verdicts = async (): Promise<unknown[]> =>
    [...(await connections.examine())].map(([rank, { verdict }]: [number, IceDiagnosis]) => [rank, verdict]);
  expect(await verdicts()).toEqual([
    [1, 'direct'],
    [2, 'direct'],
  ]);
  // Not even its statistics: whatever a browser does with one connection.
  vi.spyOn(IceWatch.prototype, 'look').mockImplementationOnce(async () => {
    throw new DOMException('no', 'InvalidStateError');
  });
  expect(await verdicts()).toEqual([
    [1, 'direct'],
    [2, 'direct'],
  ]);
  made[0]!.close();
  expect(await verdicts()).toEqual([
    [1, 'broken'],
    [2, 'direct'],
  ]);
  connections.close();
});
