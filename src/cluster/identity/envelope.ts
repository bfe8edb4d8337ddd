// What a member says to a room or to one of its members, signed: sealed with the room's key by ../seal.ts and, inside,
// in a fixed byte form
//   version u8 | seq f64 | timeMs f64 | salt 8 | public key 65 | signature 64 | body
// The signature is over a label, the kind, the room, the addresses of sender and receiver ('' for everybody), and all
// of the above but itself. seq grows with everything that a join says; timeMs is the sender's monotonic clock since it
// joined: clocks on walls are wrong by hours. Opening costs one decryption for whoever lacks the room's key; only what
// opens costs a signature.

import { FormatError } from '../../base/errors.ts';
import { decodeUtf8, isObject, parseJson } from '../../base/json.ts';
import type { World } from '../../base/world.ts';
import { PROTOCOL_VERSION } from '../presence.ts';
import type { Bytes, Seal } from '../seal.ts';
import { addressOf, joinBytes, PUBLIC_KEY_BYTES, SALT_BYTES, SIGNATURE_BYTES } from './keys.ts';
import type { Identity } from './keys.ts';

/** hello: everybody should announce itself. bye: the last word of an address. */
export type Kind = 'hello' | 'presence' | 'signal' | 'bye';

export interface Envelope {
  readonly seq: number;
  readonly timeMs: number;
  readonly salt: Bytes;
  readonly publicKey: Bytes;
  readonly signature: Bytes;
  readonly body: Bytes;
  /** What the signature is over. */
  readonly signed: Bytes;
}

export type Opened =
  | { readonly type: 'envelope'; readonly envelope: Envelope }
  | { readonly type: 'version'; readonly version: number }
  | { readonly type: 'closed' };

/** The seq of a bye: nothing of its address counts after it. */
export const LAST_SEQ = Number.MAX_SAFE_INTEGER;
const HEAD_BYTES = 1 + 8 + 8 + SALT_BYTES + PUBLIC_KEY_BYTES;
/** '{': the members of protocol 3 and before said plain JSON. */
const BRACE = 0x7b;

/** Says what one join of one identity has to say. */
export class Speaker {
  readonly address: string;
  readonly identity: Identity;
  readonly #world: World;
  readonly #room: string;
  readonly #seal: Seal;
  readonly #salt: Bytes;
  readonly #joinedAtMs: number;
  #seq = 0;

  private constructor(world: World, room: string, seal: Seal, identity: Identity, salt: Bytes, address: string) {
    this.#world = world;
    this.#room = room;
    this.#seal = seal;
    this.#salt = salt;
    this.#joinedAtMs = world.now();
    this.identity = identity;
    this.address = address;
  }

  static async join(world: World, room: string, seal: Seal, identity: Identity): Promise<Speaker> {
    const salt = world.randomBytes(SALT_BYTES);
    return new Speaker(world, room, seal, identity, salt, await addressOf(room, identity.publicKey, salt));
  }

  /**
   * Rejects with LimitError when it is too long. What is to arrive in order is said one after the other: signing is
   * asynchronous.
   */
  async say(kind: Kind, to: string, body: Bytes): Promise<Bytes> {
    const head = new Uint8Array(HEAD_BYTES);
    const view = new DataView(head.buffer);
    head[0] = PROTOCOL_VERSION;
    view.setFloat64(1, kind === 'bye' ? LAST_SEQ : ++this.#seq);
    view.setFloat64(9, Math.round(this.#world.now() - this.#joinedAtMs));
    head.set(this.#salt, 17);
    head.set(this.identity.publicKey, 17 + SALT_BYTES);
    const signature = await this.identity.sign(signedBytes(kind, this.#room, this.address, to, head, body));
    return this.#seal.seal(joinBytes([head, signature, body]), contextOf(kind, this.#room, this.address, to));
  }
}

/**
 * What `from` says, unsealed; the signature is still to be checked. 'closed': it does not open with the key of this
 * room. Total: rejects for nothing that arrives.
 */
export async function openEnvelope(
  seal: Seal,
  kind: Kind,
  room: string,
  from: string,
  to: string,
  sealed: Bytes,
): Promise<Opened> {
  let plain: Bytes;
  try {
    plain = await seal.unseal(sealed, contextOf(kind, room, from, to));
  } catch (error) {
    if (error instanceof FormatError) return { type: 'closed' };
    throw error;
  }
  const version = plain[0] === BRACE ? versionOfText(plain) : (plain[0] ?? 0);
  if (version !== PROTOCOL_VERSION) return { type: 'version', version };
  if (plain.byteLength < HEAD_BYTES + SIGNATURE_BYTES) return { type: 'version', version: 0 };
  const view = new DataView(plain.buffer, plain.byteOffset);
  const head = plain.subarray(0, HEAD_BYTES);
  const body = plain.subarray(HEAD_BYTES + SIGNATURE_BYTES);
  return {
    type: 'envelope',
    envelope: {
      seq: view.getFloat64(1),
      timeMs: view.getFloat64(9),
      salt: plain.slice(17, 17 + SALT_BYTES),
      publicKey: plain.slice(17 + SALT_BYTES, HEAD_BYTES),
      signature: plain.subarray(HEAD_BYTES, HEAD_BYTES + SIGNATURE_BYTES),
      body,
      signed: signedBytes(kind, room, from, to, head, body),
    },
  };
}

/** Names and addresses have no line breaks: no two texts give the same bytes. */
function signedBytes(kind: Kind, room: string, from: string, to: string, head: Bytes, body: Bytes): Bytes {
  return joinBytes([new TextEncoder().encode(`tabmesh envelope\n${kind}\n${room}\n${from}\n${to}\n`), head, body]);
}

function contextOf(kind: Kind, room: string, from: string, to: string): string {
  return `${room}/${kind}/${from}/${to}`;
}

/** The protocol of a presence in plain JSON; 0 when it does not say. */
function versionOfText(plain: Bytes): number {
  try {
    const fields = parseJson(decodeUtf8(plain, 'presence'), { format: 'presence' });
    const version = isObject(fields) ? fields.get('protocolVersion') : undefined;
    return typeof version === 'number' && Number.isInteger(version) && version >= 0 && version !== PROTOCOL_VERSION
      ? version
      : 0;
  } catch (error) {
    if (error instanceof FormatError) return 0;
    throw error;
  }
}
