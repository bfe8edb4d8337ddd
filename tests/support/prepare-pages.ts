// Before two files of tabs tests run side by side: their page servers share one folder of bundled dependencies, which only one process may fill.

import { startPageServer } from '../../src/cli/page-server.ts';

export default async function preparePages(): Promise<void> {
  const server = await startPageServer();
  try {
    const script = await (await fetch(`${server.url}src/app/rank-host.ts`)).text();
    // Vite answers for a bundled dependency when all are bundled.
    const [dependency] = script.match(/\/[^"']*\/deps\/comlink[^"']*/) ?? [];
    if (dependency === undefined) throw new Error(`the page server did not bundle comlink; ${script.slice(0, 300)}`);
    await (await fetch(new URL(dependency, server.url))).text();
  } finally {
    await server.close();
  }
}
