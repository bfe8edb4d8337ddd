// The threads that run one launch together, each with its own instance of the module on the same memory. A kernel takes
// `part` and `parts` as its last parameters and does its share; what all have to wait for stands behind `meet`.

/** Words of the meeting place: how many have arrived, the number of the meeting, and whether one failed. */
let place: usize = 0;
let scratchAt: usize = 0;
let sharedAt: usize = 0;

/** Polls before a thread goes to sleep: some microseconds, about what waking it costs. */
const SPINS: i32 = 2000;
/** A thread that has not come after so long (30 s) is gone. */
const PATIENCE_NS: i64 = 30_000_000_000;

/**
 * Where this instance works: `meeting` 64 zero bytes that all threads share, `own` its own scratch memory, `shared` the
 * scratch memory of all. See SCRATCH_BYTES and SHARED_BYTES of the device.
 */
export function placeThread(meeting: usize, own: usize, shared: usize): void {
  place = meeting;
  scratchAt = own;
  sharedAt = shared;
}

export function scratch(): usize {
  return scratchAt;
}

export function sharedScratch(): usize {
  return sharedAt;
}

/** The first of `count` units, cut into runs that differ by one at most, of part `part`. */
export function firstOf(count: i32, part: i32, parts: i32): i32 {
  return <i32>((<i64>count * part) / parts);
}

/** The first of `count` floats of part `part`: parts start at whole runs of 16, a cache line. */
export function firstFloat(count: i32, part: i32, parts: i32): i32 {
  return min(count, firstOf((count + 15) >> 4, part, parts) << 4);
}

/**
 * Returns when all `parts` threads have called it; what they wrote before is seen by all. When one does not come in
 * time, it says so in the third word of the meeting place, and no thread waits for another from then on.
 */
export function meet(parts: i32): void {
  if (parts === 1 || atomic.load<i32>(place, 8) !== 0) return;
  const meeting = atomic.load<i32>(place, 4);
  if (atomic.add<i32>(place, 1) === parts - 1) {
    atomic.store<i32>(place, 0);
    atomic.store<i32>(place, meeting + 1, 4);
    atomic.notify(place + 4, -1);
    return;
  }
  for (let spin = 0; spin < SPINS; spin++) if (atomic.load<i32>(place, 4) !== meeting) return;
  while (atomic.load<i32>(place, 4) === meeting) {
    if (atomic.wait<i32>(place + 4, meeting, PATIENCE_NS) === <i32>AtomicWaitResult.TIMED_OUT) {
      atomic.store<i32>(place, 1, 8);
      return;
    }
  }
}
