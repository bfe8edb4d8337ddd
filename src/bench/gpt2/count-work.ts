// How many dispatches and readbacks a library makes on its GPUDevice while something runs: every encoder of the device is watched.

import type { StepCounts } from './step.ts';

const MAP_READ = 1;

/** Counts while `work` runs. */
export async function countWork(device: GPUDevice, work: () => Promise<unknown>): Promise<StepCounts> {
  let [launches, readbacks] = [0, 0];
  // The originals are on the prototypes; own properties hide them.
  const { createCommandEncoder, createBuffer } = device;
  device.createCommandEncoder = (descriptor) => {
    const encoder = createCommandEncoder.call(device, descriptor);
    const { beginComputePass } = encoder;
    encoder.beginComputePass = (passDescriptor) => {
      const pass = beginComputePass.call(encoder, passDescriptor);
      const { dispatchWorkgroups } = pass;
      pass.dispatchWorkgroups = (...grid: Parameters<typeof dispatchWorkgroups>) => { launches++; return dispatchWorkgroups.apply(pass, grid); };
      return pass;
    };
    return encoder;
  };
  device.createBuffer = (descriptor) => {
    if (descriptor.usage & MAP_READ) readbacks++;
    return createBuffer.call(device, descriptor);
  };
  try {
    await work();
  } finally {
    for (const name of ['createCommandEncoder', 'createBuffer']) Reflect.deleteProperty(device, name);
  }
  return { launches, readbacks };
}
