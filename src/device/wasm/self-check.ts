// Before a WebAssembly device trains, each kernel of its plans that has WebAssembly must give on a case of its contract
// what its reference gives, in this engine on this processor. A case is a few milliseconds, so all are checked, once
// per device. A kernel that runs its reference is listed.

import { SelfCheckError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import type { Device, PlannedLaunch } from '../device.ts';
import type { Kernel, Params } from '../kernel.ts';
import { chooseVariant } from '../variant.ts';
import type { Certificate, Check, Unchecked } from '../tune/certificate.ts';
import { errorOf, nearestCase, toleranceOf } from '../tune/golden.ts';
import { Workbench } from '../tune/workbench.ts';

/** What the reference computes in some milliseconds. */
const CASE_FLOPS = 5e6;
const PICKED = { variant: 'wasm', constants: {} };

export class WasmSelfCheck {
  readonly #device: Device;
  readonly #world: World;
  readonly #has: (kernel: string) => boolean;
  readonly #checks = new Map<string, Check>();
  readonly #unchecked = new Map<string, Unchecked>();
  readonly #launches = new Set<string>();
  #checkMs = 0;

  /** `has`: whether a kernel has WebAssembly. */
  constructor(device: Device, world: World, has: (kernel: string) => boolean) {
    this.#device = device;
    this.#world = world;
    this.#has = has;
  }

  /** As Device.qualify: rejects with SelfCheckError when a kernel is wrong. */
  async qualify(launches: readonly PlannedLaunch[]): Promise<Certificate> {
    const startMs = this.#world.now();
    for (const { kernel, params } of launches) {
      this.#launches.add(`${kernel.name} ${JSON.stringify(params)}`);
      if (!this.#checks.has(kernel.name) && !this.#unchecked.has(kernel.name)) await this.#check(kernel, params);
    }
    this.#checkMs += this.#world.now() - startMs;
    return {
      adapter: `${this.#device.adapter.architecture} | ${this.#device.adapter.description}`,
      launches: this.#launches.size,
      checks: [...this.#checks.values()],
      unchecked: [...this.#unchecked.values()],
      refused: [],
      decisions: [],
      checkMs: this.#checkMs,
      tuneMs: 0,
      notes: [],
    };
  }

  async #check(kernel: Kernel, params: Params): Promise<void> {
    const { name } = kernel;
    if (!this.#has(name)) {
      this.#unchecked.set(name, {
        kernel: name,
        variant: 'reference',
        constants: {},
        reason: 'it has no WebAssembly, so its reference runs',
      });
      return;
    }
    // Cases are chosen by a variant's support; on this device there is none.
    const choice = chooseVariant(kernel, params, this.#device.features);
    const near = nearestCase(kernel, choice.variant, params, this.#device.features, CASE_FLOPS);
    if (!near) {
      this.#unchecked.set(name, { kernel: name, ...PICKED, reason: 'no case of its contract is small enough' });
      return;
    }
    const bench = new Workbench(this.#device, this.#world, kernel, near);
    try {
      const outputs = await bench.outputs(await bench.prepare(choice));
      const error = errorOf(bench.expected(), outputs, toleranceOf(kernel, choice.variant));
      if (!(error <= 1))
        throw new SelfCheckError(name, { wasm: `${error.toPrecision(3)} times the allowed error on a known input` });
      this.#checks.set(name, { kernel: name, params: near, error, how: 'case', ...PICKED });
    } finally {
      bench.close();
    }
  }
}
