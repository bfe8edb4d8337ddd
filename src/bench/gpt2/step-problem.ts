// A training step as a workload's problem: every library takes steps with the same weights and batches, and is right if
// its losses agree with another library's. Three steps are compared by `bench step`; two here, because a step of a slow
// library takes a quarter of a minute without a GPU.

import { InternalError } from '../../base/errors.ts';
import { parseModelConfig } from '../../model/config.ts';
import { initialWeight, weightSpecs } from '../../model/weights.ts';
import { batchOf } from '../../train/data/batch.ts';
import { formatModelConfig } from '../../model/config.ts';
import { LanguageModel } from '../../train/tasks/language/language-model.ts';
import type { PreparedLanguage } from '../../train/tasks/language/prepare.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { indices } from '../inputs.ts';
import type { Dims, Problem, Runner } from '../problem.ts';
import { lossesAgree, stepConfig } from './step.ts';
import type { StepRunner } from './step.ts';

const CHECKED = 2;
const SEED = 1;

export interface StepProblem extends Problem {
  readonly config: RunConfig;
  readonly prepared: PreparedLanguage;
}

/** GPT-2 with L layers, hidden D, H heads, vocabulary V on B rows of T random tokens. */
export function stepProblem(dims: Dims): StepProblem {
  const { L, D, H, T, B, V } = dims;
  const model = parseModelConfig(
    JSON.stringify({
      architectures: ['GPT2LMHeadModel'],
      model_type: 'gpt2',
      n_layer: L,
      n_embd: D,
      n_head: H,
      n_positions: T,
      n_ctx: T,
      n_inner: null,
      activation_function: 'gelu_new',
      layer_norm_epsilon: 1e-5,
      initializer_range: 0.02,
      resid_pdrop: 0,
      embd_pdrop: 0,
      attn_pdrop: 0,
      tie_word_embeddings: true,
      vocab_size: V,
    }),
  );
  const shape = `L=${L} D=${D} H=${H} T=${T} B=${B} V=${V}`;
  const made = new Map(
    weightSpecs(model).map((spec) => [spec.name, { shape: spec.shape, data: initialWeight(spec, SEED) }]),
  );
  const prepared: PreparedLanguage = {
    task: new LanguageModel({ model, context: T }),
    model,
    modelConfig: formatModelConfig(model),
    tokenizer: undefined,
    tokenizerFiles: new Map(),
    context: T,
    dataIdentity: 'drawn',
    notes: [],
    weights: (name) => made.get(name)!,
    dataset: {
      vocab: V,
      batch: B,
      context: T,
      steps: Infinity,
      evalBatches: 0,
      batchAt: (step) => batchOf(indices(`tokens ${step}`, B * (T + 1), V).data, B, T),
      evalAt: () => {
        throw new InternalError('nothing is held out');
      },
    },
  };
  const matrices = 12 * L * D * D;
  const parameters = [...made.values()].reduce((sum, { data }) => sum + data.length, 0);
  return {
    workload: 'gpt-step',
    shape,
    dims,
    inputs: {},
    checkedRuns: CHECKED,
    prepared,
    config: stepConfig([
      ['batch', B],
      ['context', T],
      ['lr', 1e-3],
    ]),
    // Six per weight and token, the causal pairs of attention as in the attention workloads; parameters, gradients and
    // moments cross memory.
    cost: { flops: 6 * B * T * (matrices + D * V) + 14 * L * D * B * ((T * (T + 1)) / 2), bytes: 36 * parameters },
    check({ losses }) {
      const correct = losses.length === CHECKED && losses.every((loss: number) => Number.isFinite(loss));
      return {
        correct,
        worst: correct ? 0 : Infinity,
        ...(correct ? {} : { text: `the losses are ${Array.from(losses).join(', ')}` }),
      };
    },
    agree(outputs) {
      const right = lossesAgree([...outputs.values()].map(({ losses }) => Array.from(losses)));
      return new Map([...outputs.keys()].map((library, i) => [library, right[i]]));
    },
  };
}

/** What a peer gets that answers for this workload. */
export function stepOf(problem: Problem): StepProblem {
  if (!('prepared' in problem)) throw new InternalError(`${problem.workload} is no training step`);
  return problem as StepProblem;
}

/** Reads the losses of the first steps. */
export function runnerOfSteps(runner: StepRunner): Runner {
  const losses: number[] = [];
  return {
    async run(times) {
      for (let i = 0; i < times; i++) {
        const loss = await runner.step();
        if (losses.length < CHECKED) losses.push(loss);
      }
    },
    async read() {
      return { losses: Float32Array.from(losses) };
    },
    dispose: () => runner.dispose(),
  };
}
