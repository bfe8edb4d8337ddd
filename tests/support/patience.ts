// Time in tests. What must come is waited for by its event; a limit is there only for what hangs, so it is long. Where
// the time itself is the claim, it is claimed for a machine with nothing else to do, and scaled by how busy this one
// is.

/**
 * For an event that comes unless something hangs, also where ten processes want each core; below the limit of a test of
 * tabs.
 */
export const PATIENCE_MS = 400_000;

const SAMPLE_MS = 250;

/**
 * How many times as long work takes now as on a core of its own: wall time over CPU time of a loop that does nothing
 * else. At least 1; 2 where twice as many processes want to run as there are cores.
 */
export function contention(): number {
  const [startMs, start] = [performance.now(), process.cpuUsage()];
  while (cpuSeconds(start) < SAMPLE_MS / 1000);
  return Math.max(1, (performance.now() - startMs) / (1000 * cpuSeconds(start)));
}

/**
 * `limitMs` on a quiet machine, as long as it may take on this one. Called before and after what is measured; `earlier`
 * is the first answer.
 */
export function scaledLimit(limitMs: number, earlier = 0): number {
  return Math.max(earlier, limitMs * contention());
}

/** CPU time that this process has used since; what a machine with other work does not change. */
export function cpuSeconds(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1e6;
}
