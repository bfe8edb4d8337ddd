// Text of other people as it may be shown, on a page or in a terminal: without what moves the cursor, colours, reverses
// or hides what stands beside it. Taken out: controls (C0, C1: escape sequences begin with one), everything that is
// invisible (bidirectional marks and overrides, zero-width characters, tags, the soft hyphen), lone surrogates, and of
// combining marks all but MAX_MARKS in a row. Line breaks and tabs become a space in a line. Source: UAX #9, UTR #36.

const MAX_MARKS = 4;
// Cc controls, Cf format characters, Zl and Zp line and paragraph separators, Cs lone surrogates, Cn what is no
// character; the fillers are letters and show nothing.
const INVISIBLE = '[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}\\p{Cs}\\p{Cn}\\u115f\\u1160\\u3164\\uffa0]';
const HIDDEN = new RegExp(INVISIBLE, 'gu');
const HIDDEN_IN_LINES = new RegExp(`(?![\\n\\t])${INVISIBLE}`, 'gu');
/** All but what breaks a line. */
const HIDDEN_IN_A_LINE = new RegExp(`(?![\\t-\\r\\u0085\\u2028\\u2029])${INVISIBLE}`, 'gu');
const MARKS = new RegExp(`(\\p{M}{${MAX_MARKS}})\\p{M}+`, 'gu');

/** One line of at most `maxLength` UTF-16 code units; '' when nothing is left. */
export function plainText(text: string, maxLength: number): string {
  // Cut before: a pattern over megabytes costs time. What is taken out may only shorten it.
  const line = text
    .slice(0, 8 * maxLength)
    // Before the spaces: two that only something hidden kept apart are one.
    .replace(HIDDEN_IN_A_LINE, '')
    .replace(/[\s\u0085]+/gu, ' ')
    .replace(MARKS, '$1')
    .trim();
  return shorten(line, maxLength);
}

/** The same for several lines: line breaks and tabs stay. */
export function plainLines(text: string, maxLength: number): string {
  return shorten(
    text
      .slice(0, 8 * maxLength)
      .replace(/\r\n?/g, '\n')
      .replace(HIDDEN_IN_LINES, '')
      .replace(MARKS, '$1'),
    maxLength,
  );
}

/** `text` as JSON, with everything invisible written as an escape. */
export function visibleJson(text: string): string {
  return JSON.stringify(text).replace(HIDDEN, (character) =>
    Array.from(
      { length: character.length },
      (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/** Not in the middle of a character of two units. */
function shorten(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  const end = /[\ud800-\udbff]/.test(text[maxLength - 2]!) ? maxLength - 2 : maxLength - 1;
  return `${text.slice(0, Math.max(0, end))}…`;
}
