// The page's side of chromium-cases.ts: opens the device, runs the cases on it and reports through a function
// that Playwright puts on the page.

import { createWasmDevice } from '../../device/wasm.ts';
import { createWebGpuDevice } from '../../device/webgpu.ts';
import { runCases } from './cases.ts';
import type { PageMessage, PageOptions } from './chromium-cases.ts';

/**
 * Resolves to the sentence of the first error, or to undefined. Throws nothing: the words would be lost on the way to
 * Node.
 */
export async function runCasesInPage({ files, on, only }: PageOptions): Promise<string | undefined> {
  const { reportCases } = globalThis as unknown as { reportCases(message: PageMessage): Promise<void> };
  const get = async (name: string): Promise<Response> => {
    const response = await fetch(`${files}/${name}`);
    if (!response.ok) throw new Error(`${name}: the server answered ${response.status}`);
    return response;
  };
  const reports: Promise<void>[] = [];
  const report = (message: PageMessage): void => {
    reports.push(reportCases(message));
  };
  try {
    const device = on === 'wasm' ? await createWasmDevice() : await createWebGpuDevice(navigator.gpu);
    report({ kind: 'adapter', adapter: device.adapter });
    await runCases({
      device,
      only,
      manifest: await (await get('manifest.json')).json(),
      file: async (name) => new Uint8Array(await (await get(name)).arrayBuffer()),
      onStatus: (text) => report({ kind: 'status', text }),
      onGroup: (label, checks, skipped, ms) => report({ kind: 'group', label, checks, skipped, ms }),
    });
    await Promise.all(reports);
    device.destroy();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
