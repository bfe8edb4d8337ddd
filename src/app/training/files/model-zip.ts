// The model folder of a checkpoint as one file: a zip that holds the folder, so that unpacking makes it. Weights do not
// compress, so nothing is compressed.

import { downloadZip } from 'client-zip';
import { modelFolderOf } from './model-folder.ts';

/** `folder`: its name within. Rejects with FormatError when the bytes are no whole checkpoint of ours. */
export async function modelZip(checkpoint: Uint8Array<ArrayBuffer>, folder: string): Promise<Blob> {
  const files = Array.from(modelFolderOf(checkpoint), ([name, input]) => ({ name: `${folder}/${name}`, input }));
  return downloadZip(files).blob();
}
