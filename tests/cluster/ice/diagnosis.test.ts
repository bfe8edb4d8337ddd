// The connection doctor by table: what was seen, what it must say, what it must advise. Each row differs from a healthy
// connection by one thing.

import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { connectionLine, connectionSummary, viewConnections } from '../../../src/app/training/connections.ts';
import { diagnose, isConnected, sentenceOf } from '../../../src/cluster/ice/diagnosis.ts';
import type { Candidate, IceSnapshot, IceVerdict, Pair } from '../../../src/cluster/ice/diagnosis.ts';
import { candidatesOf, IceWatch } from '../../../src/cluster/ice/watch.ts';
import type { Watched } from '../../../src/cluster/ice/watch.ts';

const udp = (type: string, mdns = false): Candidate => ({ type, protocol: 'udp', mdns });
const host = udp('host');
const hidden = udp('host', true);
const [srflx, relay] = [udp('srflx'), udp('relay')];
const pair = (local: string, remote: string, state = 'failed'): Pair => ({
  local,
  remote,
  state,
  sent: 9,
  answered: 0,
});
const TURN = 'turn:t.example:3478';
const STUN = 'stun:s.example:3478';

/** No route after 8 s between two tabs with host candidates and no servers. */
const base: IceSnapshot = {
  waitedMs: 8000,
  servers: [],
  relayOnly: false,
  gathering: 'complete',
  state: 'checking',
  answered: true,
  local: [host],
  remote: [host],
  pairs: [pair('host', 'host')],
  errors: [],
};
const answered = (url: string, code: number, text = '') => ({ url, code, text });

