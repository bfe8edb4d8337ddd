// AdamW over this rank's owned ranges of a flat parameter buffer, moments only for what is owned: one launch where
// nothing is owned by other ranks, otherwise one per range (a segment's share). Also the squared norm of the owned
// gradients, each element of the model counted on exactly one rank, their largest, and whether the last update left the
// bounds within which the next is safe. Source: Loshchilov & Hutter 2019, as in torch.optim.AdamW.

import type { Device, DeviceBuffer, Launch, Range } from '../device/device.ts';
import { ALIGNMENT } from '../model/flat-params.ts';
import type { FlatParams } from '../model/flat-params.ts';
import type { OwnedRange } from '../parallel/data/flat-sync.ts';
import { adamw } from '../../shaders/optimizer/adamw.ts';
import { BIN_WORDS, MOST_PER_PART, squareBins } from '../../shaders/optimizer/square-bins.ts';
import { addSquares, NO_SQUARES, readBins } from './step/square-sum.ts';
import type { SquareSum } from './step/square-sum.ts';

/** Elements that one thread of the norm adds, as long as there are few threads: memory is read side by side. */
const PER_PART = 1024;
const MANY_PARTS = 4096;
/** Of 2^100, as in adamw.wgsl. */
const MOST_WEIGHT_BITS = 0x71800000;
const HYPER_COUNT = 10;

export interface AdamHyper {
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
}

/** Where both moments of an owned range lie. */
interface Moments {
  readonly owned: OwnedRange;
  readonly m: Range;
  readonly v: Range;
}

/** Flat elements [start, end), of which [decayStart, decayEnd) decay. */
type Run = Omit<OwnedRange, 'segment'>;

/** Neighbouring ranges as one, as long as what decays stays one range. */
function join(ranges: readonly Run[]): readonly Run[] {
  const runs: Run[] = [];
  for (const range of ranges) {
    const last = runs.at(-1);
    const parts = [last, range].filter((part): part is Run => part !== undefined && part.decayEnd > part.decayStart);
    const whole = parts.length < 2 || parts[0].decayEnd === parts[1].decayStart;
    if (last?.end !== range.start || !whole) {
      runs.push(range);
      continue;
    }
    const [decayStart, decayEnd] = parts.length
      ? [parts[0].decayStart, parts.at(-1)!.decayEnd]
      : [last.start, last.start];
    runs[runs.length - 1] = { start: last.start, decayStart, decayEnd, end: range.end };
  }
  return runs;
}

function partsOf(count: number): number {
  return Math.max(Math.min(MANY_PARTS, Math.ceil(count / PER_PART)), Math.ceil(count / MOST_PER_PART));
}

/** Of this rank's owned gradients. */
export interface Measured {
  /** Of those that this rank counts. */
  readonly squares: SquareSum;
  /** Bits of the largest absolute value. */
  readonly most: number;
  /** A weight is no number or too large, or the last update made such a moment. */
  readonly beyond: boolean;
}

/** Of the stages of a rank. */
export function joinMeasured(parts: readonly Measured[]): Measured {
  return {
    squares: addSquares(parts.map(({ squares }) => squares)),
    most: Math.max(0, ...parts.map(({ most }) => most)),
    beyond: parts.some(({ beyond }) => beyond),
  };
}

interface Norm {
  readonly launch: Launch;
  readonly range: Range;
  readonly counts: boolean;
}

export class AdamW {
  readonly #device: Device;
  readonly #hyperBuffer: DeviceBuffer;
  readonly #flags: DeviceBuffer;
  readonly #bins: DeviceBuffer;
  readonly #updates: readonly Launch[];
  readonly #norms: readonly Norm[];
  /** In the order of the owned ranges. */
  readonly moments: readonly Moments[];

  private constructor(
    device: Device,
    buffers: { readonly hyper: DeviceBuffer; readonly flags: DeviceBuffer; readonly bins: DeviceBuffer },
    moments: readonly Moments[],
    updates: readonly Launch[],
    norms: readonly Norm[],
  ) {
    this.#device = device;
    this.#hyperBuffer = buffers.hyper;
    this.#flags = buffers.flags;
    this.#bins = buffers.bins;
    this.moments = moments;
    this.#updates = updates;
    this.#norms = norms;
  }

