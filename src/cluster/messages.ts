// What the members of a room say to each other before the data channels are open: sealed JSON signals of at most 16
// KiB, never tensors. `offer`: the coordinator names the members of a view in rank order. `report`: a member's links
// and readiness. `retry`: connect these pairs anew. `start`, `abandon`: how forming a view ends. `stale`: the offered
// view is older than one already seen. `busy`: the member trains. `refuse`: a wish that will not be granted. `act`,
// `ask`, `news`: what people do to a run at work, and what those who watch it hear. `ice`: one WebRTC signal between
// two ranks. A decoder is total: bytes give a Message or a FormatError.

import { FormatError } from '../base/errors.ts';
import { isArray, isObject, toPlain } from '../base/json.ts';
import type { JsonObject, JsonValue } from '../base/json.ts';
import { integerField, isAddress, MAX_VIEW, MAX_WORLD_SIZE, parseFields, shownField, textField } from './presence.ts';

/** The members of one membership epoch; a member's rank is its index. */
export interface View {
  /** Grows with every offer of a room. */
  readonly view: number;
  readonly run: number;
  /** The wish that it grants. */
  readonly wish: number;
  readonly members: readonly string[];
  readonly plan: unknown;
}

export type LinkState =
  /** `note`: what the connection doctor says of it, for people. */
  | { readonly state: 'connecting'; readonly attempt: number; readonly note?: string }
  | { readonly state: 'open'; readonly attempt: number }
  | { readonly state: 'failed'; readonly attempt: number; readonly reason: string; readonly note?: string };

/** What one rank knows of its links; `links[rank]` of the rank itself is undefined. */
export interface Report {
  readonly rank: number;
  readonly ready: boolean;
  /** Why the worker is not ready, for people; empty when it is. */
  readonly note: string;
  readonly links: readonly (LinkState | undefined)[];
}

/** Two ranks that must connect anew, the lower first. */
export interface Pair {
  readonly low: number;
  readonly high: number;
  readonly attempt: number;
}

export type Message =
  | { readonly type: 'offer'; readonly view: View }
  | { readonly type: 'stale'; readonly refused: number; readonly view: number }
  | { readonly type: 'report'; readonly view: number; readonly report: Report }
  | { readonly type: 'retry'; readonly view: number; readonly pairs: readonly Pair[] }
  | { readonly type: 'start'; readonly view: number }
  | { readonly type: 'abandon'; readonly view: number; readonly reason: string; readonly end: FormingEnd }
  /** The offered view cannot be taken: the member trains. */
  | { readonly type: 'busy'; readonly refused: number }
  /** To a proposer: its wish will not be granted. */
  | { readonly type: 'refuse'; readonly wish: number; readonly reason: string }
  /** Somebody asks all members of a run to do this. */
  | { readonly type: 'act'; readonly run: number; readonly act: Act }
  /** A newcomer asks a member of a run what it is about; the answer is `news`. */
  | { readonly type: 'ask'; readonly run: number }
  /** From a member of a run to those who watch. The body is opaque to the cluster: JSON that the page understands. */
  | { readonly type: 'news'; readonly run: number; readonly body: unknown }
  | { readonly type: 'ice'; readonly view: number; readonly attempt: number; readonly data: IceSignal };

/**
 * How forming a view is over without a start. 'again': the members that are left could form another. 'stopped':
 * somebody wanted it.
 */
export type FormingEnd = 'again' | 'failed' | 'stopped';

/** What a person in the room may do to a run at work. */
export type Act = 'pause' | 'resume' | 'stop' | 'save' | 'sample';
const ACTS: readonly Act[] = ['pause', 'resume', 'stop', 'save', 'sample'];

/**
 * The signals that two ranks may exchange; anything else that simple-peer understands (transceivers, renegotiation) is
 * refused.
 */
export type IceSignal =
  | { readonly type: 'offer' | 'answer'; readonly sdp: string }
  | {
      readonly type: 'candidate';
      readonly candidate: {
        readonly candidate: string;
        readonly sdpMLineIndex: number | null;
        readonly sdpMid: string | null;
      };
    };

const MAX_NUMBER = 2 ** 32 - 1;
const MAX_ATTEMPTS = 1000;
const FORMAT = 'signal';

export function encodeMessage(message: Message): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(message));
}

