// The one way from the bytes of a file to a text, for the command line and the page: UTF-8, checked. Whatever else it
// is gets refused with what it looks like and where, never turned into U+FFFD. Line ends stay as they are; a byte order
// mark is no part of the text and left out.

import { ConfigError } from '../../base/errors.ts';
import { binaryKind, firstBrokenByte, guess, isOddControl, markedEncoding } from './encoding.ts';

export interface ReadText {
  readonly text: string;
  /** What was left out, a sentence each. */
  readonly notes: readonly string[];
}

const BYTES_WORK = 'choose the tokenizer bytes (--tokenizer bytes), which trains on the bytes of any file as they are';

/** ConfigError with the name of the file, what it looks like, where it stops being text and what to do. */
export function readText(bytes: Uint8Array, name: string): ReadText {
  const refuse = (detail: string): never => {
    throw new ConfigError('data', `'${name}' ${detail}`);
  };
  if (bytes.length === 0) refuse('is empty; expected a text');
  const binary = binaryKind(bytes);
  if (binary !== undefined) refuse(`is no text: it looks like ${binary}; give the text itself, or ${BYTES_WORK}`);
  const marked = markedEncoding(bytes);
  if (marked !== undefined)
    refuse(`is no UTF-8: its byte order mark says ${marked}; ${convert(marked, name)}, or ${BYTES_WORK}`);
  const looksLike = (why: string): never => {
    const { what, encoding } = guess(bytes);
    return refuse(
      `is no UTF-8 text (${why}): it looks ${what}; ${encoding ? convert(encoding, name) : 'save it as UTF-8'}, or ${BYTES_WORK}`,
    );
  };
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const at = firstBrokenByte(bytes);
    const end =
      bytes.length - at < 4 &&
      bytes[at]! >= 0xc2 &&
      bytes.subarray(at + 1).every((byte) => byte >= 0x80 && byte < 0xc0);
    looksLike(
      end
        ? `its last character, at byte ${at} of ${bytes.length}, is cut off`
        : `byte ${at} of ${bytes.length} is ${hex(bytes[at]!)}`,
    );
  }
  const zero = bytes.indexOf(0);
  if (zero >= 0) looksLike(`byte ${zero} of ${bytes.length} is 0x00`);
  // A stray control character is somebody's text; many are none.
  let odd = 0;
  for (const byte of bytes) if (isOddControl(byte)) odd++;
  if (odd > bytes.length / 20)
    looksLike(
      `${odd} of its ${bytes.length} bytes are control characters, the first at byte ${bytes.findIndex(isOddControl)}`,
    );
  if (!/\S/u.test(text)) refuse(`has only white space (${text.length} characters); expected a text`);
  const mark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return { text, notes: mark ? [`'${name}' begins with a byte order mark, which is left out`] : [] };
}

/**
 * A text that was handed over as a string. ConfigError for half a surrogate pair, which no file can hold, and for
 * nothing.
 */
export function checkText(text: string, name: string): void {
  if (!/\S/u.test(text))
    throw new ConfigError('data', `'${name}' ${text === '' ? 'is empty' : 'has only white space'}; expected a text`);
  const lone = text.search(/\p{Surrogate}/u);
  if (lone >= 0)
    throw new ConfigError(
      'data',
      `'${name}' has half a surrogate pair at character ${lone}, which is no text; take it out`,
    );
}

function convert(encoding: string, name: string): string {
  return `save it as UTF-8 (iconv -f ${encoding} -t UTF-8 '${name}')`;
}

function hex(byte: number): string {
  return `0x${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}
