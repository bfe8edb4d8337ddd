// Before two files of tabs tests run side by side: the pages are built once, and the servers of the tests' own pages
// share one folder of bundled dependencies, which only one process may fill.

import { ensurePages } from '../../src/server/pages/ensure.ts';
import { openTestPages } from './test-pages.ts';

export default async function preparePages(): Promise<void> {
  await ensurePages(console.log);
  const server = await openTestPages();
  try {
    const script = await (await fetch(`${server.url}src/app/training/rank-host.ts`)).text();
    // Vite answers for a bundled dependency when all are bundled.
    const [dependency] = script.match(/\/[^"']*\/deps\/comlink[^"']*/) ?? [];
    if (dependency === undefined) throw new Error(`the page server did not bundle comlink; ${script.slice(0, 300)}`);
    await (await fetch(new URL(dependency, server.url))).text();
  } finally {
    await server.close();
  }
}
