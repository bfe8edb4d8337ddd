// One pipeline stage on one rank: its parameters, and its F, B (and W, R) plans, recorded once by a task and replayed
// per slot. A slot holds one microbatch in flight. Gradients add up in the flat gradient buffer until `zeroGradients`.

import { InternalError } from '../base/errors.ts';
import { elements } from '../base/shape.ts';
import type { TypedArray } from '../base/shape.ts';
import type { Device, DeviceBuffer } from '../device/device.ts';
import { Program } from '../device/program.ts';
import type { ObserveHost, Plan } from '../device/plan.ts';
import type { BufferPool } from '../device/storage/pool.ts';
import type { Slot, SlotClasses } from '../device/storage/slots.ts';
import type { Tensor } from '../device/tensor.ts';
import { Tape } from '../ops/tape.ts';
import { createFlatParams, layOut, loadParams, recordZero } from './flat-params.ts';
import type { FlatParams } from './flat-params.ts';
import type { ModelPart } from './model-part.ts';
import { givesLosses, takesTokens } from './param-spec.ts';
import type { StageRange, WeightSource } from './param-spec.ts';
import type { StageRecording, StageTask } from './task.ts';

/** M: what the task makes of one microbatch. */
export interface StageOptions<M> {
  readonly device: Device;
  readonly task: StageTask<M>;
  readonly range: StageRange;
  /** Microbatches in flight at most, or that by class of slots and the slots that each plan runs in. */
  readonly slots: number | SlotClasses;
  /** Record W into a plan of its own. */
  readonly splitsWeights: boolean;
  /** F keeps its inputs alone; a plan R of its own makes again what B needs. */
  readonly rematerialises?: boolean;
  /** Pooled buffers that the stages of a rank share; its own if absent. */
  readonly pool?: BufferPool;
}

export interface StageInput<M> {
  readonly microbatch: M;
  /** What the stage before gave, of the task's `between`; absent where the stage takes tokens. */
  readonly received?: Float32Array<ArrayBuffer> | undefined;
  /** Where the stage gives losses: also say which rows are right. */
  readonly scored?: boolean;
}

export interface StageOutput {
  /** To send on, or the row losses [R]. */
  readonly out: Float32Array<ArrayBuffer>;
  /** Of a scored input, [R]. */
  readonly correct?: readonly boolean[];
}

export class Stage<M = unknown> implements ModelPart {
  readonly options: StageOptions<M>;
  readonly params: FlatParams;
  readonly plans: ReadonlyMap<string, Plan>;
  readonly #program: Program;
  readonly #io: StageTensors<M>;
  readonly #fixed: readonly DeviceBuffer[];

  private constructor(
    options: StageOptions<M>,
    params: FlatParams,
    program: Program,
    plans: ReadonlyMap<string, Plan>,
    io: StageTensors<M>,
    fixed: readonly DeviceBuffer[],
  ) {
    this.options = options;
    this.params = params;
    this.plans = plans;
    this.#program = program;
    this.#io = io;
    this.#fixed = fixed;
  }

  /** Allocates, records and compiles. Parameters are zero until `load`. */
  static async create<M>(options: StageOptions<M>): Promise<Stage<M>> {
    const { device, task, range, slots, pool } = options;
    const params = createFlatParams(device, layOut(task.params(range)));
    const program = new Program(device, slots, pool);
    const fixed: DeviceBuffer[] = [];
    const constant = (label: string, shape: readonly number[], data: TypedArray): Tensor => {
      const buffer = device.alloc(data.byteLength, 'input', label);
      device.write(buffer, 0, data);
      fixed.push(buffer);
      const dtype = data instanceof Float32Array ? 'f32' : 'u32';
      return { shape, dtype, label, offset: 0, storage: { kind: 'fixed', buffer } };
    };
    const io = record(options, params, program, constant);
    recordZero(program.recorder('zero'), params);
    const plans = await program.finish();
    return new Stage(options, params, program, plans, io, fixed);
  }

  load(weights: WeightSource): void {
    loadParams(this.options.device, this.params, weights);
  }

  /** Length of what it receives from another stage, or sends to one. */
  get floats(): number {
    return elements(this.options.task.between);
  }

  async zeroGradients(): Promise<void> {
    await this.#plan('zero').run(0);
  }

