// AdamW over this rank's owned ranges of a flat parameter buffer, moments only for what is owned: one launch where nothing is owned by other ranks,
// otherwise one per range (a segment's share). Also the squared norm of the owned gradients, each element of the model counted on exactly one rank.
// Source: Loshchilov & Hutter 2019, as in torch.optim.AdamW.

import type { Device, DeviceBuffer, Launch, Range } from '../device/device.ts';
import type { FlatParams } from '../model/flat-params.ts';
import type { OwnedRange } from '../parallel/data/flat-sync.ts';
import { adamw } from '../../shaders/adamw.ts';
import { reduceSum } from '../../shaders/reduce-sum.ts';

const PARTIALS = 64;
const HYPER_COUNT = 10;

export interface AdamHyper { readonly betas: readonly [number, number]; readonly eps: number; readonly weightDecay: number }

/** Where both moments of an owned range lie. */
interface Moments { readonly owned: OwnedRange; readonly m: Range; readonly v: Range }

/** Flat elements [start, end), of which [decayStart, decayEnd) decay. */
type Run = Omit<OwnedRange, 'segment'>;

/** Neighbouring ranges as one, as long as what decays stays one range. */
function join(ranges: readonly Run[]): readonly Run[] {
  const runs: Run[] = [];
  for (const range of ranges) {
    const last = runs.at(-1);
    const parts = [last, range].filter((part): part is Run => part !== undefined && part.decayEnd > part.decayStart);
    const whole = parts.length < 2 || parts[0].decayEnd === parts[1].decayStart;
    if (last?.end !== range.start || !whole) { runs.push(range); continue; }
    const [decayStart, decayEnd] = parts.length ? [parts[0].decayStart, parts.at(-1)!.decayEnd] : [last.start, last.start];
    runs[runs.length - 1] = { start: last.start, decayStart, decayEnd, end: range.end };
  }
  return runs;
}

export class AdamW {
  readonly #device: Device;
  readonly #hyperBuffer: DeviceBuffer;
  readonly #partials: DeviceBuffer;
  readonly #updates: readonly Launch[];
  readonly #norms: readonly Launch[];
  /** In the order of the owned ranges. */
  readonly moments: readonly Moments[];

  private constructor(device: Device, hyperBuffer: DeviceBuffer, partials: DeviceBuffer, moments: readonly Moments[], updates: readonly Launch[], norms: readonly Launch[]) {
    this.#device = device;
    this.#hyperBuffer = hyperBuffer;
    this.#partials = partials;
    this.moments = moments;
    this.#updates = updates;
    this.#norms = norms;
  }

  /** `counts` says whether this rank counts an owned range in the global norm (replicas of tp-replicated ranges do not). */
  static async create(device: Device, params: FlatParams, owned: readonly OwnedRange[], counts: (range: OwnedRange) => boolean): Promise<AdamW> {
    const hyper = device.alloc(HYPER_COUNT * 4, 'optimizer', 'hyper');
    const runs = join(owned);
    const counted = join(owned.filter(counts));
    const partials = device.alloc(Math.max(1, counted.length) * PARTIALS * 4, 'optimizer', 'norm');
    const rangeOf = (buffer: DeviceBuffer, { start, end }: Run, from = 0): Range => ({ buffer, offset: (start - from) * 4, bytes: (end - start) * 4 });
    const updateOf = ({ start, decayStart, decayEnd, end }: Run) => ({ N: end - start, DECAY_START: decayStart - start, DECAY_END: decayEnd - start });
    const normOf = ({ start, end }: Run) => ({ N: end - start, SQUARE: 1, PARTS: PARTIALS });
    await device.qualify?.([...runs.map((range) => ({ kernel: adamw, params: updateOf(range), count: 1 })), ...counted.map((range) => ({ kernel: reduceSum, params: normOf(range), count: 1 }))]);
    const buffers = runs.map(({ start, end }) => ['m', 'v'].map((label) => device.alloc((end - start) * 4, 'optimizer', label)));
    const updates = await Promise.all(runs.map((run, i) => device.prepare(adamw, updateOf(run), {
      param: rangeOf(params.values, run), grad: rangeOf(params.grads, run), m: rangeOf(buffers[i][0], run, run.start), v: rangeOf(buffers[i][1], run, run.start),
      hyper: { buffer: hyper, offset: 0, bytes: HYPER_COUNT * 4 },
    })));
    const moments = owned.map((range): Moments => {
      const i = runs.findIndex(({ start, end }) => start <= range.start && range.end <= end);
      return { owned: range, m: rangeOf(buffers[i][0], range, runs[i].start), v: rangeOf(buffers[i][1], range, runs[i].start) };
    });
    const norms = await Promise.all(counted.map((range, i) => device.prepare(reduceSum, normOf(range), {
      x: rangeOf(params.grads, range), partials: { buffer: partials, offset: i * PARTIALS * 4, bytes: PARTIALS * 4 },
    })));
    return new AdamW(device, hyper, partials, moments, updates, norms);
  }

  /** Sum of squares of the owned gradients that this rank counts; one readback. */
  async squaredNorm(): Promise<number> {
    if (!this.#norms.length) return 0;
    const [bytes] = await this.#device.submit(this.#norms, [{ buffer: this.#partials, offset: 0, bytes: this.#norms.length * PARTIALS * 4 }]);
    return new Float32Array(bytes).reduce((sum, value) => sum + value, 0);
  }

  /** One update; `t` counts from 1, `gradScale` multiplies every gradient (1 / tokens, times the clipping factor). */
  async step(t: number, lr: number, gradScale: number, { betas: [beta1, beta2], eps, weightDecay }: AdamHyper): Promise<void> {
    // 1 - beta is taken in f64: in f32 1 - 0.999 is off by 5e-5.
    this.#device.write(this.#hyperBuffer, 0, new Float32Array([lr, beta1, beta2, eps, weightDecay, 1 - beta1 ** t, 1 - beta2 ** t, gradScale, 1 - beta1, 1 - beta2]));
    await this.#device.submit(this.#updates);
  }

  dispose(): void {
    for (const buffer of new Set([this.#hyperBuffer, this.#partials, ...this.moments.flatMap(({ m, v }) => [m.buffer, v.buffer])])) this.#device.free(buffer);
  }
}
