// What the conductor asks of the ranks: plain data both ways, so that it may cross tabs. Every rank gets each request
// at about the same time; those that time something begin with a barrier, so that the clock of no rank starts early.

import type { RawSetting } from './raw.ts';

/** `ms` of one call on this rank, from the barrier on; elements that were wrong after the last. */
export interface Timed {
  readonly ms: number;
  readonly wrong: number;
}

export interface Requests {
  /** Resolves when all channels of this rank are open and its peers have spoken; answers what its links go over. */
  readonly meet: { readonly request: null; readonly answer: readonly string[] };
  /** `salt` makes the numbers of a round differ from those of any other; `times` calls follow each other. */
  readonly collective: {
    readonly request: { readonly name: string; readonly bytes: number; readonly times: number; readonly salt: number };
    readonly answer: Timed;
  };
  /** Bare channels; bytes by sender, then receiver. */
  readonly raw: {
    readonly request: {
      readonly traffic: readonly (readonly number[])[];
      readonly times: number;
      readonly setting: RawSetting;
    };
    readonly answer: number;
  };
  /** Milliseconds of one message to rank 1 and back over the bare channel; others answer 0. */
  readonly roundTrip: { readonly request: { readonly bytes: number; readonly times: number }; readonly answer: number };
  /** Rank 0 sends to rank 1 with tabmesh's send and waits until it is told that all came. */
  readonly transfer: {
    readonly request: { readonly bytes: number; readonly times: number; readonly salt: number };
    readonly answer: Timed;
  };
  /**
   * The bare channel of ranks 0 and 1 that stayed on the page: milliseconds until rank 0 is told that all came; rank 1
   * answers 0.
   */
  readonly pageRaw: {
    readonly request: { readonly bytes: number; readonly setting: RawSetting };
    readonly answer: number;
  };
  /** Opens this tab's GPU; answers what it is, or why there is none. */
  readonly openGpu: {
    readonly request: null;
    readonly answer: { readonly adapter?: string; readonly reason?: string };
  };
  /** A buffer on the GPU of rank 0 to one on that of rank 1. */
  readonly gpu: {
    readonly request: { readonly bytes: number; readonly overlapped: boolean; readonly salt: number };
    readonly answer: Timed;
  };
  /** Another library: loads it and connects ranks 0 and 1; answers why it cannot. */
  readonly peerOpen: { readonly request: { readonly library: string }; readonly answer: { readonly reason?: string } };
  /** What rank 1 is about to get. */
  readonly peerExpect: {
    readonly request: { readonly library: string; readonly bytes: number };
    readonly answer: null;
  };
  /** Rank 0 sends and waits until it is told that all came; milliseconds. */
  readonly peerSend: {
    readonly request: { readonly library: string; readonly bytes: number; readonly salt: number };
    readonly answer: number;
  };
  /** How many of the elements were wrong. */
  readonly peerVerdict: {
    readonly request: { readonly library: string; readonly bytes: number; readonly salt: number };
    readonly answer: number;
  };
}

export type RequestName = keyof Requests;
export type Handlers<K extends RequestName = RequestName> = {
  readonly [N in K]: (request: Requests[N]['request']) => Promise<Requests[N]['answer']>;
};
/** Requests of the rank itself; the rest needs a page, because peer connections do. */
export type PeerRequest = Extract<RequestName, `peer${string}`>;
export type RankRequest = Exclude<RequestName, PeerRequest | 'pageRaw'>;

/** Asks one rank. Rejects when the request fails there or the rank is gone. */
export type Call = <K extends RequestName>(
  rank: number,
  name: K,
  request: Requests[K]['request'],
) => Promise<Requests[K]['answer']>;
