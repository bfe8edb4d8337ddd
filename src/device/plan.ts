// A recorded list of launches and host steps, bound to buffers, replayed per slot. Launches between two host steps are
// one submit. A host step gets a readback of its inputs after everything before it, runs beside the GPU, and its
// outputs are uploaded when it ends; `wait` blocks there. What host steps take in the same order on every rank, the
// numbers of their collectives, they take when a run of the plan is issued. So runs that were issued in one order may
// start, and mix their steps, in another on each rank. A run holds a set of the pool's buffers of its own.

import type { DType, TypedArray } from '../base/shape.ts';
import { typedView } from '../base/shape.ts';
import type { Device, Launch, Range } from './device.ts';
import { InternalError } from '../base/errors.ts';
import type { HostFn, Ticket, Traffic } from './recorder.ts';
import type { BufferPool } from './storage/pool.ts';
import { slotKey } from './storage/slots.ts';
import type { Slot } from './storage/slots.ts';

export interface TypedRange {
  readonly range: Range;
  readonly dtype: DType;
}

export type BoundStep =
  | { readonly kind: 'launch'; readonly launch: Launch }
  | {
      readonly kind: 'host';
      readonly ticket: Ticket;
      readonly reads: readonly TypedRange[];
      readonly writes: readonly TypedRange[];
      readonly run: HostFn;
      readonly issue: () => unknown;
    }
  | { readonly kind: 'wait'; readonly ticket: Ticket };

/** The steps of a plan by the key of the slots that they are bound to: equal in these classes of slots. */
export interface BoundSlots {
  readonly classes: ReadonlySet<string>;
  /** Whether any step uses the pool; otherwise one set stands for all. */
  readonly pooled: boolean;
  /** By set of the pool. */
  readonly bound: readonly ReadonlyMap<string, readonly BoundStep[]>[];
}

/** A run of a plan that has its numbers and has not started. */
export interface IssuedRun {
  /** As Plan.run; once. */
  start(slot?: Slot, read?: readonly TypedRange[], observe?: ObserveHost): Promise<readonly TypedArray[]>;
}

/** Called when a host step begins; returns the function that is called when it ends. */
export type ObserveHost = (name: string) => () => void;

export class Plan {
  readonly name: string;
  readonly launches: number;
  readonly hostSteps: number;
  /** What this rank sends in one run, one entry for each collective of its host steps. */
  readonly traffic: readonly Traffic[];
  readonly flops: number;
  readonly #device: Device;
  readonly #slots: BoundSlots;
  readonly #text: string;
  readonly #pool: BufferPool;

  constructor(name: string, device: Device, slots: BoundSlots, text: string, pool: BufferPool) {
    this.name = name;
    this.#device = device;
    this.#slots = slots;
    this.#text = text;
    this.#pool = pool;
    const steps = this.#steps();
    this.launches = steps.filter((step) => step.kind === 'launch').length;
    this.hostSteps = steps.filter((step) => step.kind === 'host').length;
    this.traffic = steps.flatMap((step) => (step.kind === 'host' ? step.ticket.traffic : []));
    this.flops = steps.reduce((sum, step) => sum + (step.kind === 'launch' ? step.launch.flops : 0), 0);
  }

  toString(): string {
    return this.#text;
  }

  /**
   * Replays the plan in `slot`. Resolves when all host steps are done and all launches are submitted; with `read`, to
   * those ranges after the last launch (packed into the last submit). Rejects with the first error of a host step or of
   * the device, with InternalError where the pool has no buffers for another plan in flight.
   */
  async run(slot: Slot = 0, read: readonly TypedRange[] = [], observe?: ObserveHost): Promise<readonly TypedArray[]> {
    return this.issue().start(slot, read, observe);
  }

  /**
   * Takes the numbers of a run now: all ranks issue in the same order, and may start in any. Every run that is issued
   * must be started.
   */
  issue(): IssuedRun {
    const issued = new Map<number, unknown>();
    for (const step of this.#steps()) if (step.kind === 'host') issued.set(step.ticket.id, step.issue());
    let started = false;
    return {
      start: async (slot = 0, read = [], observe) => {
        if (started) throw new InternalError(`plan ${this.name}: a run was started twice`);
        started = true;
        const taken = this.#slots.pooled ? this.#pool.take(this.name) : 0;
        const set = typeof taken === 'number' ? taken : await taken;
        const tickets = new Map<number, Promise<void>>();
        try {
          const results = await this.#replay(this.#steps(slot, set), issued, tickets, read, observe);
          if (this.#slots.pooled) this.#pool.give(set);
          return results;
        } catch (error) {
          // Host steps that still run write to the set when they end.
          if (this.#slots.pooled) this.#pool.giveAfter(set, Promise.allSettled(tickets.values()));
          throw error;
        }
      },
    };
  }

  /** Bound to `slot`; the same steps in any. */
  #steps(slot?: Slot, set = 0): readonly BoundStep[] {
    const bound = this.#slots.bound[set]!;
    if (slot === undefined) return [...bound.values()][0] ?? [];
    const key = slotKey(slot, this.#slots.classes);
    const steps = bound.get(key);
    if (!steps) throw new InternalError(`plan ${this.name} is not bound to slot ${key}`);
    return steps;
  }

  async #replay(
    steps: readonly BoundStep[],
    issued: ReadonlyMap<number, unknown>,
    tickets: Map<number, Promise<void>>,
    read: readonly TypedRange[],
    observe?: ObserveHost,
  ): Promise<readonly TypedArray[]> {
    const device = this.#device;
    let pending: Launch[] = [];
    const submitted: Promise<unknown>[] = [];
    for (const step of steps) {
      if (step.kind === 'launch') {
        pending.push(step.launch);
        continue;
      }
      if (step.kind === 'wait') {
        if (pending.length) {
          submitted.push(guarded(device.submit(pending)));
          pending = [];
        }
        await tickets.get(step.ticket.id);
        continue;
      }
      const inputs = device.submit(
        pending,
        step.reads.map(({ range }) => range),
      );
      pending = [];
      tickets.set(step.ticket.id, guarded(hostStep(device, step, inputs, issued.get(step.ticket.id), observe)));
    }
    await Promise.all([...submitted, ...tickets.values()]);
    const parts = await device.submit(
      pending,
      read.map(({ range }) => range),
    );
    return parts.map((part, i) => typedView(read[i].dtype, part));
  }
}

/** Marks a rejection as seen: it is thrown again where the promise is awaited. */
function guarded<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

async function hostStep(
  device: Device,
  step: BoundStep & { kind: 'host' },
  inputs: Promise<readonly ArrayBuffer[]>,
  issued: unknown,
  observe?: ObserveHost,
): Promise<void> {
  const writes = step.writes.map(({ range, dtype }) => typedView(dtype, new ArrayBuffer(range.bytes)));
  const parts = await inputs;
  const end = observe?.(step.ticket.name);
  try {
    await step.run(
      parts.map((part, i) => typedView(step.reads[i].dtype, part)),
      writes,
      issued,
    );
  } finally {
    end?.();
  }
  step.writes.forEach(({ range }, i) => device.write(range.buffer, range.offset, writes[i]));
}
