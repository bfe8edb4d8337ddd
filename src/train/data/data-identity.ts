// What a run learns from, as one short text that checkpoints keep: SHA-256 of the data, and of the tokenizer that cuts
// a text into tokens. Two runs with equal identity, seed, batch and context draw equal batches. SHA-256 is
// `@noble/hashes`: WebCrypto's is asynchronous, and missing without https.

import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { formatTokenizer } from '../text/tokenizer-file.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/** `task:NAME`; no file is needed, the seed makes the rows. */
export function taskIdentity(task: string): string {
  return `task:${task}`;
}

/** `tokens:HEX` of the bytes of tokens.safetensors, and its tokenizer's when the samples have one. */
export function tokensIdentity(file: Uint8Array): string {
  return `tokens:${hex(file)}`;
}

/**
 * `text:HEX tokenizer:HEX`; a text as UTF-8, so that it does not matter whether it was read from bytes or handed over
 * as a string.
 */
export function textIdentity(text: string | Uint8Array, tokenizer: Tokenizer): string {
  return `text:${hex(utf8(text))} tokenizer:${hex(utf8(formatTokenizer(tokenizer)))}`;
}

/**
 * What differs between the identity that a checkpoint keeps and the one at hand, in words for an error; undefined if
 * nothing does.
 */
export function dataDifference(kept: string, given: string): string | undefined {
  if (kept === given) return undefined;
  const [before, now] = [partsOf(kept), partsOf(given)];
  const [[kind], [nowKind]] = [[...before.keys()], [...now.keys()]];
  if (kind !== nowKind) return `it was trained on ${nameOf(kind, before)}, now it gets ${nameOf(nowKind, now)}`;
  if (kind === 'task') return `it was trained on the task ${before.get('task')}, now it gets ${now.get('task')}`;
  if (before.get(kind!) !== now.get(kind!)) return `the ${kind} is not the one that it was trained on`;
  return 'the tokenizer is not the one that it was trained with';
}

function partsOf(identity: string): Map<string, string> {
  return new Map(
    identity.split(' ').map((part) => [part.slice(0, part.indexOf(':')), part.slice(part.indexOf(':') + 1)]),
  );
}

function nameOf(kind: string | undefined, parts: ReadonlyMap<string, string>): string {
  return kind === 'task' ? `the task ${parts.get('task')}` : `a ${kind === 'tokens' ? 'file of tokens' : 'text'}`;
}

function utf8(text: string | Uint8Array): Uint8Array {
  return typeof text === 'string' ? new TextEncoder().encode(text) : text;
}

function hex(bytes: Uint8Array): string {
  return bytesToHex(sha256(bytes));
}
