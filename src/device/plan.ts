// A recorded list of launches and host steps, bound to buffers, replayed per slot. Launches between two host steps are
// one submit. A host step gets a readback of its inputs after everything before it, runs beside the GPU, and its
// outputs are uploaded when it ends; `wait` blocks there. Host steps start in recorded order, so collectives called by
// them take their sequence numbers in the same order on every rank.

import type { DType, TypedArray } from '../base/shape.ts';
import { typedView } from '../base/shape.ts';
import type { Device, Launch, Range } from './device.ts';
import { InternalError } from '../base/errors.ts';
import type { HostFn, Ticket, Traffic } from './recorder.ts';
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
    }
  | { readonly kind: 'wait'; readonly ticket: Ticket };

/** The steps of a plan by the key of the slots that they are bound to: equal in these classes of slots. */
export interface BoundSlots {
  readonly classes: ReadonlySet<string>;
  readonly bound: ReadonlyMap<string, readonly BoundStep[]>;
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

  constructor(name: string, device: Device, slots: BoundSlots, text: string) {
    this.name = name;
    this.#device = device;
    this.#slots = slots;
    this.#text = text;
    const [steps = []] = slots.bound.values();
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
   * the device.
   */
  async run(slot: Slot = 0, read: readonly TypedRange[] = [], observe?: ObserveHost): Promise<readonly TypedArray[]> {
    const device = this.#device;
    const tickets = new Map<number, Promise<void>>();
    let started: Promise<unknown> = Promise.resolve();
    let pending: Launch[] = [];
    const submitted: Promise<unknown>[] = [];
    const key = slotKey(slot, this.#slots.classes);
    const steps = this.#slots.bound.get(key);
    if (!steps) throw new InternalError(`plan ${this.name} is not bound to slot ${key}`);
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
      const host = startHost(device, step, inputs, started, observe);
      started = host.started;
      tickets.set(step.ticket.id, guarded(host.done));
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

function startHost(
  device: Device,
  step: BoundStep & { kind: 'host' },
  inputs: Promise<readonly ArrayBuffer[]>,
  before: Promise<unknown>,
  observe?: ObserveHost,
): { started: Promise<unknown>; done: Promise<void> } {
  const writes = step.writes.map(({ range, dtype }) => typedView(dtype, new ArrayBuffer(range.bytes)));
  // `running` is wrapped in an object so that awaiting `started` does not await the host function itself.
  const started = (async () => {
    const [parts] = await Promise.all([inputs, before]);
    const end = observe?.(step.ticket.name);
    const running = step.run(
      parts.map((part, i) => typedView(step.reads[i].dtype, part)),
      writes,
    );
    return { running: guarded(end ? running.finally(end) : running) };
  })();
  const done = started.then(async ({ running }) => {
    await running;
    step.writes.forEach(({ range }, i) => device.write(range.buffer, range.offset, writes[i]));
  });
  return { started: guarded(started), done };
}
