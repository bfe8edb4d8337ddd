// How many dispatches and readbacks a library makes on its GPUDevice while something runs: every encoder of the device
// is watched. A readback is a copy into a buffer that can be mapped.

import type { StepCounts } from './step.ts';

const MAP_READ = 1;

/** Counts while `work` runs; undefined without a device. */
export async function countWork(
  device: GPUDevice | undefined,
  work: () => Promise<unknown>,
): Promise<StepCounts | undefined> {
  if (!device) {
    await work();
    return undefined;
  }
  let [launches, readbacks] = [0, 0];
  // The originals are on the prototypes; own properties hide them.
  const { createCommandEncoder } = device;
  device.createCommandEncoder = (descriptor) => {
    const encoder = createCommandEncoder.call(device, descriptor);
    const { beginComputePass, copyBufferToBuffer } = encoder;
    encoder.copyBufferToBuffer = (...given: unknown[]) => {
      if (given.some((one) => typeof one === 'object' && one !== null && ((one as GPUBuffer).usage & MAP_READ) !== 0))
        readbacks++;
      return (copyBufferToBuffer as (...same: unknown[]) => undefined).apply(encoder, given);
    };
    encoder.beginComputePass = (passDescriptor) => {
      const pass = beginComputePass.call(encoder, passDescriptor);
      const { dispatchWorkgroups } = pass;
      pass.dispatchWorkgroups = (...grid: Parameters<typeof dispatchWorkgroups>) => {
        launches++;
        return dispatchWorkgroups.apply(pass, grid);
      };
      return pass;
    };
    return encoder;
  };
  try {
    await work();
  } finally {
    Reflect.deleteProperty(device, 'createCommandEncoder');
  }
  return { launches, readbacks };
}
