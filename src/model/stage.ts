// One pipeline stage on one rank: its parameters, and its F, B (and W) plans, recorded once and replayed per slot. A
// slot holds one microbatch in flight. The first stage takes token ids, the others hidden states [R, hidden]; the last
// one takes targets and gives row losses. Gradients add up in the flat gradient buffer until `zeroGradients`.

import { InternalError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import type { Device, DeviceBuffer } from '../device/device.ts';
import { Program } from '../device/program.ts';
import type { ObserveHost, Plan } from '../device/plan.ts';
import type { BufferPool } from '../device/storage/pool.ts';
import type { Slot, SlotClasses } from '../device/storage/slots.ts';
import type { Param, Tensor } from '../device/tensor.ts';
import { lossStatistics } from '../ops/cross-entropy.ts';
import type { LossStatistics } from '../ops/cross-entropy.ts';
import { Tape } from '../ops/tape.ts';
import { fill } from '../../shaders/elementwise/fill.ts';
import type { ModelConfig } from './config.ts';
import { createFlatParams, layOut } from './flat-params.ts';
import type { FlatParams } from './flat-params.ts';
import type { NetworkContext } from './network.ts';
import type { Parallelism } from './parallelism.ts';
import { readParts } from './param-spec.ts';
import type { StageRange } from './param-spec.ts';
import { networkOf } from './registry.ts';
import { fixedRows, packedRows } from './row-tensors.ts';
import { headName, stageParams } from './stage-params.ts';
import type { TokenRows } from './token-rows.ts';

export interface StageOptions {
  readonly device: Device;
  readonly config: ModelConfig;
  readonly range: StageRange;
  readonly parallelism: Parallelism;
  /** Rows per microbatch on this rank. */
  readonly B: number;
  /** Columns of the context that each rank of the sequence group holds, [tokens per row]; -1 is padding. */
  readonly columns: readonly Int32Array[];
  /** Every microbatch says where its documents begin. */
  readonly packed?: boolean;
  /** Microbatches in flight at most, or that by class of slots and the slots that each plan runs in. */
  readonly slots: number | SlotClasses;
  /** Record W into a plan of its own. */
  readonly splitsWeights: boolean;
  /** Pooled buffers that the stages of a rank share; its own if absent. */
  readonly pool?: BufferPool;
}

export interface StageInput {
  readonly tokens?: Uint32Array<ArrayBuffer>;
  readonly hidden?: Float32Array<ArrayBuffer>;
  readonly targets?: Int32Array<ArrayBuffer>;
  /** Of a packed stage. */
  readonly rows?: TokenRows;
  /** On the last stage: also say which targets are predicted. */
  readonly scored?: boolean;
}

export interface StageOutput {
  /** Hidden states [R, hidden] to send on, or on the last stage the row losses [R]. */
  readonly out: Float32Array<ArrayBuffer>;
  /**
   * Of a scored input, [R]: whether no token has a larger logit than the row's target, so that a target that ties
   * for the largest is predicted. Rows whose target is ignored hold anything.
   */
  readonly predicted?: readonly boolean[];
}

export class Stage {
  readonly options: StageOptions;
  readonly params: FlatParams;
  readonly plans: ReadonlyMap<string, Plan>;
  readonly #program: Program;
  readonly #io: StageTensors;
  readonly #fixed: readonly DeviceBuffer[];

  private constructor(
    options: StageOptions,
    params: FlatParams,
    program: Program,
    plans: ReadonlyMap<string, Plan>,
    io: StageTensors,
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
  static async create(options: StageOptions): Promise<Stage> {
    const { device, config, range, parallelism, slots, pool } = options;
    const params = createFlatParams(device, layOut(stageParams(config, range, parallelism)));
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
    const zero = program.recorder('zero');
    zero.launch(
      fill,
      {
        out: {
          shape: [params.grads.bytes / 4],
          dtype: 'f32',
          label: 'grads',
          offset: 0,
          storage: { kind: 'fixed', buffer: params.grads },
        },
      },
      { N: params.grads.bytes / 4, VALUE: 0 },
    );
    const plans = await program.finish();
    return new Stage(options, params, program, plans, io, fixed);
  }

  /** Fills the parameters from whole Hugging Face weights. */
  load(weights: (name: string) => { shape: readonly number[]; data: Float32Array }): void {
    const { layout, values } = this.params;
    const flat = new Float32Array(layout.size);
    for (const { spec, start } of layout.places.values()) {
      readParts(spec, weights, flat.subarray(start, start + spec.shape.reduce((n, extent) => n * extent, 1)));
    }
    if (flat.length) this.options.device.write(values, 0, flat);
  }

  /** R: rows of hidden states per microbatch on this rank. */
  get rows(): number {
    const { B, columns, parallelism } = this.options;
    return B * columns[parallelism.sp.rank].length;
  }

  async zeroGradients(): Promise<void> {
    await this.#plan('zero').run(0);
  }

  /** Runs F in `slot`. */
  async forward(slot: Slot, input: StageInput, observe?: ObserveHost): Promise<StageOutput> {
    const { tokens, hidden, targets, out, statistics, packed } = this.#io;
    if (tokens) this.#program.write(tokens, slot, required(input.tokens, 'tokens'));
    if (hidden) this.#program.write(hidden, slot, required(input.hidden, 'hidden'));
    if (targets) this.#program.write(targets, slot, required(input.targets, 'targets'));
    if (packed) {
      const values = packed.values(required(input.rows, 'rows'));
      for (const [i, tensor] of packed.inputs.entries()) this.#program.write(tensor, slot, values[i]);
    }
    // One readback for all: waiting for another takes long in some browsers.
    const read = [out, ...(input.scored && statistics ? [statistics.rowMax, statistics.targetLogit] : [])];
    const ranges = read.map((tensor) => ({ range: this.#program.range(tensor, slot), dtype: 'f32' as const }));
    const results = await this.#plan('F').run(slot, ranges, observe);
    const [result, rowMax, targetLogit] = results as readonly Float32Array<ArrayBuffer>[];
    return { out: result, ...(rowMax ? { predicted: Array.from(rowMax, (most, r) => targetLogit[r] === most) } : {}) };
  }

  /**
   * Runs B in `slot` (and W, unless split) with the gradient of `forward`'s result (none on the last stage: each row
   * loss counts 1). Resolves to the gradient of the hidden input.
   */
  async backward(
    slot: Slot,
    dOut?: Float32Array<ArrayBuffer>,
    observe?: ObserveHost,
  ): Promise<Float32Array<ArrayBuffer> | undefined> {
    const { dOut: gradient, dHidden } = this.#io;
    if (!this.options.range.last) this.#program.write(gradient, slot, required(dOut, 'dOut'));
    const [result] = await this.#plan('B').run(
      slot,
      dHidden ? [{ range: this.#program.range(dHidden, slot), dtype: 'f32' }] : [],
      observe,
    );
    return result as Float32Array<ArrayBuffer> | undefined;
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

interface StageTensors {
  readonly tokens?: Tensor;
  readonly hidden?: Tensor;
  readonly targets?: Tensor;
  /** Hidden states, or row losses on the last stage. */
  readonly out: Tensor;
  /** On the last stage. */
  readonly statistics?: LossStatistics;
  readonly dOut: Tensor;
  readonly dHidden?: Tensor;
  readonly packed?: ReturnType<typeof packedRows>;
}

function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new InternalError(`stage input ${name} is missing`);
  return value;
}

function record(
  options: StageOptions,
  params: FlatParams,
  program: Program,
  constant: (label: string, shape: readonly number[], data: TypedArray) => Tensor,
): StageTensors {
  const { config, range, parallelism, B, columns, splitsWeights } = options;
  const { rank } = parallelism.sp;
  const T = columns[rank].length;
  const network = networkOf(config);
  const R = B * T;
  const tape = new Tape(program.recorder('F'));
  const place = { columns, rank, B, first: range.first };
  const packed = options.packed
    ? packedRows(config, place, (shape, dtype, label) => program.tensor(shape, dtype, label))
    : undefined;
  const rows = packed?.rows ?? fixedRows(config, place, constant);
  const context: NetworkContext = { tape, config, parallelism, B, T, ...rows, param: (name) => params.get(name) };
  const tokens = range.first ? program.tensor([R], 'u32', 'tokens') : undefined;
  const hidden = range.first ? undefined : program.tensor([R, config.hidden], 'f32', 'hidden');
  const targets = range.last ? program.tensor([R], 'i32', 'targets') : undefined;
  let x = tokens ? network.embed(context, tokens) : hidden!;
  for (let layer = range.firstLayer; layer < range.endLayer; layer++) x = network.block(context, layer, x);
  const statistics = targets && lossStatistics(program.recorder('F'), R);
  const head = (): Param => params.get(headName(config, range));
  const out = targets ? parallelism.loss(tape, network.norm(context, x), head(), targets, config.vocab, statistics) : x;
  const dOut = range.last
    ? constant('ones', [R], new Float32Array(R).fill(1))
    : program.tensor([R, config.hidden], 'f32', 'dout');
  const B_ = program.recorder('B');
  const W = splitsWeights ? program.recorder('W') : B_;
  const [dHidden] = tape.backward([[out, dOut]], hidden ? [hidden] : [], B_, W);
  const read = [statistics?.rowMax, statistics?.targetLogit];
  const given = [tokens, hidden, targets, ...(packed?.inputs ?? [])];
  program.keep(...[...given, out, ...read, dOut, dHidden].filter((tensor) => tensor !== undefined));
  return { tokens, hidden, targets, out, statistics, dOut, dHidden, packed };
}
