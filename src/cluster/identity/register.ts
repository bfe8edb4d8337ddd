// Whom a member believes what: opens envelopes, and refuses what is forged, meant for others, repeated, older than what
// was heard before, or late. What is refused changes nothing. A presence counts only when its sender has answered our
// challenge, random bytes that we say with every hello and presence: a recording of somebody who has left cannot, and
// no two clocks need to agree. Presences answer the challenges of all that were heard, so it costs no message. Bounded:
// MAX_PEERS addresses, of which those that have proven themselves are never dropped for others, and MAX_DEPARTED that
// have left; when these are too many a new challenge makes all their recordings worthless, and the list begins anew.

import { FormatError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import type { Presence } from '../presence.ts';
import { decodePresence, encodePresence } from '../presence.ts';
import type { Bytes, Seal } from '../seal.ts';
import { LAST_SEQ, openEnvelope } from './envelope.ts';
import type { Envelope, Kind } from './envelope.ts';
import { addressOf, joinBytes, signerOf } from './keys.ts';
import type { Signer } from './keys.ts';

/** More members than this are not shown, ourselves included. */
export const MAX_MEMBERS = 128;
const MAX_PEERS = 2 * MAX_MEMBERS;
const MAX_DEPARTED = 1024;
export const CHALLENGE_BYTES = 8;
/** What took longer on its way than the quickest before it, by so much, is late. */
const MAX_AGE_MS = 60_000;

export interface Peer {
  readonly address: string;
  readonly signer: Signer;
  readonly salt: Bytes;
  /** By kind: carriers keep the order of one kind only. */
  readonly last: Map<Kind, Pick<Envelope, 'seq' | 'timeMs'>>;
  presence: Presence | undefined;
  /** What it wants answered. */
  challenge: Bytes | undefined;
  /** Our challenge that it has answered last; undefined: it is not counted. */
  answered: Bytes | undefined;
  /** Our clock less its clock, at the quickest message. */
  lagMs: number;
  /** How often it was asked in vain. */
  asked: number;
  cancelGrace: (() => void) | undefined;
}

/**
 * Why something was refused. 'closed': another key than the room's. 'version': another protocol. 'late': its sender
 * should be asked anew.
 */
export type Refusal = 'closed' | 'version' | 'forged' | 'repeated' | 'late' | 'left';
export type Verdict =
  { readonly peer: Peer; readonly body: Bytes } | { readonly refused: Refusal; readonly version?: number };

/** What a presence says in its envelope. */
export interface Told {
  readonly challenge: Bytes;
  readonly answers: readonly Bytes[];
  readonly presence: Presence;
}

export interface RegisterOptions {
  readonly world: World;
  readonly seal: Seal;
  readonly room: string;
}

export class Register {
  readonly #options: RegisterOptions;
  readonly #peers = new Map<string, Peer>();
  /** The last seq that counted from an address that is gone. */
  readonly #departed = new Map<string, number>();
  #challenge: Bytes;

  constructor(options: RegisterOptions) {
    this.#options = options;
    this.#challenge = options.world.randomBytes(CHALLENGE_BYTES);
  }

  get challenge(): Bytes {
    return this.#challenge;
  }

  /** Addresses that cost memory. */
  get size(): number {
    return this.#peers.size + this.#departed.size;
  }

  /** Those that are believed to be here. */
  members(): readonly Peer[] {
    return [...this.#peers.values()].filter(isCounted);
  }

  /** What was announced, whether it is believed or not. */
  announcements(): readonly Presence[] {
    return Array.from(this.#peers.values(), ({ presence }) => presence).filter((presence) => presence !== undefined);
  }

  /** Those that announced themselves and have not answered. */
  unproven(): readonly Peer[] {
    return [...this.#peers.values()].filter((peer) => peer.presence && !peer.answered);
  }

  /** Those that have not answered the present challenge. */
  unconfirmed(): readonly Peer[] {
    return this.members().filter(({ answered }) => answered !== this.#challenge);
  }

  get(address: string): Peer | undefined {
    return this.#peers.get(address);
  }

  /** From now on only an answer to a new challenge proves anything. Who is counted stays. */
  renew(): void {
    this.#challenge = this.#options.world.randomBytes(CHALLENGE_BYTES);
  }

  /** The address is gone: for good, or until it says something new. */
  depart(address: string, forGood: boolean): void {
    const peer = this.#peers.get(address);
    peer?.cancelGrace?.();
    this.#peers.delete(address);
    if (this.#departed.size >= MAX_DEPARTED) {
      this.#departed.clear();
      this.renew();
    }
    this.#departed.set(
      address,
      forGood ? LAST_SEQ : Math.max(0, ...Array.from(peer?.last.values() ?? [], ({ seq }) => seq)),
    );
  }

  clear(): void {
    for (const peer of this.#peers.values()) peer.cancelGrace?.();
    this.#peers.clear();
  }

  /** Whether what arrived counts. Never called again before it has answered: order decides. */
  async hear(kind: Kind, from: string, to: string, sealed: Bytes): Promise<Verdict> {
    const { seal, room } = this.#options;
    const opened = await openEnvelope(seal, kind, room, from, to, sealed);
    if (opened.type === 'closed') return { refused: 'closed' };
    if (opened.type === 'version') return { refused: 'version', version: opened.version };
    const { envelope } = opened;
    const { seq, timeMs, signature, signed, body } = envelope;
    if (
      !Number.isSafeInteger(seq) ||
      seq < 1 ||
      (seq === LAST_SEQ) !== (kind === 'bye') ||
      !(timeMs >= 0 && timeMs < Infinity)
    )
      return { refused: 'forged' };
    if (seq <= (this.#departed.get(from) ?? 0)) return { refused: 'left' };
    const known = this.#peers.get(from);
    const before = known?.last.get(kind);
    if (before && (seq <= before.seq || timeMs < before.timeMs)) return { refused: 'repeated' };
    const peer = known ?? (await this.#meet(from, envelope));
    if (!peer || !sameBytes(peer.signer.publicKey, envelope.publicKey) || !sameBytes(peer.salt, envelope.salt))
      return { refused: 'forged' };
    if (!(await peer.signer.verify(signature, signed))) return { refused: 'forged' };
    if (kind !== 'bye' && !this.#isTimely(peer, kind, envelope)) return { refused: 'late' };
    if (!known) this.#keep(peer);
    peer.last.set(kind, { seq, timeMs });
    return { peer, body };
  }

  /**
   * Takes a presence whose envelope counted. undefined: it is not readable, speaks for another, or takes back a place.
   */
  announced(peer: Peer, body: Bytes): Told | undefined {
    const told = readTold(body, peer.address);
    if (!told || told.presence.id !== peer.signer.id || told.presence.order < (peer.presence?.order ?? 0))
      return undefined;
    peer.presence = told.presence;
    peer.challenge = told.challenge;
    const proves = told.answers.some((answer) => sameBytes(answer, this.#challenge));
    if (proves && (peer.answered || this.members().length < MAX_MEMBERS - 1)) {
      peer.answered = this.#challenge;
      peer.asked = 0;
    }
    return told;
  }

  /** The challenges to answer, first of those that are counted. */
  answers(): readonly Bytes[] {
    const peers = [...this.members(), ...[...this.#peers.values()].filter((peer) => !isCounted(peer)).reverse()];
    return peers.flatMap(({ challenge }) => challenge ?? []).slice(0, MAX_MEMBERS - 1);
  }

  async #meet(from: string, { publicKey, salt }: Envelope): Promise<Peer | undefined> {
    if ((await addressOf(this.#options.room, publicKey, salt)) !== from) return undefined;
    try {
      const signer = await signerOf(publicKey);
      return {
        address: from,
        signer,
        salt,
        last: new Map(),
        presence: undefined,
        challenge: undefined,
        answered: undefined,
        lagMs: Infinity,
        asked: 0,
        cancelGrace: undefined,
      };
    } catch (error) {
      if (error instanceof FormatError) return undefined;
      throw error;
    }
  }

  #keep(peer: Peer): void {
    if (this.#peers.size >= MAX_PEERS) {
      for (const [address, old] of this.#peers) {
        if (isCounted(old)) continue;
        this.#peers.delete(address);
        break;
      }
    }
    this.#peers.set(peer.address, peer);
  }

  /** A clock that stood still, as of a machine that slept, is believed again with an answer to a new challenge. */
  #isTimely(peer: Peer, kind: Kind, { timeMs, body }: Envelope): boolean {
    const lagMs = this.#options.world.now() - timeMs;
    const proof =
      kind === 'presence' &&
      peer.answered !== this.#challenge &&
      answersOf(body).some((answer) => sameBytes(answer, this.#challenge));
    if (proof) {
      peer.lagMs = lagMs;
      return true;
    }
    if (peer.answered && lagMs - peer.lagMs > MAX_AGE_MS) return false;
    peer.lagMs = Math.min(peer.lagMs, lagMs);
    return true;
  }
}

function isCounted({ answered, presence }: Peer): boolean {
  return answered !== undefined && presence !== undefined;
}

/** The body of a presence: challenge 8 | count u8 | answers 8 each | JSON. */
export function encodeTold({ challenge, answers, presence }: Told): Bytes {
  return joinBytes([challenge, new Uint8Array([answers.length]), ...answers, encodePresence(presence)]);
}

function readTold(body: Bytes, address: string): Told | undefined {
  const answers = answersOf(body);
  const at = CHALLENGE_BYTES + 1 + answers.length * CHALLENGE_BYTES;
  if (body.byteLength <= at) return undefined;
  try {
    return { challenge: body.slice(0, CHALLENGE_BYTES), answers, presence: decodePresence(body.slice(at), address) };
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

function answersOf(body: Bytes): readonly Bytes[] {
  const count = body[CHALLENGE_BYTES] ?? 0;
  if (body.byteLength < CHALLENGE_BYTES + 1 + count * CHALLENGE_BYTES) return [];
  return Array.from({ length: count }, (_, i) =>
    body.subarray(CHALLENGE_BYTES + 1 + i * CHALLENGE_BYTES, CHALLENGE_BYTES + 1 + (i + 1) * CHALLENGE_BYTES),
  );
}

function sameBytes(a: Bytes, b: Bytes): boolean {
  return a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i]);
}
