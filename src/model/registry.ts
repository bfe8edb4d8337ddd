// All model families by name, by `model_type` and by preset. The folder families/ is the list: a new file there is
// found at once.

import { InternalError, UnsupportedError } from '../base/errors.ts';
import type { ModelConfig } from './config.ts';
import type { ModelFamily } from './family.ts';
import type { ConfigFields } from './huggingface/field-rules.ts';
import { mixersIn } from './mixing/mixer.ts';
import { mixers } from './mixing/registry.ts';
import type { Network } from './network.ts';

/** The family that each file exports as `family`, by the path of the file. */
export type FamilyFiles = Readonly<Record<string, ModelFamily | undefined>>;

export const familyFiles: FamilyFiles = import.meta.glob<ModelFamily>('./families/*.ts', {
  import: 'family',
  eager: true,
});

/** InternalError for a file without a family, and for a name, a `model_type` or a preset that is taken. */
export function registryOf(files: FamilyFiles) {
  const families = new Map<string, ModelFamily>();
  const modelTypes = new Map<string, { readonly family: ModelFamily; readonly fields: ConfigFields }>();
  const presetFamilies = new Map<string, ModelFamily>();
  const add = <T>(map: Map<string, T>, path: string, what: string, name: string, value: T): void => {
    if (map.has(name)) throw new InternalError(`${path}: the ${what} '${name}' is taken`);
    map.set(name, value);
  };
  for (const [path, family] of Object.entries(files)) {
    if (family === undefined) throw new InternalError(`${path}: expected an export named 'family', found none`);
    add(families, path, 'family name', family.name, family);
    for (const [type, fields] of Object.entries(family.modelTypes))
      add(modelTypes, path, 'model_type', type, { family, fields });
    for (const preset of Object.keys(family.presets.sizes)) add(presetFamilies, path, 'preset', preset, family);
  }
  const familyOf = (config: ModelConfig): ModelFamily => {
    const family = families.get(config.family);
    if (!family) throw new InternalError(`no model family '${config.family}'`);
    return family;
  };
  const layersOf = ({ layers }: ModelConfig): readonly number[] => Array.from({ length: layers }, (_, i) => i);
  const mixersOf = (config: ModelConfig): readonly string[] => [
    ...new Set(layersOf(config).flatMap((layer) => mixersIn(familyOf(config).mixers(config, layer)))),
  ];
  const networkOf = (config: ModelConfig): Network => {
    const family = familyOf(config);
    const [missing] = mixersOf(config).filter((name) => !mixers.has(name));
    if (missing !== undefined) {
      const layers = layersOf(config).filter((layer) => mixersIn(family.mixers(config, layer)).includes(missing));
      throw new UnsupportedError(
        family.mixersField ?? 'model_type',
        `only [] is supported, got [${layers.join(',')}]: layers with ${missing} attention are not implemented`,
      );
    }
    return family.network;
  };
  return { families, modelTypes, presetFamilies, familyOf, mixersOf, networkOf };
}

/**
 * In the order of the folder: `modelTypes` by config.json's `model_type`, `presetFamilies` by the names of presets.
 * `mixersOf`: names of the mixers of a model's layers. `networkOf`: UnsupportedError for a config that can be read, but
 * whose network is not implemented.
 */
export const { families, modelTypes, presetFamilies, familyOf, mixersOf, networkOf } = registryOf(familyFiles);