const TABLE: readonly (readonly [name: string, seen: Partial<IceSnapshot>, verdict: IceVerdict, says: RegExp])[] = [
  [
    'one network',
    { state: 'connected', route: { local: 'host', remote: 'host', roundTripMs: 0.6 } },
    'direct',
    /^direct \(host\), 0\.6 ms$/,
  ],
  [
    'through a NAT',
    { state: 'completed', route: { local: 'srflx', remote: 'srflx', roundTripMs: 41.7 } },
    'direct',
    /^direct \(srflx\), 42 ms$/,
  ],
  [
    'peer behind a NAT that ICE discovered',
    { state: 'connected', route: { local: 'host', remote: 'prflx' } },
    'direct',
    /^direct \(prflx\)$/,
  ],
  [
    'own relay',
    { state: 'connected', route: { local: 'relay', remote: 'host', relayProtocol: 'tcp', roundTripMs: 3 } },
    'relayed',
    /^relayed over the TURN server \(tcp to it\), 3\.0 ms$/,
  ],
  [
    "the other's relay",
    { state: 'connected', route: { local: 'host', remote: 'relay' } },
    'relayed',
    /^relayed over the other tab's TURN server$/,
  ],
  [
    'broke later',
    { state: 'disconnected', route: { local: 'host', remote: 'host' } },
    'broken',
    /broke: no packets arrive any more; .*connect again/,
  ],
  [
    'just begun',
    { waitedMs: 500, gathering: 'gathering', answered: false, remote: [], pairs: [] },
    'connecting',
    /^connecting$/,
  ],
  [
    'relay=only without a server',
    { relayOnly: true, local: [] },
    'relay-without-turn',
    /relay=only is set, but there is no TURN server; .*leave relay=only out/,
  ],
  [
    'relay=only with STUN alone',
    { relayOnly: true, servers: [STUN], local: [] },
    'relay-without-turn',
    /no TURN server/,
  ],
  [
    'wrong password',
    { servers: [TURN], errors: [answered(`${TURN}?transport=udp`, 401, 'Unauthorized')] },
    'turn-refused',
    /TURN server turn:t\.example:3478\?transport=udp answered 401: credentials wrong or expired; correct turnuser and turnpass; .*secret/,
  ],
  [
    'wrong password, relay alone',
    { relayOnly: true, servers: [TURN], local: [], remote: [], pairs: [], errors: [answered(TURN, 401)] },
    'turn-refused',
    /answered 401/,
  ],
  [
    'wrong password, told at once',
    { waitedMs: 100, gathering: 'gathering', servers: [TURN], errors: [answered(TURN, 401)] },
    'turn-refused',
    /answered 401/,
  ],
  [
    'quota',
    { servers: [TURN], errors: [answered(TURN, 486)] },
    'turn-refused',
    /answered 486: the quota of this user is used up; see the log/,
  ],
  [
    'a code nobody knows',
    { servers: [TURN], errors: [answered(TURN, 699, 'Teapot')] },
    'turn-refused',
    /answered 699: Teapot/,
  ],
  [
    'TURN down, told by the browser',
    { servers: [TURN], errors: [answered(TURN, 701)] },
    'turn-unreachable',
    /TURN server turn:t\.example:3478 does not answer; .*transport=tcp/,
  ],
  ['TURN down, not told yet', { servers: [TURN], gathering: 'gathering' }, 'turn-unreachable', /does not answer/],
  [
    'TURN not heard of yet, early',
    { servers: [TURN], gathering: 'gathering', waitedMs: 1000 },
    'connecting',
    /^connecting$/,
  ],
  [
    'WebRTC blocked',
    { local: [], pairs: [] },
    'blocked',
    /^no candidates at all: WebRTC is blocked by the browser, by an extension or by a policy; allow/,
  ],
  [
    'WebRTC blocked, gathering for ever',
    { local: [], pairs: [], gathering: 'gathering' },
    'blocked',
    /no candidates at all/,
  ],
  ['the peer says nothing', { answered: false, remote: [], pairs: [] }, 'peer-silent', /no answer of the other tab/],
  ['the peer has no addresses', { remote: [], pairs: [] }, 'peer-without-candidates', /has offered no address/],
  [
    'mDNS without multicast',
    { local: [hidden], remote: [hidden], pairs: [] },
    'mdns',
    /mDNS name \(\.local\) that does not resolve here: multicast is blocked.*UDP 5353/,
  ],
  ['mDNS that resolved, but no route', { local: [hidden], remote: [hidden] }, 'no-route', /^no route/],
  [
    'no servers',
    {},
    'no-route',
    /both sides have host candidates only and no pair of 1 worked: without a STUN or TURN server only tabs of one network find each other; give a TURN server/,
  ],
  [
    'two strict NATs',
    {
      servers: [STUN],
      local: [host, srflx],
      remote: [host, srflx],
      pairs: [pair('host', 'host'), pair('host', 'srflx'), pair('srflx', 'srflx')],
    },
    'no-route',
    /both sides have host and srflx candidates only and no pair of 3 worked: the networks block direct connections; give a TURN server: .*ice=turn:/,
  ],
  [
    'STUN down',
    { servers: [STUN], errors: [answered(STUN, 701, 'timed out')] },
    'stun-unreachable',
    /STUN server stun:s\.example:3478 does not answer \(701\)/,
  ],
  [
    'STUN down for one interface alone',
    { servers: [STUN], local: [host, srflx], errors: [answered(STUN, 701)] },
    'no-route',
    /^no route/,
  ],
  [
    'relays that do not reach each other',
    { servers: [TURN], local: [relay], remote: [relay], pairs: [pair('relay', 'relay')] },
    'relay-without-route',
    /this tab and the other tab got a relay address, but no pair.*UDP 49152 to 65535/,
  ],
  [
    'a relay on the other side alone',
    { remote: [host, relay] },
    'relay-without-route',
    /: the other tab got a relay address/,
  ],
];

test.each(TABLE)('%s', (_, seen, verdict, says) => {
  const diagnosis = diagnose({ ...base, ...seen });
  expect([diagnosis.verdict, sentenceOf(diagnosis)]).toEqual([verdict, expect.stringMatching(says)]);
  // Whoever is not connected hears what to do.
  expect(diagnosis.advice === '').toBe(isConnected(diagnosis) || verdict === 'connecting');
});

