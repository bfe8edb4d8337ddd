// Counts bytes alive by tag. The page shows these numbers, so nothing may be allocated past them.

import type { MemoryTag } from './device.ts';

const TAGS: readonly MemoryTag[] = ['param', 'grad', 'optimizer', 'activation', 'input', 'staging'];

export class MemoryLedger {
  readonly byTag = Object.fromEntries(TAGS.map((tag) => [tag, { now: 0, peak: 0 }])) as Record<
    MemoryTag,
    { now: number; peak: number }
  >;

  add(tag: MemoryTag, bytes: number): void {
    const entry = this.byTag[tag];
    entry.now += bytes;
    entry.peak = Math.max(entry.peak, entry.now);
  }
}
