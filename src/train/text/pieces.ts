// How byte-pair encoding cuts a text before it merges, for training and for use: as GPT-2 cuts, that is by the pattern
//   '(?:[stmd]|ll|re|ve)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// Done by hand, because a regular expression keeps a place to come back to for every character of a piece: one of
// millions overflows its stack.

/** Longest token. Without a bound a chain of doublings, trained or in a hostile file, would reach 2^30 bytes. */
export const MAX_TOKEN_BYTES = 1024;

const [UNKNOWN, SPACE, LETTER, NUMBER, OTHER] = [0, 1, 2, 3, 4];
/** The kind of each UTF-16 unit that is a character by itself, found out when it is met. */
const kinds = new Uint8Array(65_536);

/**
 * The pieces of `text`, which joined are the text: contractions, words, numbers, other marks, each with the space
 * before it; runs of space.
 */
export function* piecesOf(text: string): Generator<string> {
  for (let at = 0; at < text.length;) {
    const end = pieceEnd(text, at);
    yield text.slice(at, end);
    at = end;
  }
}

function pieceEnd(text: string, at: number): number {
  const contraction = text[at] === "'" ? contractionLength(text, at) : 0;
  if (contraction > 0) return at + contraction;
  const own = kindAt(text, at);
  // One space belongs to the word after it.
  const first = text[at] === ' ' && at + 1 < text.length && kindAt(text, at + 1) !== SPACE ? at + 1 : at;
  if (first > at || own !== SPACE) return runEnd(text, first);
  const end = runEnd(text, at);
  // The last space of a run is left for what comes after it.
  return end < text.length && end - at > 1 ? end - 1 : end;
}

function contractionLength(text: string, at: number): number {
  const next = text[at + 1];
  if (next === 's' || next === 't' || next === 'm' || next === 'd') return 2;
  const two = text.slice(at + 1, at + 3);
  return two === 'll' || two === 're' || two === 've' ? 3 : 0;
}

/** The end of the characters of one kind from `at` on. */
function runEnd(text: string, at: number): number {
  const kind = kindAt(text, at);
  let end = at;
  while (end < text.length && kindAt(text, end) === kind) end += lengthAt(text, end);
  return end;
}

function isPair(text: string, at: number): boolean {
  const high = text.charCodeAt(at);
  if (high < 0xd800 || high >= 0xdc00) return false;
  const low = text.charCodeAt(at + 1);
  return low >= 0xdc00 && low < 0xe000;
}

function lengthAt(text: string, at: number): number {
  return isPair(text, at) ? 2 : 1;
}

function kindAt(text: string, at: number): number {
  if (isPair(text, at)) return kindOf(String.fromCodePoint(text.codePointAt(at)!));
  const unit = text.charCodeAt(at);
  return kinds[unit] === UNKNOWN ? (kinds[unit] = kindOf(text[at]!)) : kinds[unit]!;
}

function kindOf(character: string): number {
  return /\s/u.test(character)
    ? SPACE!
    : /\p{L}/u.test(character)
      ? LETTER!
      : /\p{N}/u.test(character)
        ? NUMBER!
        : OTHER!;
}