test('the table has every verdict', () => {
  expect(new Set(TABLE.map(([, , verdict]) => verdict)).size).toBe(14);
});

test('says what was tried', () => {
  const { tried } = diagnose({
    ...base,
    servers: [STUN, TURN],
    relayOnly: true,
    local: [hidden, hidden, relay],
    remote: [srflx],
    pairs: [pair('relay', 'srflx', 'in-progress')],
    errors: [answered(TURN, 701, 'timed out')],
  });
  expect(tried).toEqual([
    `servers: ${STUN}, ${TURN}; relayed connections alone are allowed`,
    'own candidates: 2 host udp (mDNS name), 1 relay udp; gathering: complete',
    'candidates of the other tab: 1 srflx udp',
    'pairs: relay to srflx in-progress (9 sent, 0 answered)',
    `${TURN} answered 701 timed out`,
    'state: checking after 8.0 s',
  ]);
});

test('is total: any snapshot gives a verdict of bounded length', () => {
  const candidate = fc.record({
    type: fc.constantFrom('host', 'srflx', 'prflx', 'relay', 'unknown'),
    protocol: fc.constantFrom('udp', 'tcp'),
    mdns: fc.boolean(),
  });
  const pairs = fc.array(
    fc.record({ local: fc.string(), remote: fc.string(), state: fc.string(), sent: fc.nat(), answered: fc.nat() }),
    { maxLength: 300 },
  );
  fc.assert(
    fc.property(
      fc.record({
        waitedMs: fc.nat(),
        servers: fc.subarray([STUN, TURN]),
        relayOnly: fc.boolean(),
        gathering: fc.constantFrom('new', 'gathering', 'complete'),
        state: fc.constantFrom('new', 'checking', 'failed', 'closed'),
        answered: fc.boolean(),
        local: fc.array(candidate),
        remote: fc.array(candidate),
        pairs,
        errors: fc.array(
          fc.record({ url: fc.constantFrom(STUN, TURN), code: fc.integer({ min: 0, max: 999 }), text: fc.string() }),
        ),
      }),
      (seen) => {
        const diagnosis = diagnose(seen);
        expect(diagnosis.text).not.toBe('');
        expect(diagnosis.tried.length).toBeLessThan(13);
        expect(isConnected(diagnosis)).toBe(false);
      },
    ),
  );
});

describe('for the page', () => {
  const views = viewConnections(
    new Map([
      [2, diagnose({ ...base, state: 'connected', route: { local: 'host', remote: 'host', roundTripMs: 0.6 } })],
      [0, diagnose(base)],
      [3, diagnose({ ...base, state: 'connected', route: { local: 'relay', remote: 'relay' } })],
      [4, diagnose({ ...base, waitedMs: 0 })],
    ]),
    ['a', 'b', 'c', 'd', 'e'].map((name) => ({ name })),
  );
  it('a line for each rank, and one for all', () => {
    expect(views.map(({ rank, name, health }) => [rank, name, health])).toEqual([
      [0, 'a', 'bad'],
      [2, 'c', 'good'],
      [3, 'd', 'good'],
      [4, 'e', 'wait'],
    ]);
    expect(views.map(connectionLine)).toEqual([
      expect.stringMatching(/^no connection to rank 0: no route/),
      'connected to rank 2: direct (host), 0.6 ms',
      'connected to rank 3: relayed over the TURN server',
      'connecting to rank 4',
    ]);
    expect(connectionSummary(views)).toBe('connected to 2 of 4 tabs, 1 of them over a TURN server');
    expect(connectionSummary(views.slice(0, 1))).toBe('connected to 0 of 1 tabs');
    expect(connectionSummary(views.slice(1, 2))).toBe('connected to rank 2: direct (host), 0.6 ms');
  });
});

