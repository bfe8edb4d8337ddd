// Connects this tab to every other member of a view: one simple-peer connection for each (signalling and ICE only),
// with raw negotiated data channels ('control', 'bulk', 'latency') beside simple-peer's own, so that no gradient passes
// its streams (ice/peer-guard.ts sees that nothing does). The lower rank initiates. The channels exist before the
// negotiation starts, and `adopt` gets them in the very task that created them: only then may they be transferred to a
// worker (W3C webrtc-pc, RTCDataChannel transfer steps). The page keeps the connection itself; closing it closes the
// channels wherever they live. A connection is replaced as a whole by a later attempt; signals carry the attempt, and
// those of an older one are dropped.

import SimplePeer from 'simple-peer/simplepeer.min.js';
import { openLanes } from '../transport/webrtc.ts';
import { diagnose } from './ice/diagnosis.ts';
import type { IceDiagnosis } from './ice/diagnosis.ts';
import { IceWatch } from './ice/watch.ts';
import type { Watched } from './ice/watch.ts';
import type { ChannelLanes, ConnectTo, PeerConnections, PeerConnectionsOptions } from './peer-connections.ts';
import type { IceSignal } from './messages.ts';
import { OWN_CHANNEL, SignalGuard, guardConnection } from './ice/peer-guard.ts';
import type { Guarded, OwnChannel } from './ice/peer-guard.ts';

/** The browser's connection inside simple-peer: `_pc`. */
type Inner = Pick<RTCPeerConnection, 'createDataChannel'> & Watched & Guarded;

interface Connection {
  readonly attempt: number;
  readonly peer: SimplePeer.Instance;
  readonly lanes: ChannelLanes;
  readonly guard: SignalGuard;
  readonly breach: (what: string) => void;
  closing: boolean;
}

/** Connections over WebRTC; `connect` starts or replaces the connection to one rank. */
export function createWebRtcConnections(options: PeerConnectionsOptions): PeerConnections {
  return new WebRtcConnections(options);
}

class WebRtcConnections implements PeerConnections {
  readonly #options: PeerConnectionsOptions;
  readonly #connections = new Map<number, Connection>();
  /** Of the last attempt to each rank, also when that is over. */
  readonly #watches = new Map<number, IceWatch>();
  readonly #diagnoses = new Map<number, IceDiagnosis>();
  #closed = false;

  constructor(options: PeerConnectionsOptions) {
    this.#options = options;
  }

  connect({ peer: rank, attempt }: ConnectTo): void {
    const known = this.#connections.get(rank);
    if (this.#closed || (known && known.attempt >= attempt)) return;
    if (known) this.#discard(known);
    const { onLink, onSignal, adopt, now } = this.#options;
    const ice = this.#options.ice();
    onLink(rank, { state: 'connecting', attempt });

    const initiator = this.#options.rank < rank;
    const peer = new SimplePeer({
      initiator,
      trickle: true,
      channelConfig: OWN_CHANNEL,
      config: { iceServers: [...ice.iceServers], iceTransportPolicy: ice.relayOnly ? 'relay' : 'all' },
    });
    const { _pc: pc, _channel: own } = peer as unknown as {
      readonly _pc: Inner | null;
      readonly _channel: OwnChannel | null;
    };
    let connection: Connection | undefined;
    const fail = (reason: string): void => {
      if (connection?.closing || this.#closed) return;
      if (connection) this.#discard(connection);
      onLink(rank, { state: 'failed', attempt, reason: reason.slice(0, 500) });
    };
    peer.on('error', (error) => fail(reasonOf(error)));
    peer.on('close', () => fail('the connection was closed'));
    peer.on('signal', (data) => {
      const signal = outgoing(data);
      if (signal && !this.#closed && this.#connections.get(rank) === connection) onSignal(rank, attempt, signal);
    });
    // simple-peer destroys itself when the browser refuses the connection; 'error' has the reason.
    if (!pc) return;
    this.#watches.set(rank, new IceWatch(pc, ice, now));
    const lanes = openLanes(pc);
    // The worker hears first who is at fault: to it the end of the connection looks like a tab that was closed.
    const breach = (what: string): void => {
      if (current.closing || this.#closed) return;
      void Promise.resolve(this.#options.accuse?.(rank, what))
        .catch(() => undefined)
        .then(() => fail(what));
    };
    connection = { attempt, peer, lanes, guard: new SignalGuard(initiator), breach, closing: false };
    guardConnection(pc, own, breach);
    this.#connections.set(rank, connection);
    const current = connection;
    adopt(rank, lanes).then(
      () => {
        if (current.closing || this.#closed) return;
        onLink(rank, { state: 'open', attempt });
      },
      (error: unknown) => fail(reasonOf(error)),
    );
  }

  signal(rank: number, attempt: number, data: IceSignal): void {
    const known = this.#connections.get(rank);
    // The peer was told to try again before we were: follow it.
    if (!known || known.attempt < attempt) this.connect({ peer: rank, attempt });
    const connection = this.#connections.get(rank);
    if (!connection || connection.attempt !== attempt || connection.closing) return;
    const verdict = connection.guard.check(data);
    if (typeof verdict === 'string') connection.breach(verdict);
    else if (verdict) connection.peer.signal(data as SimplePeer.SignalData);
  }

  lanes(): ReadonlyMap<number, ChannelLanes> {
    return new Map(Array.from(this.#connections, ([rank, { lanes }]) => [rank, lanes]));
  }

  async routes(): Promise<ReadonlyMap<number, string>> {
    const routes = new Map<number, string>();
    for (const [rank, { closing }] of this.#connections)
      if (!closing) routes.set(rank, await this.#watches.get(rank)!.route());
    return routes;
  }

  async examine(): Promise<ReadonlyMap<number, IceDiagnosis>> {
    // One connection that cannot be looked at keeps what was said of it, and takes nothing from the others.
    await Promise.all(
      Array.from(this.#watches, async ([rank, watch]) => {
        try {
          const diagnosis = diagnose(await watch.look());
          if (this.#watches.get(rank) === watch) this.#diagnoses.set(rank, diagnosis);
        } catch (error) {
          if (this.#watches.get(rank) !== watch || this.#diagnoses.has(rank)) return;
          const state = `this browser does not tell of the connection (${reasonOf(error)})`;
          this.#diagnoses.set(rank, { verdict: 'connecting', text: 'connecting', advice: '', tried: [state] });
        }
      }),
    );
    return new Map(this.#diagnoses);
  }

  close(): void {
    this.#closed = true;
    for (const connection of this.#connections.values()) this.#discard(connection);
    this.#connections.clear();
  }

  #discard(connection: Connection): void {
    connection.closing = true;
    connection.peer.destroy();
  }
}

function outgoing(data: SimplePeer.SignalData): IceSignal | undefined {
  if ((data.type === 'offer' || data.type === 'answer') && 'sdp' in data && data.sdp !== undefined)
    return { type: data.type, sdp: data.sdp };
  if (data.type === 'candidate' && 'candidate' in data) {
    const { candidate, sdpMLineIndex, sdpMid } = data.candidate;
    return { type: 'candidate', candidate: { candidate, sdpMLineIndex, sdpMid } };
  }
  return undefined;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
