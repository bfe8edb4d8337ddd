// Some browsers look only now and then whether the GPU has finished (Firefox: every 100 ms or so), and every wait for
// it takes that long, whatever the GPU did. Times of such waits say nothing about a kernel, so nothing may be decided
// by them.

import type { World } from '../../base/world.ts';
import type { Device } from '../device.ts';

/** A wait for nothing takes a fraction of a millisecond where it is told by an event, and a few on a busy machine. */
const STEP_MS = 20;
const TRIES = 3;

/** Milliseconds that a wait for no work takes at least; undefined where waits are fine enough to measure with. */
export async function coarseWaitMs(
  device: Pick<Device, 'idle'>,
  world: Pick<World, 'now'>,
): Promise<number | undefined> {
  let least = Infinity;
  for (let i = 0; i < TRIES && least > STEP_MS; i++) {
    const from = world.now();
    await device.idle();
    least = Math.min(least, world.now() - from);
  }
  return least > STEP_MS ? least : undefined;
}