/** Throws FormatError for anything else than a well-formed message. */
export function decodeMessage(bytes: Uint8Array<ArrayBuffer>): Message {
  const fields = parseFields(bytes, FORMAT, 16);
  const type = fields.get('type');
  switch (type) {
    case 'offer':
      return { type, view: viewOf(objectField(fields, 'view')) };
    case 'stale':
      return { type, refused: integerField(fields, 'refused', 1, MAX_VIEW, FORMAT), view: viewNumber(fields) };
    case 'start':
      return { type, view: viewNumber(fields) };
    case 'report':
      return { type, view: viewNumber(fields), report: reportOf(objectField(fields, 'report')) };
    case 'retry':
      return { type, view: viewNumber(fields), pairs: listField(fields, 'pairs', MAX_WORLD_SIZE ** 2).map(pairOf) };
    case 'abandon':
      return {
        type,
        view: viewNumber(fields),
        reason: shownField(fields, 'reason', 2000, FORMAT),
        end: endOf(fields.get('end')),
      };
    case 'busy':
      return { type, refused: integerField(fields, 'refused', 1, MAX_VIEW, FORMAT) };
    case 'refuse':
      return {
        type,
        wish: integerField(fields, 'wish', 0, MAX_NUMBER, FORMAT),
        reason: shownField(fields, 'reason', 2000, FORMAT),
      };
    case 'act':
      return { type, run: runField(fields), act: actOf(fields.get('act')) };
    case 'ask':
      return { type, run: runField(fields) };
    case 'news':
      return { type, run: runField(fields), body: toPlain(fields.get('body') ?? null) };
    case 'ice':
      return {
        type,
        view: viewNumber(fields),
        attempt: integerField(fields, 'attempt', 1, MAX_ATTEMPTS, FORMAT),
        data: iceOf(objectField(fields, 'data')),
      };
    default:
      throw new FormatError(FORMAT, 'expected a field `type` of this protocol version');
  }
}

function viewNumber(fields: JsonObject): number {
  return integerField(fields, 'view', 1, MAX_VIEW, FORMAT);
}

function viewOf(fields: JsonObject): View {
  const members = listField(fields, 'members', MAX_WORLD_SIZE).map((address) => {
    if (!isAddress(address)) throw new FormatError(FORMAT, 'expected members that are addresses');
    return address;
  });
  if (members.length === 0 || new Set(members).size !== members.length)
    throw new FormatError(FORMAT, 'expected at least one member, and none twice');
  return {
    view: viewNumber(fields),
    run: runField(fields),
    wish: integerField(fields, 'wish', 0, MAX_NUMBER, FORMAT),
    members,
    plan: planOf(fields),
  };
}

function planOf(fields: JsonObject): unknown {
  return toPlain(fields.get('plan') ?? null);
}

function reportOf(fields: JsonObject): Report {
  const links = listField(fields, 'links', MAX_WORLD_SIZE).map((value): LinkState | undefined => {
    if (value === null) return undefined;
    const link = object(value);
    const state = link.get('state');
    const attempt = integerField(link, 'attempt', 1, MAX_ATTEMPTS, FORMAT);
    if (state === 'open') return { state, attempt };
    const note = link.get('note') === undefined ? {} : { note: shownField(link, 'note', 500, FORMAT) };
    if (state === 'failed') return { state, attempt, reason: shownField(link, 'reason', 500, FORMAT), ...note };
    if (state === 'connecting') return { state, attempt, ...note };
    throw new FormatError(FORMAT, 'expected a link that is connecting, open or failed');
  });
  return {
    rank: rankField(fields, 'rank'),
    ready: fields.get('ready') === true,
    note: shownField(fields, 'note', 500, FORMAT),
    links,
  };
}

function pairOf(value: JsonValue): Pair {
  const fields = object(value);
  return {
    low: rankField(fields, 'low'),
    high: rankField(fields, 'high'),
    attempt: integerField(fields, 'attempt', 1, MAX_ATTEMPTS, FORMAT),
  };
}

function iceOf(fields: JsonObject): IceSignal {
  const type = fields.get('type');
  if (type === 'offer' || type === 'answer') return { type, sdp: textField(fields, 'sdp', 15_000, FORMAT) };
  if (type !== 'candidate') throw new FormatError(FORMAT, 'expected an offer, an answer or a candidate');
  const candidate = objectField(fields, 'candidate');
  const line = candidate.get('sdpMLineIndex') ?? null;
  const mid = candidate.get('sdpMid') ?? null;
  return {
    type,
    candidate: {
      candidate: textField(candidate, 'candidate', 2000, FORMAT),
      sdpMLineIndex: line === null ? null : integerField(candidate, 'sdpMLineIndex', 0, 255, FORMAT),
      sdpMid: mid === null ? null : textField(candidate, 'sdpMid', 32, FORMAT),
    },
  };
}

function actOf(value: JsonValue | undefined): Act {
  const act = ACTS.find((known) => known === value);
  if (!act) throw new FormatError(FORMAT, `expected one of the acts ${ACTS.join(', ')}`);
  return act;
}

function endOf(value: JsonValue | undefined): FormingEnd {
  if (value !== 'again' && value !== 'failed' && value !== 'stopped')
    throw new FormatError(FORMAT, 'expected an end that is again, failed or stopped');
  return value;
}

function runField(fields: JsonObject): number {
  return integerField(fields, 'run', 0, MAX_NUMBER, FORMAT);
}

function rankField(fields: JsonObject, name: string): number {
  return integerField(fields, name, 0, MAX_WORLD_SIZE - 1, FORMAT);
}

function objectField(fields: JsonObject, name: string): JsonObject {
  return object(fields.get(name));
}

function object(value: JsonValue | undefined): JsonObject {
  if (!isObject(value)) throw new FormatError(FORMAT, 'expected an object inside');
  return value;
}

function listField(fields: JsonObject, name: string, maxLength: number): readonly JsonValue[] {
  const found = fields.get(name);
  if (!isArray(found) || found.length > maxLength)
    throw new FormatError(FORMAT, `expected a field \`${name}\` that is a list of at most ${maxLength}`);
  return found;
}
