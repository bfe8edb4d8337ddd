// All mixers by name. The folder mixers/ is the list: a new file there is found at once.

import { InternalError, UnsupportedError } from '../../base/errors.ts';
import type { Mixer } from './mixer.ts';

/** The mixer that each file exports as `mixer`, by the path of the file. */
export type MixerFiles = Readonly<Record<string, Mixer | undefined>>;

export const mixerFiles: MixerFiles = import.meta.glob<Mixer>('./mixers/*.ts', { import: 'mixer', eager: true });

/** InternalError for a file without a mixer, and for a name that is taken. */
export function mixersOfFiles(files: MixerFiles) {
  const mixers = new Map<string, Mixer>();
  for (const [path, mixer] of Object.entries(files)) {
    if (mixer === undefined) throw new InternalError(`${path}: expected an export named 'mixer', found none`);
    if (mixers.has(mixer.name)) throw new InternalError(`${path}: the mixer name '${mixer.name}' is taken`);
    mixers.set(mixer.name, mixer);
  }
  const mixerByName = (name: string): Mixer => {
    const mixer = mixers.get(name);
    if (!mixer) throw new UnsupportedError('mixer', `expected ${[...mixers.keys()].join(' or ')}, got '${name}'`);
    return mixer;
  };
  return { mixers: mixers as ReadonlyMap<string, Mixer>, mixerByName };
}

/** `mixerByName`: UnsupportedError for a mixer that is not implemented. */
export const { mixers, mixerByName } = mixersOfFiles(mixerFiles);
