// AdamW over this rank's owned ranges of a flat parameter buffer: one launch per range (at most two per segment), moments only for what is owned.
// Also the squared norm of the owned gradients, each element of the model counted on exactly one rank. Source: Loshchilov & Hutter 2019, as in torch.optim.AdamW.

import type { Device, DeviceBuffer, Launch, Range } from '../device/device.ts';
import type { FlatParams } from '../model/flat-params.ts';
import type { OwnedRange } from '../parallel/data/flat-sync.ts';
import { adamw } from '../../shaders/adamw.ts';
import { reduceSum } from '../../shaders/reduce-sum.ts';

const PARTIALS = 64;
const HYPER_COUNT = 10;

export interface AdamHyper { readonly betas: readonly [number, number]; readonly eps: number; readonly weightDecay: number }

interface Moments { readonly owned: OwnedRange; readonly m: DeviceBuffer; readonly v: DeviceBuffer }

export class AdamW {
  readonly #device: Device;
  readonly #hyperBuffer: DeviceBuffer;
  readonly #partials: DeviceBuffer;
  readonly #updates: readonly Launch[];
  readonly #norms: readonly Launch[];
  readonly #counted: number;
  readonly moments: readonly Moments[];

  private constructor(device: Device, hyperBuffer: DeviceBuffer, partials: DeviceBuffer, moments: readonly Moments[], updates: readonly Launch[], norms: readonly Launch[]) {
    this.#device = device;
    this.#hyperBuffer = hyperBuffer;
    this.#partials = partials;
    this.moments = moments;
    this.#updates = updates;
    this.#norms = norms;
    this.#counted = norms.length;
  }

  /** `counts` says whether this rank counts an owned range in the global norm (replicas of tp-replicated ranges do not). */
  static async create(device: Device, params: FlatParams, owned: readonly OwnedRange[], counts: (range: OwnedRange) => boolean): Promise<AdamW> {
    const hyper = device.alloc(HYPER_COUNT * 4, 'optimizer', 'hyper');
    const counted = owned.filter(counts);
    const partials = device.alloc(Math.max(1, counted.length) * PARTIALS * 4, 'optimizer', 'norm');
    const rangeOf = (buffer: DeviceBuffer, { start, end }: OwnedRange): Range => ({ buffer, offset: start * 4, bytes: (end - start) * 4 });
    const moments = owned.map((range): Moments => {
      const bytes = (range.end - range.start) * 4;
      return { owned: range, m: device.alloc(bytes, 'optimizer', 'm'), v: device.alloc(bytes, 'optimizer', 'v') };
    });
    const updateOf = ({ start, end, decays }: OwnedRange) => ({ N: end - start, DECAY: decays ? 1 : 0 });
    const normOf = ({ start, end }: OwnedRange) => ({ N: end - start, SQUARE: 1, PARTS: PARTIALS });
    await device.qualify?.([...owned.map((range) => ({ kernel: adamw, params: updateOf(range), count: 1 })), ...counted.map((range) => ({ kernel: reduceSum, params: normOf(range), count: 1 }))]);
    const updates = await Promise.all(moments.map(({ owned: range, m, v }) => device.prepare(adamw, updateOf(range), {
      param: rangeOf(params.values, range), grad: rangeOf(params.grads, range), m: { buffer: m, offset: 0, bytes: m.bytes }, v: { buffer: v, offset: 0, bytes: v.bytes },
      hyper: { buffer: hyper, offset: 0, bytes: HYPER_COUNT * 4 },
    })));
    const norms = await Promise.all(counted.map((range, i) => device.prepare(reduceSum, normOf(range), {
      x: rangeOf(params.grads, range), partials: { buffer: partials, offset: i * PARTIALS * 4, bytes: PARTIALS * 4 },
    })));
    return new AdamW(device, hyper, partials, moments, updates, norms);
  }

  /** Sum of squares of the owned gradients that this rank counts; one readback. */
  async squaredNorm(): Promise<number> {
    if (!this.#counted) return 0;
    const [bytes] = await this.#device.submit(this.#norms, [{ buffer: this.#partials, offset: 0, bytes: this.#counted * PARTIALS * 4 }]);
    return new Float32Array(bytes).reduce((sum, value) => sum + value, 0);
  }

  /** One update; `t` counts from 1, `gradScale` multiplies every gradient (1 / tokens, times the clipping factor). */
  async step(t: number, lr: number, gradScale: number, { betas: [beta1, beta2], eps, weightDecay }: AdamHyper): Promise<void> {
    // 1 - beta is taken in f64: in f32 1 - 0.999 is off by 5e-5.
    this.#device.write(this.#hyperBuffer, 0, new Float32Array([lr, beta1, beta2, eps, weightDecay, 1 - beta1 ** t, 1 - beta2 ** t, gradScale, 1 - beta1, 1 - beta2]));
    await this.#device.submit(this.#updates);
  }

  dispose(): void {
    for (const buffer of [this.#hyperBuffer, this.#partials, ...this.moments.flatMap(({ m, v }) => [m, v])]) this.#device.free(buffer);
  }
}
