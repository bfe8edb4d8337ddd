// A device that computes nothing and only counts what is allocated on it, so that the memory of a plan is known before
// a device is opened.

import { InternalError } from '../../base/errors.ts';
import { CPU_FEATURES } from '../../device/cpu.ts';
import type { AdapterInfo, Device, DeviceBuffer, Launch, MemoryTag } from '../../device/device.ts';
import type { Kernel, Params } from '../../device/kernel.ts';
import { MemoryLedger, newCounters } from '../../device/memory.ts';

/** Plans can be built on it and not be run: `submit` rejects. */
export function createCountingDevice(): Device {
  const memory = new MemoryLedger();
  const adapter: AdapterInfo = {
    vendor: 'tabmesh',
    architecture: 'counting',
    description: 'counts memory, computes nothing',
    software: true,
  };
  const freed = new WeakSet<DeviceBuffer>();
  return {
    kind: 'cpu',
    adapter,
    features: CPU_FEATURES,
    counters: newCounters(),
    memory: memory.byTag,
    lost: new Promise(() => undefined),
    alloc(bytes, tag: MemoryTag, label) {
      memory.add(tag, bytes);
      return { bytes, tag, label };
    },
    free(buffer) {
      if (freed.has(buffer)) return;
      freed.add(buffer);
      memory.add(buffer.tag, -buffer.bytes);
    },
    write() {
      /* Nothing is kept. */
    },
    copy() {
      /* Nothing is kept. */
    },
    prepare: (kernel: Kernel, params: Params) =>
      Promise.resolve<Launch>({ kernel: kernel.name, variant: 'none', flops: kernel.cost(params).flops }),
    submit: () => Promise.reject(new InternalError('a device that only counts was asked to compute')),
    idle: () => Promise.resolve(),
    destroy() {
      /* It holds nothing. */
    },
  };
}
