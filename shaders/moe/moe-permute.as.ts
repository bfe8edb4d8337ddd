// Counting sort by one thread: some thousand integers are no work to share. `offsets` counts, too: first how many each
// expert has, then where each one's next row is.

export function moePermute(
  index: usize,
  offsets: usize,
  slotOf: usize,
  source: usize,
  A: i32,
  E: i32,
  part: i32,
  parts: i32,
): void {
  if (part !== 0) return;
  const words = (<usize>E) << 2;
  const bytes = (<usize>A) << 2;
  memory.fill(offsets, 0, words + 4);
  memory.fill(slotOf, 0xff, bytes);
  memory.fill(source, 0xff, bytes);
  for (let a: usize = 0; a < bytes; a += 4) {
    const expert = load<u32>(index + a);
    if (expert >= <u32>E) continue;
    const count = offsets + ((<usize>expert) << 2);
    store<i32>(count, load<i32>(count) + 1);
  }
  let rows = 0;
  for (let e: usize = 0; e <= words; e += 4) {
    const count = load<i32>(offsets + e);
    store<i32>(offsets + e, rows);
    rows += count;
  }
  for (let a = 0; a < A; a++) {
    const expert = load<u32>(index + ((<usize>a) << 2));
    if (expert >= <u32>E) continue;
    const next = offsets + ((<usize>expert) << 2);
    const row = load<i32>(next);
    store<i32>(next, row + 1);
    store<i32>(slotOf + ((<usize>a) << 2), row);
    store<i32>(source + ((<usize>row) << 2), a);
  }
  // Now each expert's place holds its end, which is the next one's first row.
  memory.copy(offsets + 4, offsets, words);
  store<i32>(offsets, 0);
}
