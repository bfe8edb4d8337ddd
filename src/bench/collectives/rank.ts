// One rank of the bench: the requests that need its communicator, its bare channels and its GPU. Runs in a worker, on a
// page or in a test.

import { TabmeshError } from '../../base/errors.ts';
import { realWorld } from '../../base/world.ts';
import { barrier } from '../../collectives/barrier.ts';
import type { Communicator } from '../../collectives/library/communicator.ts';
import { recv, send } from '../../collectives/point/send-recv.ts';
import type { Device, DeviceBuffer } from '../../device/device.ts';
import { recvRange, sendRange } from '../../ops/transfer.ts';
import { reasonOf } from '../failures.ts';
import { describeAdapter } from '../bench-report.ts';
import { collectiveNamed } from './catalogue.ts';
import type { Handlers, RankRequest } from './requests.ts';
import { countWrong, valueAt, valuesOf } from './numbers.ts';
import { RawPipes } from './raw.ts';
import type { RawChannel } from './raw.ts';

export interface RankParts {
  readonly communicator: Communicator;
  /** A bare channel to every other rank. */
  readonly raw: ReadonlyMap<number, RawChannel>;
  readonly openDevice: () => Promise<Device>;
  readonly now?: () => number;
}

export function createRank({
  communicator,
  raw,
  openDevice,
  now = realWorld.now,
}: RankParts): Handlers<RankRequest> & { leave(): void } {
  const { rank, size } = communicator;
  const pipes = new RawPipes(raw);
  /** A failure of the communicator must also end what waits for bare channels. */
  const failed = communicator.failed.then((error) => {
    throw error;
  });
  failed.catch(() => undefined);

  /** From the barrier until `work` is done. */
  async function timed(work: () => Promise<unknown>): Promise<number> {
    await barrier(communicator);
    const start = now();
    await Promise.race([work(), failed]);
    return now() - start;
  }

  async function repeat(times: number, work: () => Promise<unknown>): Promise<void> {
    for (let i = 0; i < times; i++) await work();
  }

  const { close, ...gpuJobs } = createGpuJobs(communicator, openDevice, timed);
  return {
    ...gpuJobs,
    async meet() {
      await Promise.race([pipes.opened(), failed]);
      await barrier(communicator);
      return [...new Set([...communicator.links.values()].map(({ kind }) => kind))];
    },
    async collective({ name, bytes, times, salt }) {
      const collective = collectiveNamed(name);
      const prepared = collective.prepare(communicator, collective.count(bytes, size), salt);
      prepared.clear();
      const ms = await timed(() => repeat(times, () => prepared.run()));
      return { ms: ms / times, wrong: prepared.wrong() };
    },
    async raw({ traffic, times, setting }) {
      return (await timed(() => repeat(times, () => pipes.run(rank, traffic, setting)))) / times;
    },
    async roundTrip({ bytes, times }) {
      if (rank === 1) pipes.echo(0, true);
      const ms = await timed(() => (rank === 0 ? pipes.roundTrips(1, bytes, times) : Promise.resolve()));
      // Rank 1 echoes until rank 0 has its last answer.
      await barrier(communicator);
      if (rank === 1) pipes.echo(0, false);
      return rank === 0 ? ms / times : 0;
    },
    async transfer({ bytes, times, salt }) {
      const count = bytes / 4;
      const told = new Float32Array(1);
      if (rank > 1) {
        await timed(() => Promise.resolve());
        return { ms: 0, wrong: 0 };
      }
      const x = rank === 0 ? valuesOf(0, count, salt) : new Float32Array(count).fill(NaN);
      const once =
        rank === 0
          ? () => Promise.all([send(communicator, 1, x), recv(communicator, 1, told)])
          : async () => {
              await recv(communicator, 0, x);
              await send(communicator, 0, told);
            };
      const ms = await timed(() => repeat(times, once));
      return { ms: ms / times, wrong: rank === 1 ? countWrong(x, count, (i) => valueAt(0, i, salt)) : 0 };
    },
    leave() {
      communicator.leave();
      close();
    },
  };
}

/** The requests on this rank's device: `openGpu` opens it, `close` destroys it. */
function createGpuJobs(
  communicator: Communicator,
  openDevice: () => Promise<Device>,
  timed: (work: () => Promise<unknown>) => Promise<number>,
): Pick<Handlers<RankRequest>, 'openGpu' | 'gpu'> & { close(): void } {
  const { rank } = communicator;
  let device: Device | undefined;
  let buffer: DeviceBuffer | undefined;

  const gpuBuffer = (on: Device, bytes: number): DeviceBuffer => {
    if (buffer && buffer.bytes !== bytes) {
      on.free(buffer);
      buffer = undefined;
    }
    return (buffer ??= on.alloc(bytes, 'staging', 'bench gpu-to-gpu'));
  };

  return {
    async openGpu() {
      try {
        device ??= await openDevice();
        return { adapter: describeAdapter(device.adapter) };
      } catch (error) {
        return { reason: reasonOf(error) };
      }
    },
    async gpu({ bytes, overlapped, salt }) {
      if (rank > 1) {
        await timed(() => Promise.resolve());
        return { ms: 0, wrong: 0 };
      }
      const on = device;
      if (!on) throw new TabmeshError('the GPU of this rank is not open');
      const range = { buffer: gpuBuffer(on, bytes), offset: 0, bytes };
      // Pieces as long as the array: read all, send all, write all.
      const options = overlapped ? {} : { pieceBytes: bytes };
      on.write(range.buffer, 0, rank === 0 ? valuesOf(0, bytes / 4, salt) : new Float32Array(bytes / 4));
      await on.idle();
      const ms = await timed(
        rank === 0
          ? () => sendRange(communicator, on, range, 1, options)
          : async () => {
              await recvRange(communicator, on, range, 0, options);
              await on.idle();
            },
      );
      if (rank === 0) return { ms, wrong: 0 };
      const [back] = await on.submit([], [range]);
      return { ms, wrong: countWrong(new Float32Array(back), bytes / 4, (i) => valueAt(0, i, salt)) };
    },
    close() {
      device?.destroy();
    },
  };
}
