// The checkpoint of --resume: read, or told why it cannot be and what is there instead.

import { existsSync } from 'node:fs';
import { ConfigError, FormatError } from '../../base/errors.ts';
import { openCheckpoint } from '../../train/resume/open-checkpoint.ts';
import type { CheckpointAbout } from '../../train/resume/open-checkpoint.ts';
import { previousOf } from './atomic-file.ts';
import { readBytes } from './run-files.ts';
import { readWholeFile } from '../../server/whole-file.ts';

export interface Resumed {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly about: CheckpointAbout;
}

/** ConfigError if the file cannot be read, FormatError if it is cut or no checkpoint. */
export function readResumed(path: string): Resumed {
  try {
    const bytes = readBytes(path, '--resume');
    return { bytes, about: openCheckpoint(bytes) };
  } catch (error) {
    const instead = generationBefore(path);
    if (error instanceof FormatError)
      throw new FormatError(
        'checkpoint',
        `'${path}' ${error.message.replace(/^\w+: (checkpoint: )?/, 'is no whole checkpoint: ')}${instead}`,
      );
    if (error instanceof ConfigError)
      throw new ConfigError(error.where, `${error.message.slice(error.where.length + 2)}${instead}`);
    throw error;
  }
}

function generationBefore(path: string): string {
  const previous = previousOf(path);
  if (!existsSync(previous)) return '';
  try {
    const { step } = openCheckpoint(readWholeFile(previous));
    return `; the generation before it is whole: --resume ${previous} (step ${step})`;
  } catch {
    return `; the generation before it (${previous}) is not whole either`;
  }
}
