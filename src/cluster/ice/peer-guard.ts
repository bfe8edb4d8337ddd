// What a peer may do on one connection beside the lanes: nothing. simple-peer wants a channel of its own (it learns by
// it that the other end is gone), which carries no byte; a member that opens further channels, sends media, or
// describes its end twice would fill memory that nobody reads. Whoever tries ends the connection, by name.

import type { IceSignal } from '../messages.ts';

/** simple-peer's own channel is negotiated like the lanes (ids 10 to 12), so that none is ever opened in band. */
export const OWN_CHANNEL = { negotiated: true, id: 9, ordered: true } as const;

/** More addresses than any machine has, for each attempt. */
const MAX_CANDIDATES = 256;

/** The parts of a connection that are guarded. */
export interface Guarded {
  addEventListener(
    type: 'datachannel',
    listener: (event: { readonly channel: Pick<RTCDataChannel, 'close'> }) => void,
  ): void;
  addEventListener(type: 'track', listener: () => void): void;
}

/** simple-peer's own channel: `_channel`. */
export interface OwnChannel {
  onmessage: unknown;
  onclose: unknown;
}

/**
 * Calls `breach` once, with a sentence, for the first thing that a peer may not do. Nothing that it sends from then on
 * is kept. simple-peer's own channel stays open until the caller ends the connection: the end of it would make the
 * other side end all, before the reason is told here.
 */
export function guardConnection(pc: Guarded, own: OwnChannel | null, breach: (what: string) => void): void {
  let told = false;
  const tell = (what: string): void => {
    if (told) return;
    told = true;
    breach(what);
  };
  if (own) {
    own.onmessage = () => {
      own.onmessage = own.onclose = null;
      tell('it sent data on a channel that carries none');
    };
  }
  pc.addEventListener('datachannel', ({ channel }) => {
    channel.close();
    tell('it opened a data channel of its own');
  });
  pc.addEventListener('track', () => tell('it sent sound or pictures'));
}

/**
 * Which signals of a peer one attempt takes: the description that its role allows, once, and a number of candidates.
 */
export class SignalGuard {
  readonly #expected: 'offer' | 'answer';
  #described = false;
  #candidates = 0;

  constructor(initiator: boolean) {
    this.#expected = initiator ? 'answer' : 'offer';
  }

  /** True to pass it on, false to drop it (a broker may deliver twice); a sentence for what no sound peer says. */
  check(signal: IceSignal): boolean | string {
    if (signal.type === 'candidate') return ++this.#candidates <= MAX_CANDIDATES;
    if (signal.type !== this.#expected || this.#described) return false;
    if (/^m=(?!application )/m.test(signal.sdp)) return 'it offers sound or pictures';
    this.#described = true;
    return true;
  }
}
