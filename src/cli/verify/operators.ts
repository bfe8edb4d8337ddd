// `tabmesh verify` on a folder of operator cases: opens a device of the wanted kind, says which, and runs the cases on
// it.

import type { AdapterInfo } from '../../device/device.ts';
import { inBrowser } from '../execution.ts';
import type { ExecutionBackend } from '../execution.ts';
import { localDevice } from '../in-process.ts';
import { runCases } from './cases.ts';
import type { CaseRun } from './cases.ts';
import { readBytes, readJson, readTensors, requireFiles } from './folder.ts';
import { readManifest } from './manifest.ts';

export interface OperatorFolder extends Pick<CaseRun, 'only' | 'onStatus' | 'onGroup'> {
  readonly folder: string;
  readonly backend: ExecutionBackend;
  readonly signal: AbortSignal;
}

/**
 * Runs every case that we have an operator for. Rejects if a file is missing or broken, if there is no adapter, on an
 * abort, and if the device is lost.
 */
export async function runOperatorFolder({
  folder,
  backend,
  only,
  signal,
  onStatus,
  onGroup,
}: OperatorFolder): Promise<void> {
  const manifest = readJson(folder, 'manifest.json');
  const { source: format, cases } = readManifest(manifest);
  const files = [...new Set(cases.map(({ file }) => file))];
  requireFiles(folder, 'its manifest names', files);
  for (const file of files) readTensors(folder, file);
  const announce = (adapter: AdapterInfo): void => onStatus(`${format} on ${backend}: ${describeAdapter(adapter)}`);
  if (inBrowser(backend)) {
    const { runCasesInChromium } = await import('./chromium-cases.ts');
    const on = backend === 'chromium' ? 'webgpu' : 'wasm';
    await runCasesInChromium({ on, folder, only, signal, announce, onStatus, onGroup });
    return;
  }
  const device = await localDevice(backend);
  try {
    announce(device.adapter);
    await runCases({
      device,
      only,
      signal,
      onStatus,
      onGroup,
      manifest,
      file: async (name) => readBytes(folder, name),
    });
  } finally {
    device.destroy();
  }
}

export function describeAdapter({ vendor, architecture, description, software }: AdapterInfo): string {
  return `${[...new Set([description, vendor, architecture])].filter(Boolean).join(', ')}${software ? ' (software)' : ''}`;
}
