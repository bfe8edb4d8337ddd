// Payloads of the frames that speak of the link itself. Each decoder is total: a value or a FormatError. Numbers are
// little-endian.
// hello      sender u32, receiver u32, heard u32 (1 when the sender has already received a hello in this view), lanes
// u32 (wires that carry data),
//              tuneMs u32 (longest that the sender lets the tuner of the link take, 0 for not at all)
//   heartbeat  sentAt f64, echo f64 (sentAt of the last heartbeat received, NaN before), heldMs f64 (age of that echo),
//              waitsFor u32 (rank that the sender itself waits for, 2^32 - 1 for none)
//   credit     bytes f64, messages f64: small messages consumed since the link began
//   probe      burst u32, left u32 (bytes of the burst after this payload), padding
//   probed     burst u32 (its last byte has come)
//   tuned      frame u32, window u32, bytesPerMs f64 (what the sender's probing chose and found, 0 for not measured)
//   abort      culprit u32, evidence u32, text in UTF-8, at most 1024 bytes

import { FormatError, PeerError } from '../base/errors.ts';
import { plainText } from '../base/plain-text.ts';
import type { Evidence } from '../base/errors.ts';

const EVIDENCE_CODE: Readonly<Record<Evidence, number>> = {
  closed: 0,
  left: 1,
  silent: 2,
  slow: 3,
  'wrong-signature': 4,
  corrupt: 5,
  'non-finite': 6,
  'device-lost': 7,
  version: 8,
  crashed: 9,
};
const EVIDENCES = Object.keys(EVIDENCE_CODE) as Evidence[];
const MAX_TEXT_BYTES = 1024;

export interface Hello {
  readonly sender: number;
  readonly receiver: number;
  readonly heard: boolean;
  readonly lanes: number;
  readonly tuneMs: number;
}
export interface Heartbeat {
  readonly sentAt: number;
  readonly echo: number;
  readonly heldMs: number;
  readonly waitsFor: number | undefined;
}
export interface Probe {
  readonly burst: number;
  readonly left: number;
}
export interface Tuned {
  readonly frameBytes: number;
  readonly windowBytes: number;
  readonly bytesPerMs: number;
}
export interface Credit {
  readonly bytes: number;
  readonly messages: number;
}

export function encodeHello({ sender, receiver, heard, lanes, tuneMs }: Hello): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint32Array([sender, receiver, heard ? 1 : 0, lanes, tuneMs]).buffer);
}

export function decodeHello(payload: Uint8Array<ArrayBuffer>): Hello {
  const view = viewOf(payload, 20);
  const heard = view.getUint32(8, true);
  if (heard > 1) throw new FormatError('hello', `expected 0 or 1, got ${heard}`);
  return {
    sender: view.getUint32(0, true),
    receiver: view.getUint32(4, true),
    heard: heard === 1,
    lanes: view.getUint32(12, true),
    tuneMs: view.getUint32(16, true),
  };
}

/** Writes a probe's head in front of padding. */
export function writeProbe(payload: Uint8Array<ArrayBuffer>, { burst, left }: Probe): void {
  const view = new DataView(payload.buffer, payload.byteOffset, 8);
  view.setUint32(0, burst, true);
  view.setUint32(4, left, true);
}

/** The frame decoder has seen to it that there are 8 bytes. */
export function decodeProbe(payload: Uint8Array<ArrayBuffer>): Probe {
  const view = viewOf(payload.subarray(0, 8), 8);
  return { burst: view.getUint32(0, true), left: view.getUint32(4, true) };
}

export function encodeProbed(burst: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint32Array([burst]).buffer);
}

export function decodeProbed(payload: Uint8Array<ArrayBuffer>): number {
  return viewOf(payload, 4).getUint32(0, true);
}

export function encodeTuned({ frameBytes, windowBytes, bytesPerMs }: Tuned): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(16);
  new Uint32Array(payload.buffer, 0, 2).set([frameBytes, windowBytes]);
  new Float64Array(payload.buffer, 8, 1)[0] = bytesPerMs;
  return payload;
}

