// GPT-2's training step in TensorFlow.js, written as its users would: composed ops, gradients by tf.variableGrads,
// tf.train.adam, and weight decay as a multiplication before the update. Weights and batches are the run's own. One
// readback per step: the loss.

import type * as tfjs from '@tensorflow/tfjs-core';
import { ConfigError, InternalError } from '../../base/errors.ts';
import { realWorld } from '../../base/world.ts';
import type { ModelConfig } from '../../model/config.ts';
import { weightSpecs } from '../../model/weights.ts';
import type { PreparedLanguage } from '../../train/tasks/language/prepare.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { gpuOfTensorFlow } from '../load/gpu.ts';
import type { TensorFlow } from '../peers/tfjs.ts';
import { countWork } from './count-work.ts';
import type { StepRunner } from './step.ts';

type Tensor = tfjs.Tensor;
type Weights = ReadonlyMap<string, tfjs.Variable>;

const ROOT = 'transformer';
const MASKED = -1e9;

export async function tfjsRunner(
  tf: TensorFlow,
  config: RunConfig,
  { model, dataset, context, weights: source }: PreparedLanguage,
): Promise<StepRunner> {
  if (model.family !== 'gpt2') throw new ConfigError('--peers', `tfjs is compared on gpt2 models, got ${config.model}`);
  if (typeof config.lr !== 'number') throw new InternalError('the peer needs a constant learning rate');
  const { lr, batch, weightDecay } = config;
  const weights: Weights = new Map(
    weightSpecs(model).map(({ name, shape }) => {
      const { data } = source(name);
      return [name, tf.tidy(() => tf.variable(tf.tensor(data, [...shape]), true, name))];
    }),
  );
  const decayed = weightSpecs(model)
    .filter(({ decays }) => decays)
    .map(({ name }) => weights.get(name)!);
  const mask = tf.tensor2d(
    Float32Array.from({ length: context * context }, (_, i) => (i % context > Math.floor(i / context) ? MASKED : 0)),
    [context, context],
  );
  const optimizer = tf.train.adam(lr, ...config.betas, config.eps);
  let steps = 0;
  let waitedMs = 0;

  const step = async (): Promise<number> => {
    const { tokens, targets } = dataset.batchAt(steps++);
    const loss = tf.tidy(() => {
      const ids = tf.tensor1d(tokens, 'int32');
      const wanted = tf.oneHot(tf.tensor1d(targets, 'int32'), model.vocab);
      const { value, grads } = tf.variableGrads(() => {
        const logits = forward(tf, model, weights, ids, mask, batch, context);
        return tf.neg(tf.mean(tf.sum(tf.mul(wanted, tf.logSoftmax(logits)), -1))) as tfjs.Scalar;
      }, [...weights.values()]);
      for (const variable of decayed) variable.assign(tf.mul(variable, 1 - lr * weightDecay));
      optimizer.applyGradients(Object.entries(grads).map(([name, tensor]) => ({ name, tensor })));
      return value;
    });
    // Asked for after the update, so the answer comes when all of the step is done.
    const pending = loss.data();
    const start = realWorld.now();
    const [result] = await pending;
    waitedMs += realWorld.now() - start;
    loss.dispose();
    return result;
  };

  return {
    library: 'tfjs',
    step,
    get waitedMs() {
      return waitedMs;
    },
    countStep: () => countWork(gpuOfTensorFlow(tf), step),
    dispose() {
      for (const variable of weights.values()) variable.dispose();
      mask.dispose();
      optimizer.dispose();
    },
  };
}

/** Logits [B * T, V]. */
function forward(
  tf: TensorFlow,
  { layers, heads, hidden: D, headDim, vocab, normEps }: ModelConfig,
  weights: Weights,
  ids: Tensor,
  mask: Tensor,
  B: number,
  T: number,
): Tensor {
  const w = (name: string): tfjs.Variable => weights.get(`${ROOT}.${name}`)!;
  const linear = (x: Tensor, name: string): Tensor =>
    tf.fused.matMul({
      a: x as tfjs.Tensor2D,
      b: w(`${name}.weight`) as Tensor as tfjs.Tensor2D,
      bias: w(`${name}.bias`),
    });
  const norm = (x: Tensor, name: string): Tensor => {
    const { mean, variance } = tf.moments(x, -1, true);
    return tf.add(
      tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, normEps))), w(`${name}.weight`)),
      w(`${name}.bias`),
    );
  };
  const byHead = (x: Tensor): Tensor => tf.transpose(tf.reshape(x, [B, T, heads, headDim]), [0, 2, 1, 3]);
  const attention = (x: Tensor): Tensor => {
    const [q, k, v] = tf.split(x, 3, 1).map(byHead);
    const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(headDim)), mask);
    return tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), v), [0, 2, 1, 3]), [B * T, D]);
  };
  const gelu = (x: Tensor): Tensor =>
    tf.mul(
      tf.mul(x, 0.5),
      tf.add(tf.tanh(tf.mul(tf.add(x, tf.mul(tf.pow(x, 3), 0.044715)), Math.sqrt(2 / Math.PI))), 1),
    );

  // On WebAssembly by one-hot rows: the gradient of gather is a segment sum, which that backend lacks (4.22).
  const embedded = gpuOfTensorFlow(tf)
    ? tf.gather(w('wte.weight') as Tensor, ids as tfjs.Tensor1D)
    : tf.matMul(tf.cast(tf.oneHot(ids as tfjs.Tensor1D, vocab), 'float32'), w('wte.weight') as Tensor as tfjs.Tensor2D);
  const positions = tf.slice(w('wpe.weight') as Tensor, [0, 0], [T, D]);
  let x = tf.reshape(tf.add(tf.reshape(embedded, [B, T, D]), positions), [B * T, D]);
  for (let layer = 0; layer < layers; layer++) {
    const h = `h.${layer}`;
    x = tf.add(x, linear(attention(linear(norm(x, `${h}.ln_1`), `${h}.attn.c_attn`)), `${h}.attn.c_proj`));
    x = tf.add(x, linear(gelu(linear(norm(x, `${h}.ln_2`), `${h}.mlp.c_fc`)), `${h}.mlp.c_proj`));
  }
  return tf.matMul(norm(x, 'ln_f'), w('wte.weight') as Tensor, false, true);
}