  /** Runs F in `slot`. */
  async forward(slot: Slot, input: StageInput<M>, observe?: ObserveHost): Promise<StageOutput> {
    const { inputs, received, out, score } = this.#io;
    for (const { tensors, values } of inputs)
      for (const [i, data] of values(input.microbatch).entries()) this.#program.write(tensors[i], slot, data);
    if (received) this.#program.write(received, slot, required(input.received, 'received'));
    // One readback for all: waiting for another takes long in some browsers.
    const read = [out, ...(input.scored && score ? score.tensors : [])];
    const ranges = read.map((tensor) => ({ range: this.#program.range(tensor, slot), dtype: 'f32' as const }));
    const [result, ...contents] = (await this.#plan('F').run(
      slot,
      ranges,
      observe,
    )) as readonly Float32Array<ArrayBuffer>[];
    return { out: result, ...(contents.length ? { correct: score!.correct(contents) } : {}) };
  }

  /**
   * Runs B in `slot` (and W, unless split) with the gradient of `forward`'s result (none of losses: each counts 1).
   * Resolves to the gradient of what was received.
   */
  async backward(
    slot: Slot,
    dOut?: Float32Array<ArrayBuffer>,
    observe?: ObserveHost,
  ): Promise<Float32Array<ArrayBuffer> | undefined> {
    const { dOut: gradient, dReceived } = this.#io;
    if (!givesLosses(this.options.range)) this.#program.write(gradient, slot, required(dOut, 'dOut'));
    const [result] = await this.#plan('B').run(
      slot,
      dReceived ? [{ range: this.#program.range(dReceived, slot), dtype: 'f32' }] : [],
      observe,
    );
    return result as Float32Array<ArrayBuffer> | undefined;
  }

  /** Runs R in `slot`: the forward again, for B; only when re-materialising. */
  async rematerialise(slot: Slot, observe?: ObserveHost): Promise<void> {
    await this.#plan('R').run(slot, [], observe);
  }

  /** Runs W in `slot`; only when split. */
  async weights(slot: Slot, observe?: ObserveHost): Promise<void> {
    await this.#plan('W').run(slot, [], observe);
  }

  dispose(): void {
    this.#program.dispose();
    for (const buffer of [...this.#fixed, this.params.values, this.params.grads]) this.options.device.free(buffer);
  }

  #plan(name: string): Plan {
    const plan = this.plans.get(name);
    if (!plan) throw new InternalError(`stage has no plan ${name}`);
    return plan;
  }
}

interface StageTensors<M> extends StageRecording<M> {
  readonly received: Tensor | undefined;
  readonly dOut: Tensor;
  readonly dReceived: Tensor | undefined;
}

function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new InternalError(`stage input ${name} is missing`);
  return value;
}

function record<M>(
  { task, range, splitsWeights, rematerialises = false }: StageOptions<M>,
  params: FlatParams,
  program: Program,
  constant: (label: string, shape: readonly number[], data: TypedArray) => Tensor,
): StageTensors<M> {
  const received = takesTokens(range) ? undefined : program.tensor(task.between, 'f32', 'hidden');
  const [given, constants]: [Tensor[], Tensor[]] = [[], []];
  /** Records the forward; the second time on the tensors that the first one asked for. */
  const forward = (tape: Tape): StageRecording<M> => {
    let [inputs, others] = [0, 0];
    return task.record({
      tape,
      range,
      received,
      param: (name) => params.get(name),
      input: (shape, dtype, label) => (given[inputs++] ??= program.tensor(shape, dtype, label)),
      constant: (label, shape, data) => (constants[others++] ??= constant(label, shape, data)),
    });
  };
  let tape = new Tape(program.recorder('F'));
  const recording = forward(tape);
  const { out, score } = recording;
  let seed = out;
  if (rematerialises) {
    tape = new Tape(program.recorder('R'));
    seed = forward(tape).out;
  }
  const dOut = givesLosses(range)
    ? constant('ones', out.shape, new Float32Array(elements(out.shape)).fill(1))
    : program.tensor(task.between, 'f32', 'dout');
  const B = program.recorder('B');
  const W = splitsWeights ? program.recorder('W') : B;
  const [dReceived] = tape.backward([[seed, dOut]], received ? [received] : [], B, W);
  program.keepFrom('F', ...[...given, received].filter((tensor) => tensor !== undefined));
  const kept = [out, ...(score?.tensors ?? []), dOut, dReceived];
  program.keep(...kept.filter((tensor) => tensor !== undefined));
  return { ...recording, received, dOut, dReceived };
}
