// Forward only, one row of the full context, on this rank's shard of a vocabulary that a pipeline shares: embedded
// tokens, and the logits of one position.

import { Program } from '../../device/program.ts';
import type { Plan } from '../../device/plan.ts';
import type { Tensor } from '../../device/tensor.ts';
import { embedding } from '../../ops/embedding.ts';
import { product } from '../../ops/matmul.ts';
import { headName, tableName } from '../stage-params.ts';
import type { VocabularyShard } from './vocabulary-shard.ts';

type F32 = Float32Array<ArrayBuffer>;

type ShardTensors = Readonly<Record<'tokens' | 'embedded' | 'hidden' | 'logits', Tensor>>;

export class ShardInference {
  readonly #program: Program;
  readonly #plans: ReadonlyMap<string, Plan>;
  readonly #io: ShardTensors;

  private constructor(program: Program, plans: ReadonlyMap<string, Plan>, io: ShardTensors) {
    this.#program = program;
    this.#plans = plans;
    this.#io = io;
  }

  /** `tokens`: of a row on this rank, T. */
  static async create(shard: VocabularyShard, tokens: number): Promise<ShardInference> {
    const { device, config, place } = shard.options;
    const program = new Program(device);
    const table = shard.params.get(tableName(config));
    const head = shard.params.get(headName(config, { first: true }));
    const ids = program.tensor([tokens], 'u32', 'tokens');
    const attrs = { vStart: place.rank * table.shape[0] };
    const { out: embedded } = embedding.forward(program.recorder('embed'), { ids }, { table }, attrs);
    const hidden = program.tensor([1, config.hidden], 'f32', 'hidden');
    const logits = product(program.recorder('logits'), hidden, head, { transB: true, label: 'logits' });
    program.keep(ids, embedded, hidden, logits);
    return new ShardInference(program, await program.finish(), { tokens: ids, embedded, hidden, logits });
  }

  /** Logits of a shard; the last one's end with padding. */
  get width(): number {
    return this.#io.logits.shape[1];
  }

  /** [T, hidden]; zeros for tokens of other shards. */
  embed(tokens: Uint32Array<ArrayBuffer>): Promise<F32> {
    return this.#run('embed', ['tokens', tokens], 'embedded');
  }

  /** Of hidden [hidden] of one position, those of this shard [width]. */
  logits(hidden: F32): Promise<F32> {
    return this.#run('logits', ['hidden', hidden], 'logits');
  }

  dispose(): void {
    this.#program.dispose();
  }

  async #run(
    plan: 'embed' | 'logits',
    [name, data]: readonly ['tokens' | 'hidden', F32 | Uint32Array<ArrayBuffer>],
    out: 'embedded' | 'logits',
  ): Promise<F32> {
    this.#program.write(this.#io[name], 0, data);
    const [result] = await this.#plans.get(plan)!.run(0, [{ range: this.#program.range(this.#io[out]), dtype: 'f32' }]);
    return result as F32;
  }
}
