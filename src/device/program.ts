// A Program is a set of plans that share tensors: F, B and W of a stage, say. Plans are recorded once and replayed per
// slot (one slot per microbatch in flight). A tensor used by several plans, or kept, gets one buffer per slot of its
// class (storage/slots.ts); a tensor inside one plan gets a pooled buffer for as long as it lives. Two live tensors
// never share a buffer (WebGPU forbids read and read_write of one buffer in a dispatch). As many plans may run at once
// as the pool has sets of buffers, one by default; host steps run beside the GPU until they are waited for.

import { InternalError } from '../base/errors.ts';
import type { DType, Shape, TypedArray } from '../base/shape.ts';
import { elements, formatShape, typedView } from '../base/shape.ts';
import type { Device, DeviceBuffer, Launch, MemoryTag, PlannedLaunch, Range } from './device.ts';
import { bindingAccess } from './kernel.ts';
import type { Kernel, Params } from './kernel.ts';
import { Plan } from './plan.ts';
import type { BoundSlots, BoundStep } from './plan.ts';
import { BufferPool, placeTensors } from './storage/pool.ts';
import type { HostFn, PlanStep, Recorder } from './recorder.ts';
import { SlotTable, slotIn, slotKey } from './storage/slots.ts';
import type { Slot, SlotClasses } from './storage/slots.ts';
import type { Storage, Tensor } from './tensor.ts';
import { byteLength } from './tensor.ts';

type AutoStorage = Extract<Storage, { kind: 'auto' }>;

interface SlotBuffers {
  /** Name of the class of slots. */
  readonly of: string;
  readonly buffers: readonly DeviceBuffer[];
}

export class Program {
  readonly device: Device;
  readonly #slots: SlotTable;
  readonly #pool: BufferPool;
  readonly #ownsPool: boolean;
  readonly #recordings = new Map<string, PlanStep[]>();
  readonly #kept = new Set<Storage>();
  /** Plans before which a tensor is written, so that it has a slot from there on, whether they read it or not. */
  readonly #written = new Map<Storage, Set<string>>();
  readonly #buffers: DeviceBuffer[] = [];
  #slotBuffers = new Map<Storage, SlotBuffers>();
  #ids = 0;
  #plans: ReadonlyMap<string, Plan> | undefined;

  /**
   * `slots`: how many microbatches may be in flight at once on this rank, or that by class. With `pool`, programs of
   * one rank share what is pooled, and how many plans may run at once; its owner frees it.
   */
  constructor(device: Device, slots: number | SlotClasses = 1, pool?: BufferPool) {
    this.device = device;
    this.#slots = new SlotTable(slots);
    this.#pool = pool ?? new BufferPool(device);
    this.#ownsPool = pool === undefined;
  }

