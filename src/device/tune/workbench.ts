// One launch on the bench: buffers with known inputs, the outputs of any variant, and its time. Free it with `close`.

import { LimitError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import { typedView } from '../../base/shape.ts';
import type { Device, DeviceBuffer, Launch, Range } from '../device.ts';
import { bindingDType } from '../kernel.ts';
import type { Kernel, Params } from '../kernel.ts';
import type { ChosenVariant } from '../variant.ts';
import { goldenArrays, outputsOf, referenceOutputs } from './golden.ts';
import type { Arrays } from './golden.ts';

/** Repetitions of one batched submit, and the least time that they should take together. */
const MOST_REPETITIONS = 200;
const BATCH_MS = 4;
/** Of all buffers of a launch: the plan needs the device's memory for itself. */
const MOST_BYTES = 2 ** 28;

/** One launch, by both clocks. */
export interface Sample {
  readonly wallMs: number;
  readonly gpuMs: number | undefined;
}

export class Workbench {
  readonly kernel: Kernel;
  readonly params: Params;
  readonly #device: Device;
  readonly #world: World;
  readonly #arrays: Arrays;
  readonly #io: Record<string, Range> = {};
  readonly #buffers: DeviceBuffer[] = [];
  #expected: Arrays | undefined;

  /** Throws LimitError where the buffers do not fit, on the device or into what a bench may use. */
  constructor(device: Device, world: World, kernel: Kernel, params: Params) {
    this.kernel = kernel;
    this.params = params;
    this.#device = device;
    this.#world = world;
    const bytes = Object.values(kernel.sizes(params)).reduce((sum, size) => sum + 4 * size, 0);
    if (bytes > MOST_BYTES)
      throw new LimitError(`${kernel.name}: ${bytes} bytes to measure it, at most ${MOST_BYTES} are used for that`);
    this.#arrays = goldenArrays(kernel, params);
    try {
      for (const [name, array] of Object.entries(this.#arrays)) {
        const buffer = device.alloc(array.byteLength, 'staging', `${kernel.name} ${name}`);
        this.#buffers.push(buffer);
        device.write(buffer, 0, array);
        this.#io[name] = { buffer, offset: 0, bytes: array.byteLength };
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  prepare(choice: ChosenVariant): Promise<Launch> {
    return this.#device.prepare(this.kernel, this.params, this.#io, choice);
  }

  /** What the launch makes of the known inputs. */
  async outputs(launch: Launch): Promise<Arrays> {
    const names = outputsOf(this.kernel);
    for (const name of names) this.#device.write(this.#io[name].buffer, 0, this.#arrays[name]);
    const bytes = await this.#device.submit(
      [launch],
      names.map((name) => this.#io[name]),
    );
    return Object.fromEntries(
      names.map((name, i) => [name, typedView(bindingDType(this.kernel.bindings[name]), bytes[i])]),
    );
  }

  /** What the reference makes of them; costs as many operations on the processor as the launch has. */
  expected(): Arrays {
    return (this.#expected ??= referenceOutputs(this.kernel, this.params, this.#arrays));
  }

  /** One batched submit; `roughMs` of one launch says how many fit. */
  async sample(launch: Launch, roughMs = Infinity): Promise<Sample> {
    const repetitions = Math.max(1, Math.min(MOST_REPETITIONS, Math.ceil(BATCH_MS / Math.max(roughMs, 1e-3))));
    const startMs = this.#world.now();
    const gpuMs = await this.#device.time!(launch, repetitions);
    const wallMs = this.#world.now() - startMs;
    return { wallMs: wallMs / repetitions, gpuMs: gpuMs === undefined ? undefined : gpuMs / repetitions };
  }

  close(): void {
    for (const buffer of this.#buffers.splice(0)) this.#device.free(buffer);
  }
}
