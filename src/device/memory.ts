// What a device counts: bytes alive by tag, and its work. The page shows these numbers, so nothing may be allocated
// past them.

import type { DeviceCounters, MemoryTag } from './device.ts';

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

/** Of a device that has done nothing yet. */
export function newCounters(): DeviceCounters {
  return { launches: 0, submits: 0, readbacks: 0, bytesRead: 0, bytesWritten: 0, pipelines: 0 };
}