/** What the peer found serves people only; a rate that is none counts as not measured. */
export function decodeTuned(payload: Uint8Array<ArrayBuffer>): Tuned {
  const view = viewOf(payload, 16);
  const bytesPerMs = view.getFloat64(8, true);
  return {
    frameBytes: view.getUint32(0, true),
    windowBytes: view.getUint32(4, true),
    bytesPerMs: bytesPerMs >= 0 && bytesPerMs < Infinity ? bytesPerMs : 0,
  };
}

const NOBODY = 0xffffffff;

export function encodeHeartbeat({ sentAt, echo, heldMs, waitsFor }: Heartbeat): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(28);
  new Float64Array(payload.buffer, 0, 3).set([sentAt, echo, heldMs]);
  new DataView(payload.buffer).setUint32(24, waitsFor ?? NOBODY, true);
  return payload;
}

/** The numbers may be anything, also NaN: they serve the round-trip figure and the search for a culprit only. */
export function decodeHeartbeat(payload: Uint8Array<ArrayBuffer>): Heartbeat {
  const view = viewOf(payload, 28);
  const waitsFor = view.getUint32(24, true);
  return {
    sentAt: view.getFloat64(0, true),
    echo: view.getFloat64(8, true),
    heldMs: view.getFloat64(16, true),
    waitsFor: waitsFor === NOBODY ? undefined : waitsFor,
  };
}

export function encodeCredit({ bytes, messages }: Credit): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Float64Array([bytes, messages]).buffer);
}

export function decodeCredit(payload: Uint8Array<ArrayBuffer>): Credit {
  const view = viewOf(payload, 16);
  const bytes = view.getFloat64(0, true);
  const messages = view.getFloat64(8, true);
  if (!Number.isSafeInteger(bytes) || !Number.isSafeInteger(messages) || bytes < 0 || messages < 0)
    throw new FormatError('credit', `expected two counts, got ${bytes} and ${messages}`);
  return { bytes, messages };
}

export function encodeAbort(error: PeerError): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(8 + MAX_TEXT_BYTES);
  const view = new DataView(payload.buffer);
  view.setUint32(0, error.culprit, true);
  view.setUint32(4, EVIDENCE_CODE[error.evidence], true);
  const { written } = new TextEncoder().encodeInto(detailOf(error), payload.subarray(8));
  return payload.subarray(0, 8 + written);
}

/** The failure as `teller` reports it; its own name is added unless another teller is already named. */
export function decodeAbort(payload: Uint8Array<ArrayBuffer>, teller: number): PeerError {
  if (payload.length < 8 || payload.length > 8 + MAX_TEXT_BYTES)
    throw new FormatError('abort', `expected 8 to ${8 + MAX_TEXT_BYTES} bytes, got ${payload.length}`);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const culprit = view.getUint32(0, true);
  const evidence = EVIDENCES[view.getUint32(4, true)];
  if (evidence === undefined) throw new FormatError('abort', `unknown evidence ${view.getUint32(4, true)}`);
  const text = plainText(new TextDecoder().decode(payload.subarray(8)), MAX_TEXT_BYTES);
  const named = / \(told by rank \d+\)$/.test(text) || culprit === teller;
  return new PeerError(culprit, evidence, named ? text : `${text} (told by rank ${teller})`);
}

/** The sentence without the prefix that PeerError puts before it. */
function detailOf(error: PeerError): string {
  const prefix = `rank ${error.culprit} ${error.evidence}: `;
  return error.message.startsWith(prefix) ? error.message.slice(prefix.length) : error.message;
}

function viewOf(payload: Uint8Array<ArrayBuffer>, bytes: number): DataView {
  if (payload.length !== bytes)
    throw new FormatError('frame', `expected a payload of ${bytes} bytes, got ${payload.length}`);
  return new DataView(payload.buffer, payload.byteOffset, bytes);
}