  /** The recorder of plan `name`; the same one on every call. */
  recorder(name: string): Recorder {
    if (this.#plans) throw new InternalError('recording after finish');
    const steps = this.#recordings.get(name) ?? [];
    this.#recordings.set(name, steps);
    return {
      tensor: (shape, dtype, label) => this.tensor(shape, dtype, label),
      launch(kernel, io, params) {
        steps.push({ kind: 'launch', kernel: kernel as unknown as Kernel, io, params });
      },
      host: (label, reads, writes, run, traffic = [], issue = undefined) => {
        const ticket = { id: this.#ids++, name: label, traffic };
        // What `issue` gives is what `run` takes.
        steps.push({ kind: 'host', ticket, reads, writes, run: run as HostFn, issue: issue ?? (() => undefined) });
        return ticket;
      },
      wait(ticket) {
        steps.push({ kind: 'wait', ticket });
      },
    };
  }

  tensor(shape: Shape, dtype: DType = 'f32', label = 't'): Tensor {
    const id = this.#ids++;
    return {
      shape,
      dtype,
      label,
      offset: 0,
      storage: { kind: 'auto', id, bytes: Math.max(4, elements(shape) * 4), label: `${label}#${id}` },
    };
  }

  /** Gives the tensor a buffer of its own per slot, so that `write` and `read` work between plans. */
  keep(...tensors: readonly Tensor[]): void {
    for (const tensor of tensors) if (tensor.storage.kind === 'auto') this.#kept.add(tensor.storage);
  }

  /** Keeps tensors that are written before each run of `plan`, in the slots of that run, whichever plans read them. */
  keepFrom(plan: string, ...tensors: readonly Tensor[]): void {
    this.keep(...tensors);
    for (const { storage } of tensors)
      this.#written.set(storage, (this.#written.get(storage) ?? new Set<string>()).add(plan));
  }

  /** Lets the device choose its variants, places all tensors, compiles all launches. Resolves to the plans by name. */
  async finish(tag: MemoryTag = 'activation'): Promise<ReadonlyMap<string, Plan>> {
    // Before anything is allocated: measuring needs memory of its own.
    await this.device.qualify?.(this.launches());
    const { sets } = this.#pool;
    const placement = placeTensors(
      this.#recordings,
      this.#kept,
      sets[0].map(({ bytes }) => bytes),
    );
    this.#slotBuffers = new Map(
      [...placement.perSlot].map(([storage, users]) => {
        const { bytes, label } = storage as AutoStorage;
        const { name, count } = this.#slots.classFor(new Set([...users, ...(this.#written.get(storage) ?? [])]));
        const buffers = Array.from({ length: count }, (_, slot) => this.device.alloc(bytes, tag, `${label}@${slot}`));
        this.#buffers.push(...buffers);
        return [storage, { of: name, buffers }];
      }),
    );
    for (const set of sets)
      for (const bytes of placement.poolSizes.slice(set.length))
        set.push(this.device.alloc(bytes, tag, `pool${set.length}`));
    const bufferOf: BufferOf = (storage, slot, set) => {
      if (storage.kind === 'fixed') return storage.buffer;
      const own = this.#slotBuffers.get(storage);
      return own ? own.buffers[slotIn(slot, own.of)]! : sets[set]![placement.pool.get(storage)!]!;
    };
    // All at once: the device compiles several at a time, and knows from the beginning how many there are.
    const plans = new Map(
      await Promise.all(
        [...this.#recordings].map(
          async ([name, steps]) =>
            [
              name,
              new Plan(name, this.device, await this.#bind(name, steps, bufferOf), describe(name, steps), this.#pool),
            ] as const,
        ),
      ),
    );
    this.#plans = plans;
    return plans;
  }

  /** The distinct launches of all plans, and how often each is made. */
  launches(): readonly PlannedLaunch[] {
    const found = new Map<string, { kernel: Kernel; params: Params; count: number }>();
    for (const steps of this.#recordings.values()) {
      for (const step of steps) {
        if (step.kind !== 'launch') continue;
        const key = `${step.kernel.name} ${JSON.stringify(step.params)}`;
        const known = found.get(key);
        if (known) known.count++;
        else found.set(key, { kernel: step.kernel, params: step.params, count: 1 });
      }
    }
    return [...found.values()];
  }

  /** Where `tensor` lives in `slot`; only for fixed and per-slot tensors. */
  range(tensor: Tensor, slot: Slot = 0): Range {
    const own = this.#slotBuffers.get(tensor.storage);
    const buffer = tensor.storage.kind === 'fixed' ? tensor.storage.buffer : own?.buffers[slotIn(slot, own.of)];
    if (!buffer)
      throw new InternalError(`tensor ${tensor.label} lives inside one plan; keep() it to reach it from outside`);
    return { buffer, offset: tensor.offset, bytes: byteLength(tensor) };
  }

  write(tensor: Tensor, slot: Slot, data: TypedArray): void {
    const { buffer, offset, bytes } = this.range(tensor, slot);
    if (data.byteLength !== bytes)
      throw new InternalError(
        `tensor ${tensor.label} ${formatShape(tensor.shape)} has ${bytes} bytes, got ${data.byteLength}`,
      );
    this.device.write(buffer, offset, data);
  }

  /** Frees the buffers of the program; fixed buffers stay. */
  dispose(): void {
    for (const buffer of this.#buffers.splice(0)) this.device.free(buffer);
    if (this.#ownsPool) this.#pool.dispose();
  }

  /**
   * The bound steps by set of the pool and by the key of the slots that the plan runs in; a launch is bound once for
   * all slots and sets that it cannot tell apart.
   */
  async #bind(name: string, steps: readonly PlanStep[], bufferOf: BufferOf): Promise<BoundSlots> {
    const classesOf = (tensors: readonly Tensor[]): ReadonlySet<string> =>
      new Set(tensors.flatMap(({ storage }) => this.#slotBuffers.get(storage)?.of ?? []));
    const poolsIn = (tensors: readonly Tensor[]): boolean =>
      tensors.some(({ storage }) => storage.kind === 'auto' && !this.#slotBuffers.has(storage));
    const made = steps.map(() => new Map<string, Promise<Launch>>());
    const launchOf = (step: PlanStep & { kind: 'launch' }, i: number, slot: Slot, set: number): Promise<Launch> => {
      const tensors = Object.values(step.io);
      const key = `${poolsIn(tensors) ? set : 0} ${slotKey(slot, classesOf(tensors))}`;
      const known = made[i]!.get(key);
      if (known) return known;
      const io = Object.fromEntries(
        Object.keys(step.kernel.bindings).map((binding) => [binding, rangeOf(step.io[binding], bufferOf, slot, set)]),
      );
      const launch = this.device.prepare(step.kernel, step.params, io);
      made[i]!.set(key, launch);
      return launch;
    };
    const boundIn = (slot: Slot, set: number): Promise<readonly BoundStep[]> =>
      Promise.all(
        steps.map(async (step, i): Promise<BoundStep> => {
          if (step.kind === 'wait') return step;
          if (step.kind === 'launch') return { kind: 'launch', launch: await launchOf(step, i, slot, set) };
          const typed = (tensor: Tensor) => ({ range: rangeOf(tensor, bufferOf, slot, set), dtype: tensor.dtype });
          return { ...step, reads: step.reads.map(typed), writes: step.writes.map(typed) };
        }),
      );
    const tensors = steps.flatMap(tensorsOf);
    const [classes, pooled] = [classesOf(tensors), poolsIn(tensors)];
    const bound = this.#pool.sets.slice(0, pooled ? undefined : 1).map(() => new Map<string, readonly BoundStep[]>());
    const all = bound.flatMap((bySlot, set) =>
      [...this.#slots.distinct(name, classes)].map(([key, slot]) => async () => {
        bySlot.set(key, await boundIn(slot, set));
      }),
    );
    const [first, ...others] = all;
    // What the others need is compiled with the first.
    await first!();
    await Promise.all(others.map((bind) => bind()));
    return { classes, pooled, bound };
  }
}

/** Where a storage is for a run in these slots that holds this set of the pool. */
type BufferOf = (storage: Storage, slot: Slot, set: number) => DeviceBuffer;

function rangeOf(tensor: Tensor, bufferOf: BufferOf, slot: Slot, set: number): Range {
  return { buffer: bufferOf(tensor.storage, slot, set), offset: tensor.offset, bytes: byteLength(tensor) };
}

function tensorsOf(step: PlanStep): readonly Tensor[] {
  if (step.kind === 'wait') return [];
  return step.kind === 'launch' ? Object.values(step.io) : [...step.reads, ...step.writes];
}

/** Reads per-slot or fixed tensors after all submitted work; one readback. */
export async function readTensors(
  program: Program,
  tensors: readonly Tensor[],
  slot: Slot = 0,
): Promise<readonly TypedArray[]> {
  const parts = await program.device.submit(
    [],
    tensors.map((tensor) => program.range(tensor, slot)),
  );
  return parts.map((part, i) => typedView(tensors[i].dtype, part));
}

/** The golden form: one line per step with shapes, params other than shapes, and what waits for what. */
function describe(name: string, steps: readonly PlanStep[]): string {
  const show = (tensor: Tensor): string => `${tensor.label}${formatShape(tensor.shape)}`;
  const lines = steps.map((step) => {
    if (step.kind === 'wait') return `wait ${step.ticket.name}`;
    if (step.kind === 'host')
      return `host ${step.ticket.name} (${step.reads.map(show).join(', ')}) -> ${step.writes.map(show).join(', ')}`;
    const names = Object.keys(step.kernel.bindings);
    const inputs = names.filter((binding) => bindingAccess(step.kernel.bindings[binding]) === 'read');
    const outputs = names.filter((binding) => bindingAccess(step.kernel.bindings[binding]) === 'read_write');
    return `${step.kernel.name} (${inputs.map((binding) => show(step.io[binding])).join(', ')}) -> ${outputs.map((binding) => show(step.io[binding])).join(', ')}`;
  });
  return [`plan ${name}`, ...lines].join('\n');
}
