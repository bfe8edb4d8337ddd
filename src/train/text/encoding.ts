// What bytes are that are no UTF-8 text: known files by their first bytes, and guesses at other encodings. For error
// messages only: nothing is converted, because a wrong guess would train on nonsense in silence.

/** First bytes that no text begins with. */
const BINARY: readonly (readonly [string, readonly number[], number?])[] = [
  ['a zip archive (or docx, xlsx, odt, epub, a PyTorch checkpoint)', [0x50, 0x4b, 0x03, 0x04]],
  ['an empty zip archive', [0x50, 0x4b, 0x05, 0x06]],
  ['a gzip file', [0x1f, 0x8b]],
  ['an xz file', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['a zstd file', [0x28, 0xb5, 0x2f, 0xfd]],
  ['a 7z archive', [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c]],
  ['a rar archive', [0x52, 0x61, 0x72, 0x21, 0x1a, 0x07]],
  ['a PNG image', [0x89, 0x50, 0x4e, 0x47]],
  ['a JPEG image', [0xff, 0xd8, 0xff]],
  ['a PDF document', [0x25, 0x50, 0x44, 0x46, 0x2d]],
  ['an ELF program', [0x7f, 0x45, 0x4c, 0x46]],
  ['a WebAssembly module', [0x00, 0x61, 0x73, 0x6d]],
  ['an old Office document', [0xd0, 0xcf, 0x11, 0xe0]],
  ['a NumPy array', [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]],
  ['a Java class or a Mach-O program', [0xca, 0xfe, 0xba, 0xbe]],
  ['a SQLite database', [...'SQLite format 3\0'].map((c) => c.charCodeAt(0))],
  ['an HDF5 file', [0x89, 0x48, 0x44, 0x46]],
];

/** First bytes that a text may begin with as well: they count only where the rest is no text. */
const LETTERED: readonly (readonly [string, string, number?])[] = [
  ['a bzip2 file', 'BZh'],
  ['a GIF image', 'GIF8'],
  ['a Parquet file', 'PAR1'],
  ['a GGUF model', 'GGUF'],
  ['an Ogg file', 'OggS'],
  ['an MP3 file', 'ID3'],
  ['a RIFF file (wav, avi, webp)', 'RIFF'],
  ['an MP4 or HEIC file', 'ftyp', 4],
  ['a tar archive', 'ustar', 257],
  ['a Windows program', 'MZ'],
  ['an Arrow file', 'ARROW1'],
  ['a TIFF image', 'II*\0'],
  ['a BMP image', 'BM'],
];

const has = (bytes: Uint8Array, at: number, wanted: readonly number[]): boolean =>
  wanted.every((byte, i) => bytes[at + i] === byte);
const codes = (text: string): readonly number[] => [...text].map((c) => c.charCodeAt(0));

/** A file that is binary whatever its bytes decode to; undefined if it may be a text. */
export function binaryKind(bytes: Uint8Array): string | undefined {
  return (
    BINARY.find(([, magic, at = 0]) => has(bytes, at, magic))?.[0] ??
    (isSafetensors(bytes) ? 'a safetensors file' : undefined)
  );
}

/** The encoding that a byte order mark names, other than UTF-8. */
export function markedEncoding(bytes: Uint8Array): string | undefined {
  if (has(bytes, 0, [0xff, 0xfe, 0, 0])) return 'UTF-32LE';
  if (has(bytes, 0, [0, 0, 0xfe, 0xff])) return 'UTF-32BE';
  if (has(bytes, 0, [0xff, 0xfe])) return 'UTF-16LE';
  return has(bytes, 0, [0xfe, 0xff]) ? 'UTF-16BE' : undefined;
}

export interface Guess {
  /** A sentence's end: 'like UTF-16 (little-endian)'. */
  readonly what: string;
  /** Its name for iconv; undefined if it is none. */
  readonly encoding?: string;
}

/** What bytes look like that are no UTF-8, or that have bytes which no text has. */
export function guess(bytes: Uint8Array): Guess {
  const lettered = LETTERED.find(([, magic, at = 0]) => has(bytes, at, codes(magic)));
  if (lettered) return { what: `like ${lettered[0]}` };
  const sample = bytes.subarray(0, 65_536);
  const wide = wideEncoding(sample);
  if (wide) return { what: `like ${wide}`, encoding: wide };
  const { controls, zeros, high, c1, broken, characters } = census(sample);
  if (zeros > 0 || controls > sample.length / 20) return { what: 'like binary data' };
  if (broken === 0 && characters > 0) return { what: 'like UTF-8 that was cut off' };
  if (characters > 2 * broken)
    return {
      what: `like UTF-8 with broken bytes (${broken} among ${characters} characters beyond ASCII${sample.length < bytes.length ? ' in its first 64 KiB' : ''})`,
    };
  if (high > sample.length / 4)
    return { what: 'like binary data or an older encoding (windows-1251, KOI8-R, Shift JIS, GBK)' };
  return c1 > 0
    ? { what: 'like Windows-1252', encoding: 'WINDOWS-1252' }
    : { what: 'like Latin-1 (ISO 8859-1) or Windows-1252', encoding: 'WINDOWS-1252' };
}

/**
 * UTF-16 or UTF-32 without a mark: the zeros of ASCII stand at every second (or three of four) places, or it decodes to
 * plausible characters.
 */
function wideEncoding(sample: Uint8Array): string | undefined {
  const zeros = [0, 0, 0, 0];
  for (let i = 0; i < sample.length; i++) if (sample[i] === 0) zeros[i % 4]!++;
  const share = zeros.map((count) => count / (sample.length / 4));
  if (share[1]! > 0.9 && share[2]! > 0.9 && share[3]! > 0.9 && share[0]! < 0.2) return 'UTF-32LE';
  if (share[0]! > 0.9 && share[1]! > 0.9 && share[2]! > 0.9 && share[3]! < 0.2) return 'UTF-32BE';
  const [even, odd] = [(share[0]! + share[2]!) / 2, (share[1]! + share[3]!) / 2];
  if (odd > 0.4 && even < 0.1) return 'UTF-16LE';
  if (even > 0.4 && odd < 0.1) return 'UTF-16BE';
  const [little, big] = [plausible(sample, true), plausible(sample, false)];
  if (Math.max(little, big) < 0.95) return undefined;
  return little >= big ? 'UTF-16LE' : 'UTF-16BE';
}

/** Units of a text, also of Chinese, among which there is at least one space, line or full stop. */
const MOST_PER_MARK = 500;

/**
 * The share of 16-bit units that are letters of a few blocks, spaces or common marks; 0 unless a word of spaces or
 * lines is among them.
 */
function plausible(sample: Uint8Array, little: boolean): number {
  const count = Math.floor(sample.length / 2);
  if (count < 4) return 0;
  const blocks = new Map<number, number>();
  let [good, marks] = [0, 0];
  for (let i = 0; i < count; i++) {
    const [a, b] = [sample[2 * i]!, sample[2 * i + 1]!];
    const unit = little ? a | (b << 8) : (a << 8) | b;
    const letter = /[\p{L}\p{N}]/u.test(String.fromCharCode(unit));
    const mark = [9, 10, 13, 0x20].includes(unit) || (unit >= 0x3000 && unit <= 0x3002);
    if (mark) marks++;
    if (letter || mark || (unit >= 0x20 && unit < 0x7f) || (unit >= 0x2010 && unit <= 0x2026)) good++;
    // Han, Hangul and kana are large; other scripts have a block of 256.
    if (letter) {
      const block = unit >= 0x3040 && unit < 0xd7b0 ? -1 : unit >> 8;
      blocks.set(block, (blocks.get(block) ?? 0) + 1);
    }
  }
  // Two letters of 8 bits, and random bytes half of the time, make a Han character as well, but no space, line or full
  // stop of 16 bits.
  const mostlyHan = (blocks.get(-1) ?? 0) > count / 2;
  return blocks.size <= 4 && (!mostlyHan || marks > count / MOST_PER_MARK) ? good / count : 0;
}

interface Census {
  readonly controls: number;
  readonly zeros: number;
  readonly high: number;
  readonly c1: number;
  readonly broken: number;
  readonly characters: number;
}

/** Bytes by kind; `broken` and `characters` count bytes that break UTF-8 and whole characters beyond ASCII. */
function census(sample: Uint8Array): Census {
  const out = { controls: 0, zeros: 0, high: 0, c1: 0, broken: 0, characters: 0 };
  for (const byte of sample) {
    if (byte === 0) out.zeros++;
    if (isOddControl(byte)) out.controls++;
    if (byte >= 0x80) out.high++;
    if (byte >= 0x80 && byte < 0xa0) out.c1++;
  }
  for (let i = 0; i < sample.length;) {
    const length = characterAt(sample, i);
    // The sample may end within a character.
    if (length === 0 && i < sample.length - 3) out.broken++;
    if (length > 1) out.characters++;
    i += length || 1;
  }
  return out;
}

/** A control character that texts do not have: not a tab, a line or page end, a bell, a backspace or an escape. */
export function isOddControl(byte: number): boolean {
  return (byte < 0x20 && !(byte >= 7 && byte <= 13) && byte !== 0x1b) || byte === 0x7f;
}

/** Length in bytes of the UTF-8 character at `at`; 0 if there is none. */
function characterAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  const length =
    first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
  for (let i = 1; i < length; i++) if ((bytes[at + i]! & 0xc0) !== 0x80 || at + i >= bytes.length) return 0;
  const second = bytes[at + 1]!;
  // Overlong forms, surrogates, and beyond U+10FFFF.
  if (
    (first === 0xe0 && second < 0xa0) ||
    (first === 0xed && second >= 0xa0) ||
    (first === 0xf0 && second < 0x90) ||
    (first === 0xf4 && second >= 0x90)
  )
    return 0;
  return length;
}

/** Offset of the first byte that is no UTF-8; -1 if all are. */
export function firstBrokenByte(bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length;) {
    const length = characterAt(bytes, i);
    if (length === 0) return i;
    i += length;
  }
  return -1;
}

function isSafetensors(bytes: Uint8Array): boolean {
  // A header of less than 16 MiB: three zero bytes above it, and JSON.
  return bytes.length > 10 && has(bytes, 4, [0, 0, 0, 0]) && bytes[8] === 0x7b && bytes[9] === 0x22;
}
