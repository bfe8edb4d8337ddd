// Who is in a room. Every member publishes one Presence; the set of presences is the roster, and every decision (coordinator, ranks, duplicates, versions)
// is a function of it. Members are ordered by (order, id): `order` is one more than the highest order seen when joining (a Lamport clock, no wall clock),
// so an older member stays in front of a newcomer. `address` is drawn anew at each join; `id` names the tab and survives a reload.
// A decoder is total: every byte string gives a Presence or a FormatError.

import { FormatError } from '../base/errors.ts';
import { decodeUtf8, isObject, parseJson } from '../base/json.ts';
import type { JsonObject } from '../base/json.ts';

/** Changes whenever a message of the cluster, a frame of the transport or the meaning of a plan changes. */
export const PROTOCOL_VERSION = 2;

export type Role = 'trainer' | 'observer';

/** What a tab says about itself; the rest of its Presence is assigned when it joins. */
export interface Introduction {
  /** Names the tab; a duplicated tab carries the same id, and the newer one wins. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  /** The GPU in words: 'nvidia / ampere', 'google / swiftshader'. */
  readonly adapter: string;
  /** True when the adapter computes on the CPU. */
  readonly software: boolean;
  /** An observer sees the room but never gets a rank. */
  readonly role: Role;
}

export interface Presence extends Introduction {
  /** Where signals reach this join of this tab: 16 hex digits. */
  readonly address: string;
  readonly order: number;
  readonly protocolVersion: number;
}

const MAX_ORDER = 2 ** 31;
const ADDRESS = /^[0-9a-f]{16}$/;

export function isAddress(text: unknown): text is string {
  return typeof text === 'string' && ADDRESS.test(text);
}

/** The order of a newcomer who saw `present`. */
export function nextOrder(present: Iterable<Presence>): number {
  let highest = 0;
  for (const { order } of present) highest = Math.max(highest, order);
  return Math.min(highest + 1, MAX_ORDER);
}

/** Sorts the older member first; total on members with different ids. */
export function byAge(a: Presence, b: Presence): number {
  return a.order - b.order || compareText(a.id, b.id) || compareText(a.address, b.address);
}

/** Code-unit order: the same on every machine, unlike localeCompare. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function encodePresence(presence: Presence): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(presence));
}

/** Throws FormatError for anything that is not a well-formed presence of `address`. Unknown fields are ignored, so that a later version is refused by its number. */
export function decodePresence(bytes: Uint8Array<ArrayBuffer>, address: string): Presence {
  const format = 'presence';
  const fields = parseFields(bytes, format, 2);
  const presence: Presence = {
    id: textField(fields, 'id', 64, format), name: textField(fields, 'name', 64, format), adapter: textField(fields, 'adapter', 200, format),
    address: textField(fields, 'address', 16, format), software: fields.get('software') === true,
    role: fields.get('role') === 'observer' ? 'observer' : 'trainer',
    order: integerField(fields, 'order', 1, MAX_ORDER, format), protocolVersion: integerField(fields, 'protocolVersion', 0, MAX_ORDER, format),
  };
  if (presence.address !== address) throw new FormatError(format, `expected the address ${address} of its sender, got ${presence.address}`);
  if (presence.id === '') throw new FormatError(format, 'expected a field `id` that is not empty');
  return presence;
}

/** The fields of a JSON object of at most `maxDepth` levels. */
export function parseFields(bytes: Uint8Array<ArrayBuffer>, format: string, maxDepth: number): JsonObject {
  const value = parseJson(decodeUtf8(bytes, format), { format, maxDepth });
  if (!isObject(value)) throw new FormatError(format, 'expected a JSON object');
  return value;
}

export function textField(fields: JsonObject, name: string, maxLength: number, format: string): string {
  const found = fields.get(name);
  if (typeof found !== 'string' || found.length > maxLength) throw new FormatError(format, `expected a field \`${name}\` of text, at most ${maxLength} characters`);
  return found;
}

export function integerField(fields: JsonObject, name: string, min: number, max: number, format: string): number {
  const found = fields.get(name);
  if (typeof found !== 'number' || !Number.isInteger(found) || found < min || found > max) {
    throw new FormatError(format, `expected a field \`${name}\` that is an integer from ${min} to ${max}`);
  }
  return found;
}
