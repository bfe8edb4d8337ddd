// Who is in a room. Every member publishes one Presence; the set of presences is the roster, and every decision
// (coordinator, ranks, duplicates, versions) is a function of it. Members are ordered by (order, id): `order` is one
// more than the highest order seen when joining (a Lamport clock, no wall clock), so an older member stays in front of
// a newcomer. `address` is new at each join; `id` names the tab's key and survives a reload. A presence also says what
// its member is at work on, what it would like to train and how its last run ended: a member of the room who has just
// come, and a new coordinator, know from the roster alone whether the room is busy, and a wish is gone with its member.
// A decoder is total: every byte string gives a Presence or a FormatError.

import { FormatError } from '../base/errors.ts';
import { decodeUtf8, isArray, isObject, parseJson, toPlain } from '../base/json.ts';
import type { JsonObject } from '../base/json.ts';
import { plainText } from '../base/plain-text.ts';
import { MAX_CARRIED, MAX_STATEMENT } from './room/laws.ts';
import type { Law } from './room/laws.ts';

/** Changes whenever a message of the cluster, a frame of the transport or the meaning of a job changes. */
export const PROTOCOL_VERSION = 4;

export type Role = 'trainer' | 'observer';

/** What a tab says about itself; the rest of its Presence is assigned when it joins. */
export interface Introduction {
  /** For people. */
  readonly name: string;
  /** The GPU in words: 'nvidia / ampere', 'google / swiftshader'. */
  readonly adapter: string;
  /** True when the adapter computes on the CPU. */
  readonly software: boolean;
  /** An observer sees the room but never gets a rank. */
  readonly role: Role;
}

/**
 * What somebody wants to train: a world of `worldSize` ranks. Its job, `plan` in messages, is opaque to the cluster:
 * JSON that the trainer understands.
 */
export interface Proposal {
  /** Numbers the wish (32 bits): a granted one is never granted again. */
  readonly wish: number;
  /** Numbers the run (32 bits); a regrouping of the same run keeps it. */
  readonly run: number;
  readonly worldSize: number;
  readonly plan: unknown;
}

/** The view that a member forms or trains in. */
export interface AtWork {
  readonly run: number;
  readonly wish: number;
  readonly view: number;
  readonly rank: number;
  readonly size: number;
  readonly phase: 'forming' | 'training';
}

export type Ending = 'done' | 'stopped' | 'failed';

/** How a member's last run ended, after how many steps. */
export interface Ended {
  readonly run: number;
  readonly wish: number;
  readonly step: number;
  readonly how: Ending;
  /** Its rank in it, which it takes again where the run goes on. */
  readonly rank?: number;
}

/**
 * A checkpoint that a member keeps: of which run in this room, after how many steps, and what file it is
 * (files/shared-file.ts).
 */
export interface Holds {
  readonly run: number;
  readonly step: number;
  readonly hash: string;
  readonly bytes: number;
}

export interface Presence extends Introduction {
  /**
   * The identity whose key signs what comes from `address`; it survives a reload. Of two joins of one identity the
   * newer counts.
   */
  readonly id: string;
  /** Where signals reach this join of this tab: 16 hex digits. */
  readonly address: string;
  readonly order: number;
  readonly protocolVersion: number;
  /** Absent: the member is free. */
  readonly run?: AtWork;
  readonly wants?: Proposal;
  readonly ended?: Ended;
  /** The rules and removals that the member knows; see room/laws.ts. */
  readonly law?: Law;
  readonly holds?: Holds;
}

export const MAX_WORLD_SIZE = 64;
export const MAX_VIEW = 2 ** 31;
const MAX_NUMBER = 2 ** 32 - 1;
const MAX_ORDER = 2 ** 31;
/** Longer texts are no mistake of a page of ours. */
const MAX_SHOWN = 4000;
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

/**
 * Throws FormatError for anything that is not a well-formed presence of `address`. Unknown fields are ignored, so that
 * a later version is refused by its number.
 */
export function decodePresence(bytes: Uint8Array<ArrayBuffer>, address: string): Presence {
  const format = 'presence';
  const fields = parseFields(bytes, format, 16);
  const presence: Presence = {
    id: textField(fields, 'id', 64, format),
    name: shownField(fields, 'name', 64, format) || 'a tab without a name',
    adapter: shownField(fields, 'adapter', 200, format),
    address: textField(fields, 'address', 16, format),
    software: fields.get('software') === true,
    role: fields.get('role') === 'observer' ? 'observer' : 'trainer',
    order: integerField(fields, 'order', 1, MAX_ORDER, format),
    protocolVersion: integerField(fields, 'protocolVersion', 0, MAX_ORDER, format),
    ...part(fields, 'run', atWorkOf),
    ...part(fields, 'wants', proposalOf),
    ...part(fields, 'ended', endedOf),
    ...part(fields, 'holds', holdsOf),
    ...part(fields, 'law', lawOf),
  };
  if (presence.address !== address)
    throw new FormatError(format, `expected the address ${address} of its sender, got ${presence.address}`);
  if (presence.id === '') throw new FormatError(format, 'expected a field `id` that is not empty');
  return presence;
}

