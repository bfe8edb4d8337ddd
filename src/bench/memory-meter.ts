// GPU memory that a library takes, seen from outside: its GPUDevice's createBuffer and each buffer's destroy are counted while the meter runs. Buffers
// that the library keeps for reuse count as taken, as they are. Staging buffers for reading (MAP_READ) do not count.

const MAP_READ = 1;

export interface MemoryMeter { readonly peakBytes: number; stop(): void }

/** Counts from now; buffers made before are not seen. Meters of one device may not overlap. */
export function meterMemory(device: GPUDevice): MemoryMeter {
  let [now, peak] = [0, 0];
  // The original is on the prototype; our own property hides it.
  const create = device.createBuffer;
  device.createBuffer = (descriptor) => {
    const buffer = create.call(device, descriptor);
    if (descriptor.usage & MAP_READ) return buffer;
    now += descriptor.size;
    peak = Math.max(peak, now);
    const destroy = buffer.destroy;
    let gone = false;
    buffer.destroy = () => {
      if (!gone) now -= descriptor.size;
      gone = true;
      return destroy.call(buffer);
    };
    return buffer;
  };
  return {
    get peakBytes() { return peak; },
    stop() { Reflect.deleteProperty(device, 'createBuffer'); },
  };
}
