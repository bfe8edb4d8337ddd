// `tabmesh verify` on a folder of operator cases: opens a device of the wanted kind, says which, and runs the cases on it.

import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AdapterInfo } from '../../device/device.ts';
import type { ExecutionBackend } from '../execution.ts';
import { localDevice } from '../in-process.ts';
import { runCases } from './cases.ts';
import type { CaseRun } from './cases.ts';

export interface OperatorFolder extends Pick<CaseRun, 'only' | 'onStatus' | 'onGroup'> {
  readonly folder: string;
  /** `format` of its manifest.json. */
  readonly format: string;
  readonly backend: ExecutionBackend;
  readonly signal: AbortSignal;
}

/** Runs every case that we have an operator for. Rejects if there is no adapter, if the manifest is broken, on an abort, and if the device is lost. */
export async function runOperatorFolder({ folder, format, backend, only, signal, onStatus, onGroup }: OperatorFolder): Promise<void> {
  const announce = (adapter: AdapterInfo): void => onStatus(`${format} on ${backend}: ${describeAdapter(adapter)}`);
  if (backend === 'chromium') {
    const { runCasesInChromium } = await import('./chromium-cases.ts');
    await runCasesInChromium({ folder, only, signal, announce, onStatus, onGroup });
    return;
  }
  const device = await localDevice(backend);
  try {
    announce(device.adapter);
    await runCases({
      device, only, signal, onStatus, onGroup, manifest: JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')),
      file: async (name) => new Uint8Array(await readFile(join(folder, name))),
    });
  } finally {
    device.destroy();
  }
}

export function describeAdapter({ vendor, architecture, description, software }: AdapterInfo): string {
  return `${[...new Set([description, vendor, architecture])].filter(Boolean).join(', ')}${software ? ' (software)' : ''}`;
}
