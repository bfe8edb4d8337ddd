// GPU memory that a library takes, seen from outside: while the meter runs, its GPUDevice's createBuffer and each
// buffer's destroy are counted, and buffers from before that it uses again (libraries keep freed buffers) count as
// taken once they are bound or written. Staging buffers for reading (MAP_READ) do not count.

const MAP_READ = 1;

export interface MemoryMeter {
  readonly peakBytes: number;
  stop(): void;
}

/** Counts from now. Meters of one device may not overlap. */
export function meterMemory(device: GPUDevice): MemoryMeter {
  const { queue } = device;
  const seen = new WeakSet<GPUBuffer>();
  let [now, peak] = [0, 0];
  const take = (buffer: GPUBuffer): void => {
    if (seen.has(buffer) || buffer.usage & MAP_READ) return;
    seen.add(buffer);
    now += buffer.size;
    peak = Math.max(peak, now);
    const { destroy } = buffer;
    let gone = false;
    buffer.destroy = () => {
      if (!gone) now -= buffer.size;
      gone = true;
      return destroy.call(buffer);
    };
  };
  // The originals are on the prototypes; own properties hide them.
  const { createBuffer, createBindGroup } = device;
  const { writeBuffer } = queue;
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer.call(device, descriptor);
    take(buffer);
    return buffer;
  };
  device.createBindGroup = (descriptor) => {
    for (const { resource } of descriptor.entries) if ('buffer' in resource) take(resource.buffer);
    return createBindGroup.call(device, descriptor);
  };
  queue.writeBuffer = (...given: Parameters<typeof writeBuffer>) => {
    take(given[0]);
    return writeBuffer.apply(queue, given);
  };
  return {
    get peakBytes() {
      return peak;
    },
    stop() {
      for (const name of ['createBuffer', 'createBindGroup']) Reflect.deleteProperty(device, name);
      Reflect.deleteProperty(queue, 'writeBuffer');
    },
  };
}