describe('a watch', () => {
  const sdp = [
    'v=0',
    'a=candidate:1 1 udp 2113937151 0a1b2c3d.local 51234 typ host generation 0',
    'a=candidate:2 1 UDP 1677729535 203.0.113.9 51234 typ srflx raddr 0.0.0.0 rport 0',
    'a=candidate:3 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active',
    'a=candidate:4 1 udp 33562623 198.51.100.7 60000 typ relay raddr 0.0.0.0 rport 0',
    'a=end-of-candidates',
    '',
  ].join('\r\n');
  it('reads candidates from a session description', () => {
    expect(candidatesOf(sdp)).toEqual([hidden, srflx, { type: 'host', protocol: 'tcp', mdns: false }, relay]);
    expect(candidatesOf(undefined)).toEqual([]);
  });

  const stats = new Map<string, Record<string, unknown>>([
    ['T', { type: 'transport', selectedCandidatePairId: 'P' }],
    [
      'P',
      {
        type: 'candidate-pair',
        state: 'succeeded',
        localCandidateId: 'L',
        remoteCandidateId: 'R',
        currentRoundTripTime: 0.0123,
        requestsSent: 4,
        responsesReceived: 3,
      },
    ],
    ['L', { type: 'local-candidate', candidateType: 'relay', relayProtocol: 'udp' }],
    ['R', { type: 'remote-candidate', candidateType: 'prflx' }],
  ]);
  class FakeConnection extends EventTarget {
    iceConnectionState = 'connected';
    iceGatheringState = 'complete';
    localDescription = { sdp };
    remoteDescription: { sdp: string } | null = null;
    stats: Map<string, Record<string, unknown>> | undefined = stats;
    getStats(): Promise<unknown> {
      return this.stats ? Promise.resolve(this.stats) : Promise.reject(new Error('closed'));
    }
  }
  const watched = (): { pc: FakeConnection; watch: IceWatch; pass: (ms: number) => void } => {
    const pc = new FakeConnection();
    let nowMs = 100;
    return {
      pc,
      watch: new IceWatch(pc as unknown as Watched, { iceServers: [{ urls: [STUN] }], relayOnly: true }, () => nowMs),
      pass: (ms) => {
        nowMs += ms;
      },
    };
  };
  it('tells the route, the pairs and the servers', async () => {
    const { watch, pass } = watched();
    pass(50);
    expect(await watch.look()).toMatchObject({
      waitedMs: 50,
      servers: [STUN],
      relayOnly: true,
      answered: false,
      route: { local: 'relay', remote: 'prflx', relayProtocol: 'udp', roundTripMs: expect.closeTo(12.3) },
      pairs: [{ local: 'relay', remote: 'prflx', state: 'succeeded', sent: 4, answered: 3 }],
    });
  });
  it('finds the pair of a browser that marks it itself', async () => {
    const { pc, watch } = watched();
    pc.stats = new Map(
      [...stats]
        .filter(([id]) => id !== 'T')
        .map(([id, entry]) => [id, id === 'P' ? { ...entry, selected: true } : entry]),
    );
    expect((await watch.look()).route).toMatchObject({ local: 'relay' });
  });
  it('keeps what it saw when the connection is gone', async () => {
    const { pc, watch } = watched();
    await watch.look();
    pc.stats = undefined;
    pc.iceConnectionState = 'closed';
    expect(diagnose(await watch.look()).verdict).toBe('broken');
  });
  it('keeps an error of a server once, and only so many', async () => {
    const { pc, watch } = watched();
    const tell = (url: string, errorCode: number): void => {
      pc.dispatchEvent(Object.assign(new Event('icecandidateerror'), { url, errorCode, errorText: 'x' }));
    };
    tell(TURN, 401);
    tell(TURN, 401);
    tell(TURN, 701);
    expect((await watch.look()).errors).toEqual([
      { url: TURN, code: 401, text: 'x' },
      { url: TURN, code: 701, text: 'x' },
    ]);
    for (let i = 0; i < 100; i++) tell(`stun:h${i}`, 701);
    expect((await watch.look()).errors).toHaveLength(32);
  });
});
