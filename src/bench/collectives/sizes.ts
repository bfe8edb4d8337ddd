// Sizes of the arrays that are measured: a list like '4KiB,1MiB', 'default', or 'all' for the whole ladder of
// nccl-tests by doubling.

import { ConfigError } from '../../base/errors.ts';
import { quote } from '../../base/json.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
export const MAX_SIZE = 64 * MIB;

/** About a minute on two slow cores. */
export const DEFAULT_SIZES: readonly number[] = [0, 4 * KIB, 64 * KIB, MIB, 4 * MIB, 16 * MIB];
/** 0 B, 4 B, 8 B, ... 64 MiB. */
export const ALL_SIZES: readonly number[] = [0, ...Array.from({ length: 25 }, (_, i) => 4 * 2 ** i)];

const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, kib: KIB, k: KIB, mib: MIB, m: MIB };

/**
 * Bytes, ascending and without repetition. Throws ConfigError for anything but whole multiples of 4 bytes from 0 to 64
 * MiB.
 */
export function parseSizes(text: string | undefined, where = '--sizes'): readonly number[] {
  if (text === undefined || text === 'default') return DEFAULT_SIZES;
  if (text === 'all') return ALL_SIZES;
  const sizes = text.split(',').map((word) => {
    const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(word) ?? [];
    const factor = UNITS[(unit ?? '').toLowerCase()];
    if (digits === undefined || factor === undefined)
      throw new ConfigError(where, `expected sizes like 0,4KiB,1MiB, or 'default' or 'all', got ${quote(word)}`);
    const bytes = Number(digits) * factor;
    if (bytes > MAX_SIZE || bytes % 4 !== 0)
      throw new ConfigError(where, `expected whole multiples of 4 bytes up to 64MiB, got ${quote(word)}`);
    return bytes;
  });
  return [...new Set(sizes)].sort((a, b) => a - b);
}

/** '0 B', '4 KiB', '1 MiB', '1.5 MiB'; a size that was rounded down by a few bytes keeps its name. */
export function sizeName(bytes: number): string {
  const [unit, factor] = bytes >= MIB - 256 ? ['MiB', MIB] : bytes >= KIB ? ['KiB', KIB] : ['B', 1];
  return `${Number((bytes / (factor as number)).toFixed(2))} ${unit}`;
}

/** What a link or an option writes: '4KiB'. */
export function formatSizes(sizes: readonly number[]): string {
  const name = (list: readonly number[]): string =>
    list
      .map((bytes) =>
        bytes % MIB === 0 && bytes > 0
          ? `${bytes / MIB}MiB`
          : bytes % KIB === 0 && bytes > 0
            ? `${bytes / KIB}KiB`
            : String(bytes),
      )
      .join(',');
  return name(sizes) === name(DEFAULT_SIZES) ? 'default' : name(sizes) === name(ALL_SIZES) ? 'all' : name(sizes);
}
