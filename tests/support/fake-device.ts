// A device without a GPU for tests of the tuner and the self-check: its launches run the kernel's reference, then
// whatever the chosen variant does wrong, and every compile and launch moves the clock of its world by what the variant
// says. A variant's behaviour stands in its source, as JSON.

import type { World } from '../../src/base/world.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { Device, Launch, Range } from '../../src/device/device.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import type { Kernel, Params, Variant } from '../../src/device/kernel.ts';
import { chooseVariant } from '../../src/device/variant.ts';
import type { Qualifier } from '../../src/device/tune/qualifier.ts';

export interface Behaviour {
  readonly compileMs?: number;
  readonly runMs: number;
  /** What the GPU's timestamps say of one launch; absent: no timestamps. */
  readonly gpuMs?: number;
  readonly wrong?: 'off' | 'nan' | 'compile' | 'lost';
}

export class ClockWorld implements World {
  ms = 1000;
  now(): number {
    return this.ms;
  }
  timer(): () => void {
    return () => {
      /* never fires */
    };
  }
  randomBytes(): Uint8Array<ArrayBuffer> {
    throw new Error('no randomness here');
  }
}

/** out[i] = FACTOR * x[i], with variants by name that behave as told. */
export function fakeKernel(
  variants: Readonly<Record<string, Behaviour>>,
  more: Partial<Variant> = {},
  name = 'fake',
): Kernel {
  return defineKernel({
    name,
    bindings: { x: 'read', out: 'read_write' },
    params: { N: 'elements', FACTOR: 'factor' },
    variants: Object.entries(variants).map(([variant, behaviour]) => ({
      name: variant,
      source: JSON.stringify(behaviour),
      grid: () => [1, 1, 1] as const,
      ...more,
    })),
    cost: ({ N }) => ({ flops: N, bytes: 8 * N }),
    reference({ x, out }, { N, FACTOR }) {
      for (let i = 0; i < N; i++) out[i] = FACTOR * x[i];
    },
    sizes: ({ N }) => ({ x: N, out: N }),
    cases: [
      { N: 1, FACTOR: 2 },
      { N: 100, FACTOR: 3 },
    ],
  }) as unknown as Kernel;
}

export interface FakeDevice extends Device {
  /** 'kernel/variant' of every compile and of every submitted launch, in order. */
  readonly compiled: string[];
  readonly ran: string[];
}

export function fakeDevice(world: ClockWorld, qualifier?: Qualifier): FakeDevice {
  const cpu = createCpuDevice();
  const compiled: string[] = [];
  const ran: string[] = [];
  const known = new Set<string>();
  const behaviours = new Map<Launch, { readonly behaviour: Behaviour; readonly out: Range }>();
  const device: FakeDevice = {
    ...cpu,
    kind: 'webgpu',
    compiled,
    ran,
    ...(qualifier ? { qualify: (launches) => qualifier.qualify(device, launches) } : {}),
    async prepare(kernel: Kernel, params: Params, io, choice) {
      const { variant, constants } = choice ?? chooseVariant(kernel, params, cpu.features, qualifier?.choose);
      const behaviour = JSON.parse(variant.source) as Behaviour;
      const key = `${variant.name} ${JSON.stringify(constants)}`;
      if (!known.has(key)) {
        known.add(key);
        compiled.push(`${kernel.name}/${variant.name}`);
        world.ms += behaviour.compileMs ?? 0;
      }
      if (behaviour.wrong === 'compile') throw new Error(`${variant.name} does not compile`);
      const launch = { ...(await cpu.prepare(kernel, params, io)), variant: variant.name };
      behaviours.set(launch, { behaviour, out: io['out'] });
      return launch;
    },
    async submit(launches, readback) {
      for (const launch of launches) {
        const { behaviour, out } = behaviours.get(launch)!;
        ran.push(`${launch.kernel}/${launch.variant}`);
        world.ms += behaviour.runMs;
        if (behaviour.wrong === 'lost') cpu.destroy();
        await cpu.submit([launch]);
        if (behaviour.wrong)
          cpu.write(out.buffer, out.offset, new Float32Array([behaviour.wrong === 'nan' ? NaN : 1e6]));
      }
      return cpu.submit([], readback);
    },
    async time(launch, repetitions) {
      const { behaviour } = behaviours.get(launch)!;
      world.ms += behaviour.runMs * repetitions;
      return behaviour.gpuMs === undefined ? undefined : behaviour.gpuMs * repetitions;
    },
  };
  return device;
}
