// The connection doctor: a pure function from what was seen of one connection (IceSnapshot, gathered by watch.ts) to a
// verdict and advice in words. No DOM, no clock. The rules go from the certain to the probable: what a server said,
// what this browser did not gather, what the peer did not send, and only then which pairs of addresses had no answer.
// Sources: RFC 8445 (ICE), RFC 8656 (TURN), W3C webrtc-pc (icecandidateerror: codes of STUN, 701 for no answer).

import { isTurn } from './servers.ts';

export interface Candidate {
  readonly type: string;
  readonly protocol: string;
  /** The address is a name under .local, which only the same network can resolve. */
  readonly mdns: boolean;
}

export interface Pair {
  /** Types of both candidates: 'host', 'srflx', 'prflx', 'relay'. */
  readonly local: string;
  readonly remote: string;
  readonly state: string;
  /** Connectivity checks sent, and answered. */
  readonly sent: number;
  readonly answered: number;
}

export interface ServerError {
  readonly url: string;
  readonly code: number;
  readonly text: string;
}

/** What is known of one attempt to connect to one peer. */
export interface IceSnapshot {
  /** Since the attempt began. */
  readonly waitedMs: number;
  readonly servers: readonly string[];
  readonly relayOnly: boolean;
  readonly gathering: string;
  /** RTCIceConnectionState. */
  readonly state: string;
  /** A description of the peer has arrived. */
  readonly answered: boolean;
  readonly local: readonly Candidate[];
  readonly remote: readonly Candidate[];
  readonly pairs: readonly Pair[];
  /** The pair in use; `relayProtocol`: from here to the TURN server. */
  readonly route?: {
    readonly local: string;
    readonly remote: string;
    readonly relayProtocol?: string;
    readonly roundTripMs?: number;
  };
  readonly errors: readonly ServerError[];
}

export type IceVerdict =
  | 'direct'
  | 'relayed'
  | 'broken'
  | 'connecting'
  | 'relay-without-turn'
  | 'turn-refused'
  | 'turn-unreachable'
  | 'blocked'
  | 'peer-silent'
  | 'peer-without-candidates'
  | 'mdns'
  | 'relay-without-route'
  | 'stun-unreachable'
  | 'no-route';

export interface IceDiagnosis {
  readonly verdict: IceVerdict;
  /** What happened, in words. */
  readonly text: string;
  /** What to do; empty when there is nothing to do. */
  readonly advice: string;
  /** What was tried, one line each. */
  readonly tried: readonly string[];
}

/** Local gathering and the first checks take that long on a healthy network. */
const PATIENCE_MS = 3000;
/** A server that answers does so within this; browsers report its silence (701) only after 9.5 s. */
const SERVER_PATIENCE_MS = 4000;
const SILENT = 701;
const GIVE_TURN =
  'give a TURN server: open the page from `tabmesh serve --turn turn:HOST:PORT`, or add ice=turn:HOST:PORT&turnuser=USER&turnpass=PASSWORD to the link';

const MEANINGS: Readonly<Record<number, string>> = {
  400: 'the server takes the request for malformed',
  401: 'credentials wrong or expired',
  403: 'the server forbids it',
  437: 'the allocation is gone',
  438: 'its nonce went stale',
  441: 'credentials of another allocation',
  442: 'it does not relay over this protocol',
  486: 'the quota of this user is used up',
  500: 'the server failed',
  508: 'the server has no capacity left',
};

/** Verdict, words and advice for one connection. */
export function diagnose(seen: IceSnapshot): IceDiagnosis {
  const [verdict, text, advice = ''] = judge(seen);
  return { verdict, text, advice, tried: describe(seen) };
}

/** The verdict and the advice as one sentence. */
export function sentenceOf({ text, advice }: Pick<IceDiagnosis, 'text' | 'advice'>): string {
  return advice ? `${text}; ${advice}` : text;
}

export function isConnected({ verdict }: Pick<IceDiagnosis, 'verdict'>): boolean {
  return verdict === 'direct' || verdict === 'relayed';
}

type Judgement = readonly [verdict: IceVerdict, text: string, advice?: string];

function judge(seen: IceSnapshot): Judgement {
  const { route, state, waitedMs, relayOnly, local, remote, pairs } = seen;
  if (route && ['connected', 'completed'].includes(state)) return connected(route);
  if (route && ['disconnected', 'failed', 'closed'].includes(state))
    return [
      'broken',
      `the connection (${route.local} to ${route.remote}) broke: no packets arrive any more`,
      'the other tab is gone, asleep or in another network now; connect again',
    ];
  const turn = seen.servers.filter(isTurn);
  if (relayOnly && turn.length === 0)
    return [
      'relay-without-turn',
      'relay=only is set, but there is no TURN server',
      `${GIVE_TURN}; or leave relay=only out`,
    ];
  const gathered = seen.gathering === 'complete';
  if (turn.length > 0 && !local.some(({ type }) => type === 'relay')) {
    const trouble = turnTrouble(seen, turn, gathered);
    if (trouble) return trouble;
  }
  if (local.length === 0 && (gathered || waitedMs >= PATIENCE_MS)) {
    return [
      'blocked',
      'no candidates at all: WebRTC is blocked by the browser, by an extension or by a policy',
      'allow WebRTC for this page (switch the extension off, or use another browser profile)',
    ];
  }
  if (waitedMs < PATIENCE_MS && state !== 'failed') return ['connecting', 'connecting'];
  if (!seen.answered)
    return [
      'peer-silent',
      'no answer of the other tab came through the room',
      'see whether it is still open and what it says there; if it is, the broker loses messages',
    ];
  if (remote.length === 0) {
    return [
      'peer-without-candidates',
      'the other tab has offered no address to connect to',
      'see what it says there: its browser blocks WebRTC, or its TURN server refuses it',
    ];
  }
  return withoutRoute(seen, turn, pairs);
}

