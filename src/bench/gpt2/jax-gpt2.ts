// GPT-2's training step in jax-js as its users would write it: one jit-compiled function from weights, moments and a
// batch to the loss, new weights and moments; gradients by valueAndGrad, AdamW by hand (there is no optax). Weights and
// batches are the run's own. One readback per step: the loss.

import { ConfigError, InternalError } from '../../base/errors.ts';
import { realWorld } from '../../base/world.ts';
import type { ModelConfig } from '../../model/config.ts';
import { weightSpecs } from '../../model/weights.ts';
import type { PreparedLanguage } from '../../train/tasks/language/prepare.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { gpuOfJax } from '../load/gpu.ts';
import type { Jax, JaxArray } from '../peers/jax-js.ts';
import { countWork } from './count-work.ts';
import { meanLoss, oneHot } from './jax-loss.ts';
import type { StepRunner } from './step.ts';

type Named = Record<string, JaxArray>;

const ROOT = 'transformer';

export async function jaxRunner(
  jax: Jax,
  config: RunConfig,
  { model, dataset, context: T, weights: source }: PreparedLanguage,
): Promise<StepRunner> {
  if (model.family !== 'gpt2')
    throw new ConfigError('--peers', `jax-js is compared on gpt2 models, got ${config.model}`);
  if (typeof config.lr !== 'number') throw new InternalError('the peer needs a constant learning rate');
  const { numpy, tree } = jax;
  const {
    batch: B,
    betas: [beta1, beta2],
  } = config;
  const gpu = gpuOfJax(jax);
  const specs = weightSpecs(model);
  let weights: Named = Object.fromEntries(
    specs.map(({ name, shape }) => [name, numpy.array(Float32Array.from(source(name).data), { shape: [...shape] })]),
  );
  let [means, squares] = [0, 1].map((): Named =>
    Object.fromEntries(
      specs.map(({ name, shape }) => [
        name,
        numpy.array(new Float32Array(shape.reduce((n, size) => n * size, 1)), { shape: [...shape] }),
      ]),
    ),
  );
  const compiled = jax.jit(trainStep(jax, config, model, B, T));
  let steps = 0;
  let waitedMs = 0;

  const step = async (): Promise<number> => {
    const { tokens, targets } = dataset.batchAt(steps++);
    const ids = (data: Int32Array<ArrayBuffer>): JaxArray => numpy.array(data, { shape: [B * T], dtype: numpy.int32 });
    const corrections = numpy.array(Float32Array.of(1 / (1 - beta1 ** steps), 1 / (1 - beta2 ** steps)), {
      shape: [2],
    });
    const [loss, ...state] = compiled(weights, means, squares, ids(tokens), ids(targets), corrections) as [
      JaxArray,
      Named,
      Named,
      Named,
    ];
    [weights, means, squares] = state;
    const start = realWorld.now();
    // Sends the whole step to the queue: its results share what is pending.
    const [result] = await loss.data();
    await (gpu ? gpu.queue.onSubmittedWorkDone() : jax.blockUntilReady([weights, means, squares]));
    waitedMs += realWorld.now() - start;
    return result;
  };

  return {
    library: 'jax-js',
    step,
    get waitedMs() {
      return waitedMs;
    },
    countStep: () => countWork(gpu, step),
    dispose() {
      for (const state of [weights, means, squares]) tree.dispose(state);
      compiled.dispose();
    },
  };
}

function trainStep(
  jax: Jax,
  { lr, betas: [beta1, beta2], eps, weightDecay }: RunConfig,
  model: ModelConfig,
  B: number,
  T: number,
) {
  const { numpy, tree, valueAndGrad } = jax;
  const rate = lr as number;
  const decays = new Map(weightSpecs(model).map((spec) => [spec.name, spec.decays]));
  return (
    weights: Named,
    means: Named,
    squares: Named,
    tokens: JaxArray,
    targets: JaxArray,
    corrections: JaxArray,
  ): [JaxArray, Named, Named, Named] => {
    const [value, gradients] = valueAndGrad((w: Named) => loss(jax, model, w, tokens, targets, B, T))(
      tree.ref(weights),
    ) as [JaxArray, Named];
    const [next, m, v]: [Named, Named, Named] = [{}, {}, {}];
    const [correction1, correction2] = [corrections.ref.slice(0), corrections.slice(1)];
    for (const name of Object.keys(weights)) {
      const g = gradients[name];
      m[name] = means[name].mul(beta1).add(g.ref.mul(1 - beta1));
      v[name] = squares[name].mul(beta2).add(g.ref.mul(g).mul(1 - beta2));
      const update = m[name].ref.mul(correction1.ref).div(numpy.sqrt(v[name].ref.mul(correction2.ref)).add(eps));
      const kept = decays.get(name) ? weights[name].mul(1 - rate * weightDecay) : weights[name];
      next[name] = kept.sub(update.mul(rate));
    }
    correction1.dispose();
    correction2.dispose();
    return [value, next, m, v];
  };
}

/** Mean cross-entropy of the next tokens; tokens and targets are [B * T]. */
function loss(
  jax: Jax,
  { layers, heads, hidden: D, headDim, vocab, normEps }: ModelConfig,
  weights: Named,
  tokens: JaxArray,
  targets: JaxArray,
  B: number,
  T: number,
): JaxArray {
  const { numpy, nn } = jax;
  const w = (name: string): JaxArray => weights[`${ROOT}.${name}`];
  const linear = (x: JaxArray, name: string): JaxArray => numpy.matmul(x, w(`${name}.weight`)).add(w(`${name}.bias`));
  const norm = (x: JaxArray, name: string): JaxArray =>
    nn
      .standardize(x, -1, { epsilon: normEps })
      .mul(w(`${name}.weight`))
      .add(w(`${name}.bias`));
  const attention = (x: JaxArray): JaxArray => {
    const qkv = x.reshape([B, T, 3, heads, headDim]);
    const [q, k, v] = [qkv.ref.slice([], [], 0), qkv.ref.slice([], [], 1), qkv.slice([], [], 2)];
    return nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([B * T, D]);
  };
  const table = w('wte.weight');
  const positions = w('wpe.weight').slice([0, T]);
  // By one-hot rows: the gradient of numpy.take is a scatter, which its jit refuses (0.1.25).
  let x = numpy
    .matmul(oneHot(jax, tokens, B * T, vocab), table.ref)
    .reshape([B, T, D])
    .add(positions)
    .reshape([B * T, D]);
  for (let layer = 0; layer < layers; layer++) {
    const h = `h.${layer}`;
    x = x.ref.add(linear(attention(linear(norm(x, `${h}.ln_1`), `${h}.attn.c_attn`)), `${h}.attn.c_proj`));
    x = x.ref.add(
      linear(nn.gelu(linear(norm(x, `${h}.ln_2`), `${h}.mlp.c_fc`), { approximate: true }), `${h}.mlp.c_proj`),
    );
  }
  const logits = numpy.matmul(norm(x, 'ln_f'), numpy.transpose(table));
  return meanLoss(jax, logits, targets, B * T, vocab);
}
