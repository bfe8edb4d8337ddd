// What the ranks of one worker share: the GPUDevice with its compiled pipelines, what is known about the adapter, and
// the data of the run. Buffers, counters, memory and links stay each rank's own. The GPUDevice ends with the last rank
// that opened it.

import { InternalError } from '../src/base/errors.ts';
import type { Qualifier } from '../src/device/tune/qualifier.ts';
import { openGpu } from '../src/device/webgpu.ts';
import type { GpuContext } from '../src/device/webgpu.ts';
import type { PreparedRun } from '../src/train/prepare.ts';
import type { RunConfig } from '../src/train/run-config.ts';
import { browserQualifier } from './qualification.ts';

/** What prepareRun made of a config; nothing writes to it afterwards. */
export interface Ready {
  readonly config: RunConfig;
  readonly prepared: PreparedRun;
}

export class WorkerShare {
  #context: Promise<GpuContext> | undefined;
  #qualifier: { readonly tuneSeconds: number; readonly made: Promise<Qualifier> } | undefined;
  #holders = 0;
  #ready: Ready | undefined;

  /** Rejects with NoDeviceError; the next call tries again. Every call that resolves is paired with a `release`. */
  async openGpu(): Promise<GpuContext> {
    const opening = (this.#context ??= openGpu(navigator.gpu));
    try {
      const context = await opening;
      this.#holders++;
      return context;
    } catch (error) {
      if (this.#context === opening) this.#context = undefined;
      throw error;
    }
  }

  /** One for all ranks: one of them measures, within one budget, and the others take its choices. */
  qualifier(tuneSeconds: number): Promise<Qualifier> {
    if (this.#qualifier?.tuneSeconds !== tuneSeconds)
      this.#qualifier = { tuneSeconds, made: browserQualifier(tuneSeconds, true) };
    return this.#qualifier.made;
  }

  releaseGpu(): void {
    if (--this.#holders > 0) return;
    const context = this.#context;
    this.#context = this.#qualifier = undefined;
    void context?.then(({ device }) => device.destroy());
  }

  /** What the last rank of this worker was prepared with. */
  get ready(): Ready {
    if (!this.#ready) throw new InternalError('no rank of this worker was prepared yet');
    return this.#ready;
  }

  set ready(ready: Ready) {
    this.#ready = ready;
  }
}
