// Seals what the members of a room say to each other, so that whoever runs the broker sees only room names, addresses
// and sizes. key = HKDF-SHA256(room key, salt 'tabmesh room v1', info = room name) -> AES-GCM 256; a sealed payload is
// [version 1][nonce 12][ciphertext][tag 16]. The context (room, purpose, sender, receiver) is authenticated with it: a
// payload moved to another topic does not open. The one surprising rule: `crypto.subtle` is used directly and not
// injected. It is a pure function of its arguments (the nonces come from World), a fake of it would prove nothing, and
// it exists in pages, workers and Node 20 alike. Source: RFC 5869, NIST SP 800-38D.

import { ConfigError, FormatError, LimitError } from '../base/errors.ts';
import type { World } from '../base/world.ts';

export type Bytes = Uint8Array<ArrayBuffer>;

/** The largest sealed payload; the embedded broker closes whoever sends more. */
export const MAX_SEALED_BYTES = 16 * 1024;

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 16;

export interface Seal {
  /** Rejects with LimitError when the result would exceed MAX_SEALED_BYTES. */
  seal(plain: Bytes, context: string): Promise<Bytes>;
  /** Rejects with FormatError when the key, the context or a single bit differs. */
  unseal(sealed: Bytes, context: string): Promise<Bytes>;
}

/** A new room key: 128 random bits as 22 characters that fit into a URL fragment. */
export function newRoomKey(world: World): string {
  return toBase64Url(world.randomBytes(KEY_BYTES));
}

/** Rejects with ConfigError for a key that `newRoomKey` cannot have made, or where the page has no WebCrypto. */
export async function deriveSeal(world: World, room: string, key: string): Promise<Seal> {
  if (!/^[A-Za-z0-9_-]{22}$/.test(key)) {
    throw new ConfigError(
      'room key',
      `expected 22 letters, digits, - or _, got ${key.length} characters; copy the whole link of the room`,
    );
  }
  // Typed as always present, but a page from http:// on another host has none.
  const subtle = (globalThis.crypto as Crypto | undefined)?.subtle as SubtleCrypto | undefined;
  if (!subtle)
    throw new ConfigError(
      'page address',
      'expected a secure page (https:// or localhost), got one without WebCrypto; open the page over https',
    );
  const text = new TextEncoder();
  const secret = await subtle.importKey('raw', text.encode(key), 'HKDF', false, ['deriveKey']);
  const aes = await subtle.deriveKey(
    { name: 'HKDF', hash: 'SHA-256', salt: text.encode('tabmesh room v1'), info: text.encode(room) },
    secret,
    { name: 'AES-GCM', length: 256 },
    false,
    ['encrypt', 'decrypt'],
  );
  return {
    async seal(plain, context) {
      const size = 1 + NONCE_BYTES + plain.byteLength + TAG_BYTES;
      if (size > MAX_SEALED_BYTES)
        throw new LimitError(
          `signal: expected at most ${MAX_SEALED_BYTES} sealed bytes, got ${size}; send a shorter job`,
        );
      const nonce = world.randomBytes(NONCE_BYTES);
      const cipher = await subtle.encrypt(
        { name: 'AES-GCM', iv: nonce, additionalData: text.encode(context) },
        aes,
        plain,
      );
      const sealed = new Uint8Array(size);
      sealed[0] = VERSION;
      sealed.set(nonce, 1);
      sealed.set(new Uint8Array(cipher), 1 + NONCE_BYTES);
      return sealed;
    },
    async unseal(sealed, context) {
      if (
        sealed.byteLength > MAX_SEALED_BYTES ||
        sealed.byteLength < 1 + NONCE_BYTES + TAG_BYTES ||
        sealed[0] !== VERSION
      ) {
        throw new FormatError(
          'sealed payload',
          `expected version ${VERSION} and at most ${MAX_SEALED_BYTES} bytes, got version ${sealed[0]} and ${sealed.byteLength} bytes`,
        );
      }
      try {
        const iv = sealed.subarray(1, 1 + NONCE_BYTES);
        return new Uint8Array(
          await subtle.decrypt(
            { name: 'AES-GCM', iv, additionalData: text.encode(context) },
            aes,
            sealed.subarray(1 + NONCE_BYTES),
          ),
        );
      } catch {
        // WebCrypto gives one OperationError without a reason for every kind of mismatch.
        throw new FormatError(
          'sealed payload',
          'it does not open with the key of this room, or it was changed on the way',
        );
      }
    },
  };
}

/** Throws FormatError for what `toBase64Url` cannot have made. */
export function fromBase64Url(text: string): Bytes {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1)
    throw new FormatError('base64url', 'expected letters, digits, - and _');
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

export function toBase64Url(bytes: Bytes): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}
