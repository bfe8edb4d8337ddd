// A buffer from device to device over loopback: the bytes arrive and are counted, pieces overlap, little is held,
// failures end both sides.

import { describe, expect, it } from 'vitest';
import { PeerError } from '../../src/base/errors.ts';
import { connectLoopback } from '../../src/collectives/library/connect.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { Device, Range } from '../../src/device/device.ts';
import { recvRange, sendRange } from '../../src/ops/transfer.ts';

const KIB = 1024;

/** Two devices and two ranks; the first buffer is 0, 1, 2, ... */
function pair(bytes: number, offset = 0) {
  const ranks = connectLoopback(2);
  const devices = [createCpuDevice(), createCpuDevice()];
  const ranges = devices.map((device): Range => ({
    buffer: device.alloc(bytes + offset + 64, 'staging', 'test'),
    offset,
    bytes,
  }));
  devices[0].write(
    ranges[0].buffer,
    offset,
    Uint32Array.from({ length: bytes / 4 }, (_, i) => i),
  );
  const read = async (): Promise<Uint32Array> =>
    new Uint32Array(
      (await devices[1].submit([], [{ buffer: ranges[1].buffer, offset: 0, bytes: bytes + offset + 64 }]))[0],
    );
  return { ranks, devices, ranges, read };
}

describe('a transfer', () => {
  it.each(
    [
      [0, 4096],
      [4, 4096],
      [4096, 4096],
      [100 * KIB, 32 * KIB],
      [2500 * KIB, 1024 * KIB],
      [300 * KIB, 4],
    ].filter(([bytes, piece]) => bytes / piece < 10_000),
  )('of %d bytes in pieces of %d fills the range and nothing else', async (bytes, pieceBytes) => {
    const { ranks, devices, ranges, read } = pair(bytes, 32);
    await Promise.all([
      sendRange(ranks[0], devices[0], ranges[0], 1, { pieceBytes }),
      recvRange(ranks[1], devices[1], ranges[1], 0, { pieceBytes }),
    ]);
    expect(await read()).toEqual(
      Uint32Array.from({ length: (bytes + 96) / 4 }, (_, i) => (i >= 8 && i < 8 + bytes / 4 ? i - 8 : 0)),
    );
    expect(ranks[0].ledger.sentByKind()).toEqual(bytes === 0 ? {} : { send: bytes });
    expect(ranks[1].ledger.sentByKind()).toEqual({});
    expect(devices[0].counters.readbacks).toBe(Math.ceil(bytes / pieceBytes));
    for (const rank of ranks) rank.leave();
  });

  it('reads the next piece while one travels, and never runs far ahead of a slow receiver', async () => {
    const { ranks, devices, ranges, read } = pair(8 * 512 * KIB);
    let reads = 0;
    const sender: Device = {
      ...devices[0],
      submit: (launches, readback) => {
        reads++;
        return devices[0].submit(launches, readback);
      },
    };
    const seen: number[] = [];
    const receiver: Device = {
      ...devices[1],
      write: (buffer, offset, data) => {
        seen.push(reads);
        devices[1].write(buffer, offset, data);
      },
    };
    await Promise.all([
      sendRange(ranks[0], sender, ranges[0], 1, { pieceBytes: 512 * KIB }),
      recvRange(ranks[1], receiver, ranges[1], 0, { pieceBytes: 512 * KIB }),
    ]);
    expect(seen).toHaveLength(8);
    // When piece i is written, piece i + 1 has been asked for; and no more than what may be held at both ends.
    for (const [i, read] of seen.entries()) {
      expect(read, `reads when piece ${i} is written`).toBeGreaterThanOrEqual(Math.min(8, i + 2));
      expect(read, `reads when piece ${i} is written`).toBeLessThanOrEqual(i + 5);
    }
    expect((await read()).slice(-17, -16)).toEqual(Uint32Array.of(8 * 128 * KIB - 1));
    for (const rank of ranks) rank.leave();
  });

  it('two at once, both ways, keep apart', async () => {
    const { ranks, devices, ranges } = pair(200 * KIB);
    const back = devices.map((device): Range => ({
      buffer: device.alloc(200 * KIB, 'staging', 'back'),
      offset: 0,
      bytes: 200 * KIB,
    }));
    devices[1].write(back[1].buffer, 0, new Uint32Array(50 * KIB).fill(7));
    const options = { pieceBytes: 64 * KIB };
    await Promise.all([
      sendRange(ranks[0], devices[0], ranges[0], 1, options),
      recvRange(ranks[0], devices[0], back[0], 1, options),
      recvRange(ranks[1], devices[1], ranges[1], 0, options),
      sendRange(ranks[1], devices[1], back[1], 0, options),
    ]);
    const [there] = await devices[1].submit([], [ranges[1]]);
    const [here] = await devices[0].submit([], [back[0]]);
    expect(new Uint32Array(there).every((value, i) => value === i)).toBe(true);
    expect(new Uint32Array(here).every((value) => value === 7)).toBe(true);
    for (const rank of ranks) rank.leave();
  });

  it('fails on both sides when the sender aborts, and at once for ranges that do not fit', async () => {
    const { ranks, devices, ranges } = pair(2048 * KIB);
    const broken: Device = {
      ...devices[0],
      submit: async () => {
        throw new Error('the GPU went away');
      },
    };
    const receiving = recvRange(ranks[1], devices[1], ranges[1], 0);
    await expect(sendRange(ranks[0], broken, ranges[0], 1)).rejects.toThrow('the GPU went away');
    ranks[0].abort(new PeerError(0, 'device-lost', 'the GPU went away'));
    await expect(receiving).rejects.toMatchObject({ culprit: 0, evidence: 'device-lost' });
    await expect(sendRange(ranks[0], devices[0], { ...ranges[0], bytes: 6 }, 1)).rejects.toThrow(
      'expected multiples of 4 bytes, got 6',
    );
    await expect(recvRange(ranks[0], devices[0], ranges[0], 1, { pieceBytes: 0 })).rejects.toThrow('in pieces of 0');
  });

  it('in pieces that the two ends cut differently fails with both signatures', async () => {
    const { ranks, devices, ranges } = pair(64 * KIB);
    const both = [
      sendRange(ranks[0], devices[0], ranges[0], 1, { pieceBytes: 32 * KIB }),
      recvRange(ranks[1], devices[1], ranges[1], 0, { pieceBytes: 16 * KIB }),
    ];
    const ends = await Promise.allSettled(both);
    expect(ends[1]).toMatchObject({ status: 'rejected', reason: { evidence: 'wrong-signature' } });
  });
});
