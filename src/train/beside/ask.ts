// What somebody wants the model to write: a prompt, and how to draw. The ranks do not know each other's wishes, so
// those that want something tell the others before a sample: one all-gather of a few words, then each prompt from its
// rank. What comes from a peer is checked against what can be.

import { ConfigError, FormatError } from '../../base/errors.ts';
import { decodeUtf8 } from '../../base/json.ts';
import { allGather } from '../../collectives/all-gather.ts';
import { broadcast } from '../../collectives/broadcast.ts';
import type { Group } from '../../collectives/group.ts';

export interface SampleAsk {
  /** Empty: the model begins by itself. */
  readonly prompt: string;
  /** 0 takes the likeliest token. */
  readonly temperature: number;
  /** Only the k likeliest tokens count; 0: all. */
  readonly topK: number;
  /** How many to write. */
  readonly tokens: number;
}

export const MOST_PROMPT_BYTES = 4096;
export const MOST_ASKED_TOKENS = 1000;
const MOST_TEMPERATURE = 10;
const MOST_TOP_K = 1_000_000;
/** Asked or not, bytes of the prompt, temperature (bits of an f32), top-k, tokens. */
const WORDS = 5;

/** ConfigError for what cannot be asked, by field. */
export function checkAsk({ prompt, temperature, topK, tokens }: SampleAsk): SampleAsk {
  const bytes = new TextEncoder().encode(prompt).length;
  if (bytes > MOST_PROMPT_BYTES)
    throw new ConfigError('prompt', `has ${bytes} bytes; expected at most ${MOST_PROMPT_BYTES}`);
  if (!(temperature >= 0 && temperature <= MOST_TEMPERATURE))
    throw new ConfigError('temperature', `expected a number from 0 to ${MOST_TEMPERATURE}, got ${temperature}`);
  if (!(Number.isInteger(topK) && topK >= 0 && topK <= MOST_TOP_K))
    throw new ConfigError('top-k', `expected a whole number from 0 to ${MOST_TOP_K}, got ${topK}`);
  if (!(Number.isInteger(tokens) && tokens >= 1 && tokens <= MOST_ASKED_TOKENS))
    throw new ConfigError('tokens', `expected a whole number from 1 to ${MOST_ASKED_TOKENS}, got ${tokens}`);
  return { prompt, temperature: Math.fround(temperature), topK, tokens };
}

/**
 * What all ranks ask for, in their order; the same on every rank. Every rank must call it, with its own wish or
 * without.
 */
export async function shareAsks(world: Group, own: SampleAsk | undefined): Promise<readonly SampleAsk[]> {
  const bytes = new TextEncoder().encode(own?.prompt ?? '');
  const told = own
    ? Uint32Array.of(1, bytes.length, bitsOf(own.temperature), own.topK, own.tokens)
    : new Uint32Array(WORDS);
  const all = new Uint32Array(WORDS * world.size);
  await allGather(
    world,
    told,
    Array.from({ length: world.size + 1 }, (_, rank) => rank * WORDS),
    all,
  );
  const asks: SampleAsk[] = [];
  for (let rank = 0; rank < world.size; rank++) {
    const [asked, length, temperature, topK, tokens] = all.subarray(rank * WORDS, (rank + 1) * WORDS) as unknown as [
      number,
      number,
      number,
      number,
      number,
    ];
    if (asked === 0) continue;
    if (asked !== 1 || length > MOST_PROMPT_BYTES)
      throw world.accuse(
        rank,
        `it asks for a sample of a prompt of ${length} bytes; at most ${MOST_PROMPT_BYTES} can be`,
      );
    // Words, because collectives carry no single bytes.
    const words = new Uint32Array(Math.ceil(length / 4));
    if (rank === world.rank) new Uint8Array(words.buffer).set(bytes);
    if (words.length) await broadcast(world, words, rank);
    try {
      asks.push(
        checkAsk({
          prompt: decodeUtf8(new Uint8Array(words.buffer, 0, length), 'prompt'),
          temperature: floatOf(temperature),
          topK,
          tokens,
        }),
      );
    } catch (error) {
      if (!(error instanceof ConfigError || error instanceof FormatError)) throw error;
      throw world.accuse(rank, `it asks for a sample that cannot be (${error.message})`);
    }
  }
  return asks;
}

function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}
function floatOf(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0]!;
}
