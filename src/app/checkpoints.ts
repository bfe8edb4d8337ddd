// Checkpoints on this machine: the latest one lies in the browser's private file system (OPFS) and outlives a crash of the tab; any can be saved
// as a file and loaded again. Reads only the file's metadata here; the worker checks the tensors.

import { FormatError } from '../base/errors.ts';
import { parseJson } from '../base/json.ts';
import { readSafetensors } from '../base/safetensors.ts';
import { parseRunConfig } from '../train/run-config.ts';
import type { RunConfig } from '../train/run-config.ts';

export interface CheckpointAbout { readonly step: number; readonly config: RunConfig; readonly tokenizer: string | undefined }
export interface StoredCheckpoint extends CheckpointAbout { readonly bytes: Uint8Array<ArrayBuffer> }

const FILE = 'latest.safetensors';

/** FormatError when the bytes are no checkpoint of ours. */
export function describeCheckpoint(bytes: Uint8Array<ArrayBuffer>): CheckpointAbout {
  const { metadata } = readSafetensors(bytes);
  const [step, run, tokenizer] = ['step', 'run', 'tokenizer'].map((name) => metadata.get(name));
  if (!step || !/^\d+$/.test(step) || !run) throw new FormatError('checkpoint', 'expected a .safetensors file with the optimizer state that this page saved; plain weights cannot be resumed');
  const fields = parseJson(run, { format: 'checkpoint', maxDepth: 6 });
  if (!(fields instanceof Map)) throw new FormatError('checkpoint', 'expected the settings of its run in the metadata');
  return { step: Number(step), config: parseRunConfig(fields), tokenizer };
}

let storing: Promise<void> = Promise.resolve();

/** Writes the latest checkpoint, one after the other; a closed page leaves the old one whole. Rejects where the browser has no OPFS or no space. */
export function storeLatest(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const stored = storing.then(() => write(bytes));
  // The failure of one is told by its own caller and must not stop the next.
  storing = stored.catch(() => {});
  return stored;
}

async function write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const folder = await navigator.storage.getDirectory();
  const file = await folder.getFileHandle(FILE, { create: true });
  const out = await file.createWritable();
  await out.write(bytes);
  await out.close();
}

/** The latest stored checkpoint; undefined if there is none that can be read. */
export async function loadLatest(): Promise<StoredCheckpoint | undefined> {
  try {
    const folder = await navigator.storage.getDirectory();
    const file = await (await folder.getFileHandle(FILE)).getFile();
    const bytes = new Uint8Array(await file.arrayBuffer());
    return { ...describeCheckpoint(bytes), bytes };
  } catch (error) {
    // NotFoundError is the usual case. Anything else must not keep the page from starting.
    if (!(error instanceof DOMException && error.name === 'NotFoundError')) console.warn('the stored checkpoint cannot be read', error);
    return undefined;
  }
}

/** Offers the bytes as a download. */
export function download(bytes: Uint8Array<ArrayBuffer>, name: string): void {
  const url = URL.createObjectURL(new Blob([bytes], { type: 'application/octet-stream' }));
  const link = document.createElement('a');
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
