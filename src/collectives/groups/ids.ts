// Ids of groups that all members work out alike from a name, without talking: FNV-1a with the top bit set, so that no
// hash is an axis mask or 0. Two names of one rank with the same hash are refused, because their messages would mix.

import { LayoutError } from '../../base/errors.ts';

export class GroupIds {
  readonly #names = new Map<number, string>();

  /** Throws LayoutError where another name has the number by chance. */
  of(name: string): number {
    let hash = 0x811c9dc5;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    const id = (hash | 0x80000000) >>> 0;
    const taken = this.#names.get(id);
    if (taken !== undefined && taken !== name)
      throw new LayoutError(
        `group ${name}: its number is that of ${taken} by chance; name one otherwise, or its ranks in another order`,
      );
    this.#names.set(id, name);
    return id;
  }
}
