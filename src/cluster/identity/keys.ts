// Who a tab is: a key pair of ECDSA P-256. The identity is a hash of the public key, and the address of a join is a
// hash of the room, the key and a salt, so that whoever hears an address can check whose it is without having met it
// before, and nobody can speak from the address of another. A found address must collide with one of 64 bits that
// somebody else chose: 2^64 hashes for one victim, for as long as it stays. `crypto.subtle` is used directly for the
// reasons given in ../seal.ts. Source: FIPS 186-5 (ECDSA), W3C WebCrypto.

import { ConfigError, FormatError } from '../../base/errors.ts';
import type { Bytes } from '../seal.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;
/** An uncompressed point. */
export const PUBLIC_KEY_BYTES = 65;
export const SIGNATURE_BYTES = 64;
export const SALT_BYTES = 8;
const ADDRESS_BYTES = 8;
const ID_BYTES = 16;

export interface Identity {
  /** 32 hex digits. */
  readonly id: string;
  readonly publicKey: Bytes;
  sign(bytes: Bytes): Promise<Bytes>;
}

/** The other side of an Identity. */
export interface Signer {
  readonly id: string;
  readonly publicKey: Bytes;
  verify(signature: Bytes, bytes: Bytes): Promise<boolean>;
}

/**
 * A key pair whose private half no script can read, also not ours. Rejects with ConfigError where the page has no
 * WebCrypto.
 */
export async function newKeyPair(): Promise<CryptoKeyPair> {
  return subtle().generateKey(ALGORITHM, false, ['sign', 'verify']);
}

export async function identityOf(pair: CryptoKeyPair): Promise<Identity> {
  const publicKey = new Uint8Array(await subtle().exportKey('raw', pair.publicKey));
  return {
    id: await idOf(publicKey),
    publicKey,
    sign: async (bytes) => new Uint8Array(await subtle().sign(SIGNING, pair.privateKey, bytes)),
  };
}

/** Rejects with FormatError for bytes that are no point of the curve. */
export async function signerOf(publicKey: Bytes): Promise<Signer> {
  let key: CryptoKey;
  try {
    key = await subtle().importKey('raw', publicKey, ALGORITHM, false, ['verify']);
  } catch {
    // DataError or OperationError, by browser.
    throw new FormatError('public key', 'expected a point of P-256');
  }
  return {
    id: await idOf(publicKey),
    publicKey,
    verify: (signature, bytes) => subtle().verify(SIGNING, key, signature, bytes),
  };
}

/** Where the holder of `publicKey` is reached in `room`: 16 hex digits. */
export async function addressOf(room: string, publicKey: Bytes, salt: Bytes): Promise<string> {
  return digest(`tabmesh address\n${room}\n`, [publicKey, salt], ADDRESS_BYTES);
}

async function idOf(publicKey: Bytes): Promise<string> {
  return digest('tabmesh identity\n', [publicKey], ID_BYTES);
}

async function digest(label: string, parts: readonly Bytes[], length: number): Promise<string> {
  const hash = new Uint8Array(await subtle().digest('SHA-256', joinBytes([new TextEncoder().encode(label), ...parts])));
  return Array.from(hash.subarray(0, length), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function joinBytes(parts: readonly Bytes[]): Bytes {
  const joined = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.byteLength;
  }
  return joined;
}

function subtle(): SubtleCrypto {
  // Typed as always present, but a page from http:// on another host has none.
  const found = (globalThis.crypto as Crypto | undefined)?.subtle as SubtleCrypto | undefined;
  if (!found)
    throw new ConfigError(
      'page address',
      'expected a secure page (https:// or localhost), got one without WebCrypto; open the page over https',
    );
  return found;
}
