// One pass with a hash table of the last position of every id, open addressing, where the GPU searches. A table holds
// the ids of BLOCK positions; more positions take a pass per block, which also finds what follows in later blocks.
// Threads share the ids by their value: a list belongs to one of them.

import { scratch } from '../wasm/threads.as.ts';

const FIRST: u32 = 0x80000000;
const NONE: u32 = 0x7fffffff;
/** Half of the places that a thread's scratch memory has. */
const BLOCK: i32 = 1 << 16;
/** 2^32 divided by the golden ratio, odd. Source: Knuth, The Art of Computer Programming, volume 3, section 6.4. */
const GOLDEN: u32 = 0x9e3779b1;

export function embeddingLinks(ids: usize, next: usize, R: i32, part: i32, parts: i32): void {
  const table = scratch();
  // Twice as many places as ids, or more.
  const shift = clz(min(R, BLOCK) - 1);
  const places = (<usize>2) << (32 - shift);
  const last = places - 1;
  for (let from = 0; from < R; from += BLOCK) {
    const to = min(R, from + BLOCK);
    memory.fill(table, 0, places << 2);
    for (let i = from; i < R; i++) {
      const id = load<u32>(ids + ((<usize>i) << 2));
      if (id % <u32>parts !== <u32>part) continue;
      if (from === 0) store<u32>(next + ((<usize>i) << 2), FIRST | NONE);
      let at = <usize>((id * GOLDEN) >>> (shift - 1));
      // Places hold positions, counted from 1.
      let previous = load<i32>(table + (at << 2)) - 1;
      while (previous >= 0 && load<u32>(ids + ((<usize>previous) << 2)) !== id) {
        at = (at + 1) & last;
        previous = load<i32>(table + (at << 2)) - 1;
      }
      if (previous < 0 && i >= to) continue;
      store<i32>(table + (at << 2), i + 1);
      // Links from a later block are found in its own pass.
      if (previous < 0 || previous >= to) continue;
      const link = next + ((<usize>previous) << 2);
      store<u32>(link, (load<u32>(link) & FIRST) | (<u32>i));
      const own = next + ((<usize>i) << 2);
      store<u32>(own, load<u32>(own) & NONE);
    }
  }
}
