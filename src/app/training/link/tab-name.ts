// What the person at this tab calls it, for the others in a room. Kept for the life of the tab; where the browser
// refuses storage, for the life of the page.

import { ConfigError } from '../../../base/errors.ts';
import { plainText } from '../../../base/plain-text.ts';

const KEY = 'tabmesh.name';
/** Less than a presence carries. */
export const MOST_NAME = 40;

let kept: string | undefined;

/** The name as it is shown; empty: the tab goes by its browser. Throws ConfigError for one that cannot be shown. */
export function readTabName(text: string): string {
  const name = text.trim().replace(/ +/g, ' ');
  if ([...name].length > MOST_NAME)
    throw new ConfigError('name', `has ${[...name].length} characters; expected at most ${MOST_NAME}`);
  if (plainText(name, 4 * MOST_NAME) !== name)
    throw new ConfigError('name', 'has characters that cannot be seen; expected letters, digits and signs');
  return name;
}

export function tabName(storage: () => Pick<Storage, 'getItem'>): string {
  if (kept !== undefined) return kept;
  try {
    return readTabName(storage().getItem(KEY) ?? '');
  } catch {
    // Storage is refused, or holds what another version wrote: the tab goes by its browser.
    return '';
  }
}

export function keepTabName(name: string, storage: () => Pick<Storage, 'setItem'>): void {
  kept = name;
  try {
    storage().setItem(KEY, name);
  } catch {
    // It lasts as long as the page.
  }
}
