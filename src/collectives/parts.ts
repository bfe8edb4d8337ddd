// How a flat array is divided among the P members of a group: P + 1 offsets in elements, ascending from 0 to the count;
// part i is [offsets[i], offsets[i + 1]).

import { ShapeError } from '../base/errors.ts';

/** Parts that differ by at most one element, the larger first. Any count is fine, also one below P. */
export function evenParts(count: number, size: number): number[] {
  const offsets = [0];
  for (let i = 0; i < size; i++) offsets.push(offsets[i]! + Math.floor(count / size) + (i < count % size ? 1 : 0));
  return offsets;
}

export function partSize(offsets: readonly number[], part: number): number {
  return offsets[part + 1]! - offsets[part]!;
}

/** Throws unless `offsets` divide `count` elements among `size` members. */
export function checkParts(where: string, offsets: readonly number[], size: number, count: number): void {
  const ascending = offsets.every((offset, i) => i === 0 || offset >= offsets[i - 1]!);
  if (offsets.length !== size + 1 || offsets[0] !== 0 || offsets[size] !== count || !ascending) {
    throw new ShapeError(
      `${where}: expected ${size + 1} ascending offsets from 0 to ${count}, got [${offsets.join(', ')}]`,
    );
  }
}
