// What goes wrong, as one sentence for people.

import { TabmeshError } from '../../base/errors.ts';

/** After a new version was put on the server, or when that is away. */
export const OLDER =
  'page: a part of it cannot be loaded, because this page is older than its server, or the server is away; reload the page (a run that goes on here ends with that)';

/** What browsers say when a part of the page is not on its server any more. */
const PART_GONE = /dynamically imported module|importing a module script failed|unable to preload css/i;

/** The sentence of an error; our own bugs keep their stack in the console. */
export function sentence(error: unknown): string {
  if (error instanceof Error && PART_GONE.test(error.message)) return OLDER;
  if (!(error instanceof TabmeshError)) console.error(error);
  return error instanceof Error ? error.message : String(error);
}