  /**
   * `counts` says whether this rank counts an owned range in the global norm (replicas of tp-replicated ranges do not);
   * `group` as in squareGroup.
   */
  static async create(
    device: Device,
    params: FlatParams,
    owned: readonly OwnedRange[],
    counts: (range: OwnedRange) => boolean,
    group: 1 | 4,
  ): Promise<AdamW> {
    const hyper = device.alloc(HYPER_COUNT * 4, 'optimizer', 'hyper');
    const runs = join(owned);
    const flags = device.alloc(4, 'optimizer', 'flags');
    const measured = [true, false].flatMap((counted) =>
      join(owned.filter((range) => counts(range) === counted)).map((run) => ({ run, counted })),
    );
    const normOf = ({ start, end }: Run) => ({ N: end - start, GROUP: group, PARTS: partsOf(end - start) });
    // Each launch has a range of its own, at a place where a binding may begin.
    const sizes = measured.map(({ run }) => Math.ceil((normOf(run).PARTS * BIN_WORDS) / ALIGNMENT) * ALIGNMENT);
    const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, size) => sum + size, 0));
    const bins = device.alloc(
      Math.max(
        ALIGNMENT,
        sizes.reduce((sum, size) => sum + size, 0),
      ) * 4,
      'optimizer',
      'norm',
    );
    const rangeOf = (buffer: DeviceBuffer, { start, end }: Run, from = 0): Range => ({
      buffer,
      offset: (start - from) * 4,
      bytes: (end - start) * 4,
    });
    const updateOf = ({ start, decayStart, decayEnd, end }: Run) => ({
      N: end - start,
      DECAY_START: decayStart - start,
      DECAY_END: decayEnd - start,
    });
    await device.qualify?.([
      ...runs.map((range) => ({ kernel: adamw, params: updateOf(range), count: 1 })),
      ...measured.map(({ run }) => ({ kernel: squareBins, params: normOf(run), count: 1 })),
    ]);
    const buffers = runs.map(({ start, end }) =>
      ['m', 'v'].map((label) => device.alloc((end - start) * 4, 'optimizer', label)),
    );
    const updates = await Promise.all(
      runs.map((run, i) =>
        device.prepare(adamw, updateOf(run), {
          param: rangeOf(params.values, run),
          grad: rangeOf(params.grads, run),
          m: rangeOf(buffers[i][0], run, run.start),
          v: rangeOf(buffers[i][1], run, run.start),
          hyper: { buffer: hyper, offset: 0, bytes: HYPER_COUNT * 4 },
          flags: { buffer: flags, offset: 0, bytes: 4 },
        }),
      ),
    );
    const moments = owned.map((range): Moments => {
      const i = runs.findIndex(({ start, end }) => start <= range.start && range.end <= end);
      return {
        owned: range,
        m: rangeOf(buffers[i][0], range, runs[i].start),
        v: rangeOf(buffers[i][1], range, runs[i].start),
      };
    });
    const norms = await Promise.all(
      measured.map(async ({ run, counted }, i): Promise<Norm> => {
        const range = { buffer: bins, offset: starts[i]! * 4, bytes: normOf(run).PARTS * BIN_WORDS * 4 };
        return {
          launch: await device.prepare(squareBins, normOf(run), {
            x: rangeOf(params.grads, run),
            w: rangeOf(params.values, run),
            bins: range,
          }),
          range,
          counts: counted,
        };
      }),
    );
    return new AdamW(device, { hyper, flags, bins }, moments, updates, norms);
  }

  /** What the step's decision needs; one readback. */
  async measure(): Promise<Measured> {
    if (!this.#norms.length) return { squares: NO_SQUARES, most: 0, beyond: false };
    const [flags, ...bytes] = await this.#device.submit(
      this.#norms.map(({ launch }) => launch),
      [{ buffer: this.#flags, offset: 0, bytes: 4 }, ...this.#norms.map(({ range }) => range)],
    );
    const sums = bytes.map((part) => readBins(new Uint32Array(part)));
    return {
      squares: addSquares(sums.filter((_, i) => this.#norms[i]!.counts).map(({ squares }) => squares)),
      most: Math.max(...sums.map(({ most }) => most)),
      beyond: new Uint32Array(flags!)[0] !== 0 || sums.some(({ weights }) => weights > MOST_WEIGHT_BITS),
    };
  }

  /** One update; `t` counts from 1, `gradScale` multiplies every gradient (1 / tokens, times the clipping factor). */
  async step(
    t: number,
    lr: number,
    gradScale: number,
    { betas: [beta1, beta2], eps, weightDecay }: AdamHyper,
  ): Promise<void> {
    // 1 - beta is taken in f64: in f32 1 - 0.999 is off by 5e-5.
    this.#device.write(
      this.#hyperBuffer,
      0,
      new Float32Array([
        lr,
        beta1,
        beta2,
        eps,
        weightDecay,
        1 - beta1 ** t,
        1 - beta2 ** t,
        gradScale,
        1 - beta1,
        1 - beta2,
      ]),
    );
    await this.#device.submit(this.#updates);
  }

  dispose(): void {
    for (const buffer of new Set([
      this.#hyperBuffer,
      this.#flags,
      this.#bins,
      ...this.moments.flatMap(({ m, v }) => [m.buffer, v.buffer]),
    ]))
      this.#device.free(buffer);
  }
}
