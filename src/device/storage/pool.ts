// Liveness: which tensors need a buffer per slot, and which can take turns in pooled buffers. A pooled tensor lives
// from its first to its last step; a host step's outputs live at least until its wait, because they are uploaded
// whenever the host work ends.

import { InternalError } from '../../base/errors.ts';
import type { Device, DeviceBuffer } from '../device.ts';
import type { PlanStep } from '../recorder.ts';
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
  recordings: ReadonlyMap<string, readonly PlanStep[]>,
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

function spansOf(steps: readonly PlanStep[]): Map<Storage, Span> {
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

/**
 * Pooled buffers that the programs of one rank share: a set of them for each of their plans that may run at once. A run
 * holds a set from its start until its last host step has ended.
 */
export class BufferPool {
  /** Equal in sizes. */
  readonly sets: readonly DeviceBuffer[][];
  readonly #device: Device;
  /** By set, who holds it. */
  readonly #holders: (Holder | undefined)[];

  constructor(device: Device, inFlight = 1) {
    this.#device = device;
    this.sets = Array.from({ length: inFlight }, () => []);
    this.#holders = this.sets.map(() => undefined);
  }

  /**
   * The number of a set for a run of `plan`, the lowest that is free. Waits for one of a run that has failed, whose
   * host steps still end. Throws InternalError where all are held by runs that go on.
   */
  take(plan: string): number | Promise<number> {
    const free = this.#holders.indexOf(undefined);
    if (free >= 0) {
      this.#holders[free] = { plan, ended: undefined };
      return free;
    }
    const ended = this.#holders.flatMap((holder) => holder?.ended ?? []);
    if (ended.length === 0)
      throw new InternalError(
        `plan ${plan}: expected at most ${this.sets.length} plans in flight, got another beside ` +
          `${this.#holders.map((holder) => holder!.plan).join(', ')}; make the pool for more, or wait for one`,
      );
    return Promise.race(ended).then(() => this.take(plan));
  }

  /** The run that holds `set` is over. */
  give(set: number): void {
    this.#holders[set] = undefined;
  }

  /** The run that holds `set` has failed; nobody else gets it before `ended` resolves. */
  giveAfter(set: number, ended: Promise<unknown>): void {
    this.#holders[set]!.ended = ended.then(() => this.give(set));
  }

  dispose(): void {
    for (const set of this.sets) for (const buffer of set.splice(0)) this.#device.free(buffer);
  }
}

interface Holder {
  readonly plan: string;
  /** Of a run that has failed: resolves when the set is free. */
  ended: Promise<void> | undefined;
}