function connected({ local, remote, relayProtocol, roundTripMs }: NonNullable<IceSnapshot['route']>): Judgement {
  const time =
    roundTripMs === undefined ? '' : `, ${roundTripMs < 10 ? roundTripMs.toFixed(1) : Math.round(roundTripMs)} ms`;
  if (local === 'relay')
    return ['relayed', `relayed over the TURN server${relayProtocol ? ` (${relayProtocol} to it)` : ''}${time}`];
  if (remote === 'relay') return ['relayed', `relayed over the other tab's TURN server${time}`];
  return ['direct', `direct (${local === remote || remote === 'host' ? local : remote})${time}`];
}

function turnTrouble(
  { errors, waitedMs }: IceSnapshot,
  turn: readonly string[],
  gathered: boolean,
): Judgement | undefined {
  const refusal = errors.find(({ url, code }) => isTurn(url) && code > 0 && code < 700);
  if (refusal) {
    const fix =
      refusal.code === 401 || refusal.code === 441
        ? 'correct turnuser and turnpass; if `tabmesh serve --turn` lends them, reload the page, and see that its secret is the one of the TURN server and that both clocks are right'
        : 'see the log of the TURN server';
    return [
      'turn-refused',
      `TURN server ${refusal.url} answered ${refusal.code}: ${MEANINGS[refusal.code] ?? (refusal.text || 'no reason given')}`,
      fix,
    ];
  }
  const silent = errors.find(({ url, code }) => isTurn(url) && code === SILENT);
  if (!silent && !gathered && waitedMs < SERVER_PATIENCE_MS) return undefined;
  return [
    'turn-unreachable',
    `TURN server ${silent?.url ?? turn[0]} does not answer`,
    'check its address and that it runs; where UDP is blocked use ?transport=tcp or a turns: server on port 443',
  ];
}

function withoutRoute(
  { local, remote, errors, servers }: IceSnapshot,
  turn: readonly string[],
  pairs: readonly Pair[],
): Judgement {
  if (remote.every(({ mdns }) => mdns) && pairs.length === 0) {
    return [
      'mdns',
      "the other tab's address is an mDNS name (.local) that does not resolve here: multicast is blocked in this network, or the tabs are in different ones",
      `allow multicast (UDP 5353) between the machines, or ${GIVE_TURN}`,
    ];
  }
  const sides = [
    local.some(({ type }) => type === 'relay') ? 'this tab' : '',
    remote.some(({ type }) => type === 'relay') ? 'the other tab' : '',
  ].filter(Boolean);
  if (sides.length > 0) {
    return [
      'relay-without-route',
      `no route: ${sides.join(' and ')} got a relay address, but no pair of addresses worked`,
      'open the relay ports of the TURN server (UDP 49152 to 65535 by default) and allow it to reach the other side',
    ];
  }
  const silent = errors.find(({ url, code }) => /^stuns?:/i.test(url) && code === SILENT);
  if (silent && turn.length === 0 && !local.some(({ type }) => type === 'srflx')) {
    return [
      'stun-unreachable',
      `no route: STUN server ${silent.url} does not answer (701), so this tab does not know its public address`,
      `check the server's address, or that UDP is allowed; behind strict networks ${GIVE_TURN}`,
    ];
  }
  const kinds = namesOf([...local, ...remote]);
  const why =
    servers.length === 0
      ? 'without a STUN or TURN server only tabs of one network find each other'
      : 'the networks block direct connections';
  return [
    'no-route',
    `no route: both sides have ${kinds} candidates only and no pair of ${Math.max(1, pairs.length)} worked: ${why}`,
    GIVE_TURN,
  ];
}

/** 'host and srflx'. */
function namesOf(candidates: readonly Candidate[]): string {
  return [...new Set(candidates.map(({ type }) => type))].sort().join(' and ');
}

function describe({
  servers,
  relayOnly,
  local,
  remote,
  gathering,
  pairs,
  errors,
  state,
  waitedMs,
}: IceSnapshot): string[] {
  return [
    `servers: ${servers.join(', ') || 'none'}${relayOnly ? '; relayed connections alone are allowed' : ''}`,
    `own candidates: ${count(local)}; gathering: ${gathering}`,
    `candidates of the other tab: ${count(remote)}`,
    `pairs: ${
      pairs.length === 0
        ? 'none'
        : pairs
            .slice(0, 6)
            .map(
              (pair) => `${pair.local} to ${pair.remote} ${pair.state} (${pair.sent} sent, ${pair.answered} answered)`,
            )
            .join(', ')
    }${pairs.length > 6 ? ` and ${pairs.length - 6} more` : ''}`,
    ...errors.slice(0, 6).map(({ url, code, text }) => `${url} answered ${code}${text ? ` ${text}` : ''}`),
    `state: ${state} after ${(waitedMs / 1000).toFixed(1)} s`,
  ];
}

function count(candidates: readonly Candidate[]): string {
  const kinds = new Map<string, number>();
  for (const { type, protocol, mdns } of candidates) {
    const kind = `${type} ${protocol}${mdns ? ' (mDNS name)' : ''}`;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  return [...kinds].map(([kind, n]) => `${n} ${kind}`).join(', ') || 'none';
}
