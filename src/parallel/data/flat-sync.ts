// Data parallelism in the ZeRO-1 shape over a stage's flat buffers. Each segment is cut into one owned range per
// replica; gradients are reduce-scattered to the owner in rank order, the owner's AdamW updates its range, the bytes
// are all-gathered. Replicas are dp x sp x ep (dp x sp for experts). Values that all tp ranks hold are then broadcast
// from tp rank 0, so that replicas hold equal bytes on unequal GPUs. Bytes sent per rank and step for a segment of n
// elements over G replicas, owner of p: 4 (n - p) reduce-scatter, 4 (G - 1) p all-gather.

import { allGather, allGatherBytes } from '../../collectives/all-gather.ts';
import { broadcast, broadcastBytes } from '../../collectives/broadcast.ts';
import type { Group } from '../../collectives/group.ts';
import type { Mesh } from '../../collectives/mesh.ts';
import { reduceScatter, reduceScatterBytes } from '../../collectives/reduce-scatter.ts';
import type { AxisName } from '../../base/axis.ts';
import type { Device, DeviceBuffer } from '../../device/device.ts';
import type { Traffic } from '../../device/recorder.ts';
import { ALIGNMENT } from '../../model/flat-params.ts';
import type { FlatLayout, FlatParams, SegmentRange } from '../../model/flat-params.ts';

type F32 = Float32Array<ArrayBuffer>;

/** Flat elements [start, end) that this rank updates; [decayStart, decayEnd) of them decay. */
export type OwnedRange = SegmentRange;

/**
 * The ranges that the replica `place(segment).rank` of `place(segment).size` updates, at most one per segment, in
 * order.
 */
export function ownedRanges(
  layout: FlatLayout,
  place: (range: SegmentRange) => { readonly rank: number; readonly size: number },
): readonly OwnedRange[] {
  return layout.segments
    .filter(({ segment }) => segment !== 'tied')
    .map((range) => {
      const { rank, size } = place(range);
      const offsets = alignedParts(range.end - range.start, size);
      const start = range.start + offsets[rank];
      const end = range.start + offsets[rank + 1];
      const inside = (at: number): number => Math.min(end, Math.max(start, at));
      return {
        segment: range.segment,
        start,
        decayStart: inside(range.decayStart),
        decayEnd: inside(range.decayEnd),
        end,
      };
    })
    .filter((own) => own.end > own.start);
}

interface Share {
  readonly range: SegmentRange;
  readonly group: Group;
  readonly offsets: readonly number[];
}

export function replicaAxes(segment: SegmentRange['segment']): readonly AxisName[] {
  return segment === 'expert' ? ['dp', 'sp'] : ['dp', 'sp', 'ep'];
}

/** Boundaries of `size` parts of `count` elements, all but the last a multiple of 64 elements. */
export function alignedParts(count: number, size: number): number[] {
  const part = Math.ceil(count / ALIGNMENT / size) * ALIGNMENT;
  return Array.from({ length: size + 1 }, (_, i) => Math.min(count, i * part));
}

export class FlatSync {
  readonly owned: readonly OwnedRange[];
  readonly #device: Device;
  readonly #params: FlatParams;
  readonly #shares: readonly Share[];
  readonly #replicated: SegmentRange | undefined;
  readonly #tp: Group;

  constructor(device: Device, mesh: Mesh, params: FlatParams) {
    this.#device = device;
    this.#params = params;
    this.#tp = mesh.axis('tp');
    // The tied copy belongs to the first stage, which updates it.
    this.#shares = params.layout.segments
      .filter(({ segment }) => segment !== 'tied')
      .map((range) => {
        const group = mesh.group(replicaAxes(range.segment));
        return { range, group, offsets: alignedParts(range.end - range.start, group.size) };
      });
    this.#replicated = params.layout.segments.find(({ segment }) => segment === 'replicated');
    this.owned = ownedRanges(params.layout, ({ segment }) => mesh.group(replicaAxes(segment)));
  }

  /**
   * Sums the gradients of all replicas into the owned ranges of the flat gradient buffer. The rest of the buffer is
   * then stale.
   */
  async reduceGradients(): Promise<void> {
    const shares = this.#shares.filter(({ group }) => group.size > 1);
    const parts = await this.#read(
      this.#params.grads,
      shares.map(({ range }) => range),
    );
    await Promise.all(
      shares.map(async ({ range, group, offsets }, i) => {
        const [from, to] = [offsets[group.rank], offsets[group.rank + 1]];
        const sum = new Float32Array(to - from);
        await reduceScatter(group, parts[i], offsets, sum);
        if (sum.length) this.#device.write(this.#params.grads, (range.start + from) * 4, sum);
      }),
    );
  }

  /** All-gathers the owned ranges of the weights, then broadcasts what all tp ranks hold. */
  async publish(): Promise<void> {
    const { values } = this.#params;
    const shares = this.#shares.filter(({ group }) => group.size > 1);
    const own = shares.map(({ range, group, offsets }) => ({
      start: range.start + offsets[group.rank],
      end: range.start + offsets[group.rank + 1],
    }));
    const parts = await this.#read(values, own);
    await Promise.all(
      shares.map(async ({ range, group, offsets }, i) => {
        const all = new Float32Array(range.end - range.start);
        await allGather(group, parts[i], offsets, all);
        this.#device.write(values, range.start * 4, all);
      }),
    );
    if (this.#tp.size > 1 && this.#replicated) {
      const { start, end } = this.#replicated;
      const [data] = await this.#read(values, [{ start, end }]);
      await broadcast(this.#tp, data, 0);
      if (this.#tp.rank !== 0) this.#device.write(values, start * 4, data);
    }
  }

  /** What this rank sends in one reduceGradients and one publish. */
  traffic(): readonly Traffic[] {
    const shared = this.#shares.filter(({ group }) => group.size > 1);
    const { start, end } = this.#replicated ?? { start: 0, end: 0 };
    return [
      ...shared.flatMap(({ group: { rank }, offsets }) => [
        { kind: 'reduce-scatter', bytes: reduceScatterBytes(rank, offsets) },
        { kind: 'all-gather', bytes: allGatherBytes(rank, offsets) },
      ]),
      { kind: 'broadcast', bytes: broadcastBytes(this.#tp.rank, this.#tp.size, 0, end - start) },
    ];
  }

  async #read(buffer: DeviceBuffer, ranges: readonly { start: number; end: number }[]): Promise<F32[]> {
    if (!ranges.length) return [];
    const parts = await this.#device.submit(
      [],
      ranges.map(({ start, end }) => ({ buffer, offset: start * 4, bytes: (end - start) * 4 })),
    );
    return parts.map((part) => new Float32Array(part));
  }
}
