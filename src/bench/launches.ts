// tabmesh's side of a workload that is a fixed list of kernels: buffers are made and filled once, launches prepared
// once, n runs are one submit.

import type { TypedArray } from '../base/shape.ts';
import { typedView } from '../base/shape.ts';
import type { Device, DeviceBuffer, Launch, Range } from '../device/device.ts';
import type { Kernel, Params } from '../device/kernel.ts';
import { bindingDType } from '../device/kernel.ts';
import type { Problem, Runner } from './problem.ts';

/** One launch; `io` names tensors of the work. */
export interface WorkLaunch {
  readonly kernel: Kernel;
  readonly params: Params;
  readonly io: Readonly<Record<string, string>>;
}

export interface Work {
  /** Tensors besides the problem's inputs, in elements of 4 bytes. */
  readonly scratch: Readonly<Record<string, number>>;
  readonly launches: readonly WorkLaunch[];
  /** Where each output of the problem lies: a tensor, or a run of elements of one. */
  readonly outputs: Readonly<
    Record<string, string | { readonly tensor: string; readonly from: number; readonly length: number }>
  >;
}

/** Bytes that the device has given out. */
export function bytesInUse(device: Device): number {
  return Object.entries(device.memory).reduce((sum, [tag, { now }]) => sum + (tag === 'staging' ? 0 : now), 0);
}

/** Throws LimitError where a tensor or a grid is too large; nothing is left allocated then. */
export async function launchRunner(
  device: Device,
  { inputs }: Problem,
  { scratch, launches, outputs }: Work,
): Promise<Runner> {
  const buffers: DeviceBuffer[] = [];
  const dispose = (): void => {
    for (const buffer of buffers.splice(0)) device.free(buffer);
  };
  const before = bytesInUse(device);
  try {
    const ranges = new Map<string, Range>();
    const make = (name: string, elements: number): void => {
      const buffer = device.alloc(4 * elements, 'activation', name);
      buffers.push(buffer);
      ranges.set(name, { buffer, offset: 0, bytes: 4 * elements });
    };
    for (const [name, { data }] of Object.entries(inputs)) {
      make(name, data.length);
      device.write(ranges.get(name)!.buffer, 0, data);
    }
    for (const [name, elements] of Object.entries(scratch)) make(name, elements);
    // A device with a qualifier checks its variants and measures them before anything is timed; workloads made of ops
    // do so as their program is finished.
    await device.qualify?.(launches.map(({ kernel, params }) => ({ kernel, params, count: 1 })));
    const prepared = await Promise.all(
      launches.map(({ kernel, params, io }) =>
        device.prepare(
          kernel,
          params,
          Object.fromEntries(Object.entries(io).map(([binding, name]) => [binding, ranges.get(name)!])),
        ),
      ),
    );
    const places = Object.entries(outputs).map(([name, place]) => {
      const { tensor, from, length } =
        typeof place === 'string' ? { tensor: place, from: 0, length: ranges.get(place)!.bytes / 4 } : place;
      return {
        name,
        dtype: dtypeOf(launches, tensor),
        range: { buffer: ranges.get(tensor)!.buffer, offset: 4 * from, bytes: 4 * length },
      };
    });
    return {
      peakBytes: bytesInUse(device) - before,
      variants: [...new Set(prepared.map(({ kernel, variant }) => `${kernel}/${variant}`))],
      async run(times) {
        const all: Launch[] = [];
        for (let i = 0; i < times; i++) all.push(...prepared);
        await device.submit(all);
        await device.idle();
      },
      async read() {
        const bytes = await device.submit(
          [],
          places.map(({ range }) => range),
        );
        return Object.fromEntries(
          places.map(({ name, dtype }, i): [string, TypedArray] => [name, typedView(dtype, bytes[i])]),
        );
      },
      dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}

function dtypeOf(launches: readonly WorkLaunch[], tensor: string): ReturnType<typeof bindingDType> {
  for (const { kernel, io } of launches)
    for (const [binding, name] of Object.entries(io))
      if (name === tensor) return bindingDType(kernel.bindings[binding]);
  return 'f32';
}
