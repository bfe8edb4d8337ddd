// Forward only, one row of the full context, on the parameters of a training stage: hidden states to hand on, or the
// logits of one position on the last stage. No key-value cache: every token recomputes its window, which is fine for
// the samples that a training run shows.

import { InternalError } from '../../base/errors.ts';
import type { TypedArray } from '../../base/shape.ts';
import { elements } from '../../base/shape.ts';
import { Program } from '../../device/program.ts';
import type { DeviceBuffer } from '../../device/device.ts';
import type { Plan } from '../../device/plan.ts';
import type { Param, Tensor } from '../../device/tensor.ts';
import { Tape } from '../../ops/tape.ts';
import type { NetworkContext } from '../network.ts';
import { networkOf } from '../registry.ts';
import { fixedRows } from './row-tensors.ts';
import { givesLosses, takesTokens } from '../param-spec.ts';
import { headName, tableName } from '../stage-params.ts';
import type { LanguageStage } from './language-stage.ts';
import type { Stage } from '../stage.ts';

export class InferenceStage {
  readonly #program: Program;
  readonly #plan: Plan;
  readonly #input: Tensor;
  readonly #out: Tensor;
  readonly #fixed: readonly DeviceBuffer[];

  private constructor(program: Program, plan: Plan, input: Tensor, out: Tensor, fixed: readonly DeviceBuffer[]) {
    this.#program = program;
    this.#plan = plan;
    this.#input = input;
    this.#out = out;
    this.#fixed = fixed;
  }

  static async create(stage: Stage, { options }: LanguageStage): Promise<InferenceStage> {
    const { device, range } = stage.options;
    const { config, parallelism, columns } = options;
    const { rank } = parallelism.sp;
    const T = columns[rank].length;
    const network = networkOf(config);
    const program = new Program(device);
    const fixed: DeviceBuffer[] = [];
    const tape = new Tape(program.recorder('forward'));
    const rows = fixedRows(config, { columns, rank, B: 1, first: range.first }, (label, shape, data) => {
      const buffer = device.alloc(data.byteLength, 'input', label);
      device.write(buffer, 0, data);
      fixed.push(buffer);
      const dtype = data instanceof Float32Array ? 'f32' : 'u32';
      return { shape, dtype, label, offset: 0, storage: { kind: 'fixed', buffer } };
    });
    const param = (name: string): Param => stage.params.get(name);
    const context: NetworkContext = { tape, config, parallelism, B: 1, T, ...rows, param };
    const input = takesTokens(range)
      ? program.tensor([T], 'u32', 'tokens')
      : program.tensor([T, config.hidden], 'f32', 'hidden');
    let x = takesTokens(range) ? parallelism.embedding(tape, input, param(tableName(config))) : input;
    if (range.first) x = network.start?.(context, x) ?? x;
    for (let layer = range.firstLayer; layer < range.endLayer; layer++) x = network.block(context, layer, x);
    if (range.last) x = network.norm(context, x);
    const out = givesLosses(range) ? parallelism.logits(tape, x, param(headName(config, range))) : x;
    program.keep(input, out);
    const plans = await program.finish();
    return new InferenceStage(program, plans.get('forward')!, input, out, fixed);
  }

  /** Tokens u32 [T] or hidden [T, hidden] in; hidden [T, hidden] out. */
  async forward(input: TypedArray): Promise<Float32Array<ArrayBuffer>> {
    this.#program.write(this.#input, 0, input);
    const [out] = await this.#plan.run(0, [{ range: this.#program.range(this.#out), dtype: 'f32' }]);
    return out as Float32Array<ArrayBuffer>;
  }

  /**
   * The last stage: logits of local position `row`, the shards of the vocabulary one after the other (padding
   * included).
   */
  async logits(input: TypedArray, row: number): Promise<Float32Array<ArrayBuffer>> {
    this.#program.write(this.#input, 0, input);
    const shape = this.#out.shape.length === 3 ? this.#out.shape : [1, ...this.#out.shape];
    const [shards, T, width] = shape;
    if (row < 0 || row >= T) throw new InternalError(`logits of row ${row} of ${T}`);
    const whole = this.#program.range(this.#out);
    const parts = await this.#plan.run(
      0,
      Array.from({ length: shards }, (_, i) => ({
        range: { buffer: whole.buffer, offset: whole.offset + (i * T + row) * width * 4, bytes: width * 4 },
        dtype: 'f32' as const,
      })),
    );
    const logits = new Float32Array(elements([shards, width]));
    parts.forEach((part, i) => logits.set(part as Float32Array, i * width));
    return logits;
  }

  dispose(): void {
    this.#program.dispose();
    for (const buffer of this.#fixed) this.#program.device.free(buffer);
  }
}