function part<K extends string, T>(
  fields: JsonObject,
  name: K,
  read: (fields: JsonObject) => T,
): { readonly [name in K]?: T } {
  const found = fields.get(name);
  if (found === undefined || found === null) return {};
  if (!isObject(found)) throw new FormatError('presence', `expected a field \`${name}\` that is an object`);
  return { [name]: read(found) } as { readonly [name in K]?: T };
}

function atWorkOf(fields: JsonObject): AtWork {
  const phase = fields.get('phase');
  if (phase !== 'forming' && phase !== 'training')
    throw new FormatError('presence', 'expected a run that is forming or training');
  const size = integerField(fields, 'size', 1, MAX_WORLD_SIZE, 'presence');
  return {
    ...numbersOf(fields),
    view: integerField(fields, 'view', 1, MAX_VIEW, 'presence'),
    rank: integerField(fields, 'rank', 0, size - 1, 'presence'),
    size,
    phase,
  };
}

function proposalOf(fields: JsonObject): Proposal {
  return {
    ...numbersOf(fields),
    worldSize: integerField(fields, 'worldSize', 1, MAX_WORLD_SIZE, 'presence'),
    plan: toPlain(fields.get('plan') ?? null),
  };
}

function endedOf(fields: JsonObject): Ended {
  const how = fields.get('how');
  if (how !== 'done' && how !== 'stopped' && how !== 'failed')
    throw new FormatError('presence', 'expected a run that is done, stopped or failed');
  return {
    ...numbersOf(fields),
    step: integerField(fields, 'step', 0, MAX_NUMBER, 'presence'),
    how,
    ...(fields.get('rank') === undefined
      ? {}
      : { rank: integerField(fields, 'rank', 0, MAX_WORLD_SIZE - 1, 'presence') }),
  };
}

/** Not yet judged: whose signatures these are is for Laws to see. */
function lawOf(fields: JsonObject): Law {
  const removals = fields.get('removals') ?? [];
  if (!isArray(removals) || removals.length > MAX_CARRIED)
    throw new FormatError('presence', `expected at most ${MAX_CARRIED} removals`);
  return {
    ...(fields.get('rules') === undefined ? {} : { rules: textField(fields, 'rules', MAX_STATEMENT, 'presence') }),
    ...(removals.length === 0
      ? {}
      : {
          removals: removals.map((text) =>
            textField(new Map([['removal', text]]), 'removal', MAX_STATEMENT, 'presence'),
          ),
        }),
  };
}

function holdsOf(fields: JsonObject): Holds {
  const hash = textField(fields, 'hash', 64, 'presence');
  if (!/^[0-9a-f]{64}$/.test(hash)) throw new FormatError('presence', 'expected a hash of 64 hex digits');
  const number = (name: string, min: number): number => integerField(fields, name, min, MAX_NUMBER, 'presence');
  return { run: number('run', 0), step: number('step', 0), hash, bytes: number('bytes', 1) };
}

function numbersOf(fields: JsonObject): { readonly run: number; readonly wish: number } {
  return {
    run: integerField(fields, 'run', 0, MAX_NUMBER, 'presence'),
    wish: integerField(fields, 'wish', 0, MAX_NUMBER, 'presence'),
  };
}

/** The fields of a JSON object of at most `maxDepth` levels. */
export function parseFields(bytes: Uint8Array<ArrayBuffer>, format: string, maxDepth: number): JsonObject {
  const value = parseJson(decodeUtf8(bytes, format), { format, maxDepth });
  if (!isObject(value)) throw new FormatError(format, 'expected a JSON object');
  return value;
}

export function textField(fields: JsonObject, name: string, maxLength: number, format: string): string {
  const found = fields.get(name);
  if (typeof found !== 'string' || found.length > maxLength)
    throw new FormatError(format, `expected a field \`${name}\` of text, at most ${maxLength} characters`);
  return found;
}

/** Text of another person that is shown to people: one line, without what is invisible, cut to `maxLength`. */
export function shownField(fields: JsonObject, name: string, maxLength: number, format: string): string {
  return plainText(textField(fields, name, MAX_SHOWN, format), maxLength);
}

export function integerField(fields: JsonObject, name: string, min: number, max: number, format: string): number {
  const found = fields.get(name);
  if (typeof found !== 'number' || !Number.isInteger(found) || found < min || found > max) {
    throw new FormatError(format, `expected a field \`${name}\` that is an integer from ${min} to ${max}`);
  }
  return found;
}
