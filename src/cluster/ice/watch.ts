// Keeps what the doctor needs of one RTCPeerConnection. Errors of servers come as events and are kept from the start;
// candidates are read from the two session descriptions, which every browser completes as they come; pairs come from
// getStats. A closed connection has no statistics any more, and in Firefox no descriptions either (its getters throw
// InvalidStateError), so the last ones are kept: look from time to time while it connects.

import { candidateType, readStats, selectedPair } from '../../transport/pipes/ice-path.ts';
import type { Candidate, IceSnapshot, Pair, ServerError } from './diagnosis.ts';
import { urlsOf } from './servers.ts';
import type { IceConfig } from './servers.ts';

/** The part of a connection that is watched. */
export type Watched = Pick<
  RTCPeerConnection,
  | 'getStats'
  | 'addEventListener'
  | 'iceConnectionState'
  | 'iceGatheringState'
  | 'localDescription'
  | 'remoteDescription'
>;

const MAX_ERRORS = 32;

type Seen = Pick<IceSnapshot, 'gathering' | 'state' | 'answered' | 'local' | 'remote'>;

export class IceWatch {
  readonly #pc: Watched;
  readonly #config: IceConfig;
  readonly #now: () => number;
  readonly #sinceMs: number;
  readonly #errors: ServerError[] = [];
  #pairs: readonly Pair[] = [];
  #route: IceSnapshot['route'];
  #seen: Seen = { gathering: 'new', state: 'new', answered: false, local: [], remote: [] };

  constructor(pc: Watched, config: IceConfig, now: () => number) {
    this.#pc = pc;
    this.#config = config;
    this.#now = now;
    this.#sinceMs = now();
    pc.addEventListener('icecandidateerror', (event) => this.#onError(event as RTCPeerConnectionIceErrorEvent));
  }

  async look(): Promise<IceSnapshot> {
    await this.#readStats();
    this.#readConnection();
    const { iceServers, relayOnly } = this.#config;
    return {
      waitedMs: this.#now() - this.#sinceMs,
      servers: urlsOf(iceServers),
      relayOnly,
      ...this.#seen,
      pairs: this.#pairs,
      errors: [...this.#errors],
      ...(this.#route ? { route: this.#route } : {}),
    };
  }

  /**
   * How the packets travel: 'host' and 'prflx' in one network, 'srflx' through a NAT, 'relay' over a TURN server at
   * either end; 'unknown' before it connects.
   */
  async route(): Promise<string> {
    await this.#readStats();
    if (!this.#route) return 'unknown';
    const { local, remote } = this.#route;
    return remote === 'relay' ? 'relay' : local;
  }

  /** The same server answers once for each network interface: one line is enough. */
  #onError({ url, errorCode, errorText }: RTCPeerConnectionIceErrorEvent): void {
    const known = this.#errors.some((error) => error.url === url && error.code === errorCode);
    if (!known && this.#errors.length < MAX_ERRORS) this.#errors.push({ url, code: errorCode, text: errorText });
  }

  /** Each property for itself: where one throws, what was read of it before stays. */
  #readConnection(): void {
    const pc = this.#pc;
    const read = <T>(get: () => T): T | undefined => {
      try {
        return get();
      } catch {
        return undefined;
      }
    };
    const state = read(() => pc.iceConnectionState);
    const gathering = read(() => pc.iceGatheringState);
    const local = read(() => pc.localDescription);
    const remote = read(() => pc.remoteDescription);
    this.#seen = {
      gathering: gathering ?? this.#seen.gathering,
      state: state ?? this.#seen.state,
      // A closed connection may also say null.
      answered: this.#seen.answered || (remote !== undefined && remote !== null),
      local: local ? candidatesOf(local.sdp) : this.#seen.local,
      remote: remote ? candidatesOf(remote.sdp) : this.#seen.remote,
    };
  }

  async #readStats(): Promise<void> {
    const entries = await readStats(this.#pc);
    // Some browsers refuse on a closed connection: what was seen before stays.
    if (!entries) return;
    const pairs = [...entries.values()].filter(({ type }) => type === 'candidate-pair');
    if (pairs.length === 0) return;
    const typeOf = (id: unknown): string => candidateType(entries, id);
    this.#pairs = pairs.map((pair) => ({
      local: typeOf(pair['localCandidateId']),
      remote: typeOf(pair['remoteCandidateId']),
      state: text(pair['state']) ?? 'unknown',
      sent: number(pair['requestsSent']) ?? 0,
      answered: number(pair['responsesReceived']) ?? 0,
    }));
    const selected = selectedPair(entries);
    if (!selected) return;
    const relayProtocol = text(entries.get(String(selected['localCandidateId']))?.['relayProtocol']);
    const seconds = number(selected['currentRoundTripTime']);
    this.#route = {
      local: typeOf(selected['localCandidateId']),
      remote: typeOf(selected['remoteCandidateId']),
      ...(relayProtocol ? { relayProtocol } : {}),
      ...(seconds === undefined ? {} : { roundTripMs: seconds * 1000 }),
    };
  }
}

/**
 * The candidates in a session description: `a=candidate:FOUNDATION COMPONENT PROTOCOL PRIORITY ADDRESS PORT typ TYPE
 * ...` (RFC 8839).
 */
export function candidatesOf(sdp: string | undefined): Candidate[] {
  return [...(sdp ?? '').matchAll(/^a=candidate:\S+ \d+ (\S+) \d+ (\S+) \d+ typ (\w+)/gm)].map(
    ([, protocol, address, type]) => ({
      type: type!,
      protocol: protocol!.toLowerCase(),
      mdns: address!.endsWith('.local'),
    }),
  );
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value ? value : undefined;
}
function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}
