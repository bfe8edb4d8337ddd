// Checkpoints on this machine: the latest one lies in the browser's private file system (OPFS) and outlives a crash of
// the tab; any can be saved as a file and loaded again. Reads only the file's metadata here; the worker checks the
// tensors.

import { openCheckpoint } from '../../train/resume/open-checkpoint.ts';
import type { CheckpointAbout } from '../../train/resume/open-checkpoint.ts';

export interface StoredCheckpoint extends CheckpointAbout {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const FILE = 'latest.safetensors';

let storing: Promise<void> = Promise.resolve();

/**
 * Writes the latest checkpoint, one after the other; a closed page leaves the old one whole. Rejects where the browser
 * has no OPFS or no space.
 */
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
    return { ...openCheckpoint(bytes), bytes };
  } catch (error) {
    // NotFoundError is the usual case. Anything else must not keep the page from starting.
    if (!(error instanceof DOMException && error.name === 'NotFoundError'))
      console.warn('the stored checkpoint cannot be read', error);
    return undefined;
  }
}

/** Offers the bytes as a download. */
export function download(bytes: Uint8Array<ArrayBuffer> | Blob, name: string): void {
  const url = URL.createObjectURL(new Blob([bytes], { type: 'application/octet-stream' }));
  const link = document.createElement('a');
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
