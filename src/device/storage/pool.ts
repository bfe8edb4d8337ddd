// Liveness: which tensors need a buffer per slot, and which can take turns in pooled buffers. A pooled tensor lives
// from its first to its last step; a host step's outputs live at least until its wait, because they are uploaded
// whenever the host work ends.

import type { Device, DeviceBuffer } from '../device.ts';
import type { Step } from '../recorder.ts';
import type { Storage } from '../tensor.ts';

export interface BufferAssignment {
  /** Storages with one buffer per slot, and the plans that use each. */
  readonly perSlot: ReadonlyMap<Storage, ReadonlySet<string>>;
  /** Pooled storages -> index of their buffer. */
  readonly pool: ReadonlyMap<Storage, number>;
  readonly poolSizes: readonly number[];
}

interface Span {
  first: number;
  last: number;
}

/** `sizes`: of the pooled buffers that are there already, which are taken first. */
export function placeTensors(
  recordings: ReadonlyMap<string, readonly Step[]>,
  kept: ReadonlySet<Storage>,
  sizes: readonly number[] = [],
): BufferAssignment {
  const spans = new Map<string, Map<Storage, Span>>();
  const users = new Map<Storage, Set<string>>();
  for (const [name, steps] of recordings) {
    const own = spansOf(steps);
    spans.set(name, own);
    for (const storage of own.keys()) {
      const set = users.get(storage);
      if (set) set.add(name);
      else users.set(storage, new Set([name]));
    }
  }
  const perSlot = new Map<Storage, ReadonlySet<string>>(
    [...users].filter(([storage, plans]) => plans.size > 1 || kept.has(storage)),
  );
  for (const storage of kept) if (!perSlot.has(storage)) perSlot.set(storage, new Set());
  const pool = new Map<Storage, number>();
  const poolSizes = [...sizes];
  for (const own of spans.values()) assign(own, perSlot, pool, poolSizes);
  return { perSlot, pool, poolSizes };
}

function spansOf(steps: readonly Step[]): Map<Storage, Span> {
  const spans = new Map<Storage, Span>();
  const touch = (storage: Storage, at: number): void => {
    if (storage.kind === 'fixed') return;
    const span = spans.get(storage);
    if (span) span.last = at;
    else spans.set(storage, { first: at, last: at });
  };
  const waits = new Map<number, readonly Storage[]>();
  steps.forEach((step, at) => {
    if (step.kind === 'launch') for (const tensor of Object.values(step.io)) touch(tensor.storage, at);
    else if (step.kind === 'host') {
      for (const tensor of [...step.reads, ...step.writes]) touch(tensor.storage, at);
      waits.set(
        step.ticket.id,
        step.writes.map((tensor) => tensor.storage),
      );
    } else {
      for (const storage of waits.get(step.ticket.id) ?? []) touch(storage, at);
      waits.delete(step.ticket.id);
    }
  });
  // Never waited for: uploaded at the latest at the end of the plan.
  for (const storages of waits.values()) for (const storage of storages) touch(storage, steps.length);
  return spans;
}

/** Best fit over the buffers that are free; grows a free buffer's size class only by adding a new buffer. */
function assign(
  spans: ReadonlyMap<Storage, Span>,
  perSlot: ReadonlyMap<Storage, unknown>,
  pool: Map<Storage, number>,
  sizes: number[],
): void {
  const bytesOf = (storage: Storage): number => (storage.kind === 'auto' ? storage.bytes : 0);
  const order = [...spans].filter(([storage]) => !perSlot.has(storage)).sort(([, a], [, b]) => a.first - b.first);
  const free = new Set(sizes.keys());
  let live: { last: number; index: number }[] = [];
  for (const [storage, span] of order) {
    live = live.filter(({ last, index }) => {
      if (last < span.first) {
        free.add(index);
        return false;
      }
      return true;
    });
    const bytes = bytesOf(storage);
    let best = -1;
    for (const index of free)
      if (sizes[index] >= bytes && sizes[index] <= 4 * bytes && (best < 0 || sizes[index] < sizes[best])) best = index;
    if (best < 0) {
      best = sizes.length;
      sizes.push(bytes);
    }
    free.delete(best);
    pool.set(storage, best);
    live.push({ last: span.last, index: best });
  }
}

/** Pooled buffers that the programs of one rank share. At any time one of their plans may run. */
export class BufferPool {
  readonly buffers: DeviceBuffer[] = [];
  readonly #device: Device;

  constructor(device: Device) {
    this.#device = device;
  }

  dispose(): void {
    for (const buffer of this.buffers.splice(0)) this.#device.free(buffer);
  }
}
