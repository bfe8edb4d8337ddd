// A whole GPT-2: loss, activations and their gradients of the first batch, gradients of microbatches, and training
// steps with the trainer of a mesh of one rank (losses, gradient norms, final weights, both moments). Weights go by the
// network's own parameter names; linear weights are [out, in].

import { realWorld } from '../../../base/world.ts';
import { createLedger } from '../../../collectives/ledger.ts';
import { createMesh } from '../../../collectives/mesh.ts';
import type { Device } from '../../../device/device.ts';
import { Program } from '../../../device/program.ts';
import type { Param, Tensor } from '../../../device/tensor.ts';
import { createFlatParams, layOut } from '../../../model/flat-params.ts';
import type { FlatLayout } from '../../../model/flat-params.ts';
import type { Gpt2Config } from '../../../model/families/gpt2.ts';
import { singleRank } from '../../../model/parallelism.ts';
import type { Parallelism } from '../../../model/parallelism.ts';
import { stageRange } from '../../../model/param-spec.ts';
import { networkOf } from '../../../model/registry.ts';
import { headName, stageParams, tableName } from '../../../model/stage-params.ts';
import { Tape } from '../../../ops/tape.ts';
import { scheduleByName } from '../../../parallel/pipeline/registry.ts';
import { batchOf } from '../../../train/data/batch.ts';
import { LanguageModel } from '../../../train/tasks/language/language-model.ts';
import { Trainer } from '../../../train/trainer.ts';
import { flatten, readState, unflatten, wholeWeights } from '../gpt-weights.ts';
import type { Exception, Operator, TorchCase, Values } from '../operator.ts';

type Named = Readonly<Record<string, Values>>;

/**
 * Where Adam makes steps of rounding noise, the noise floor of the whole tensor says nothing about its other elements;
 * theirs is at most this.
 */
const FINAL_NOISE = 1e-5;

function configOf(c: TorchCase): Gpt2Config {
  const { attributes: a } = c;
  const [hidden, heads] = [a.number('d'), a.number('heads')];
  return {
    family: 'gpt2',
    layers: a.number('layers'),
    hidden,
    heads,
    kvHeads: heads,
    headDim: hidden / heads,
    mlp: c.input('h0.fc.w').shape[0],
    vocab: a.number('vocab'),
    maxPositions: c.input('wpe').shape[0],
    normEps: a.number('ln_eps', 1e-5),
    tied: a.flag('tied'),
    initStd: 0.02,
    raw: new Map(),
    warnings: [],
  };
}

const rangeOf = (config: Gpt2Config) => stageRange(0, 1, config.layers);
const layoutOf = (config: Gpt2Config): FlatLayout => layOut(stageParams(config, rangeOf(config), singleRank));
/** The case's name of a parameter: the network calls the matrix of the head `head`. */
const caseName =
  (c: TorchCase) =>
  (name: string): string =>
    name === 'head' && !c.inputs.has('head') ? 'head.w' : name;
const weightsOf = (c: TorchCase, layout: FlatLayout) =>
  wholeWeights(configOf(c), layout, (name) => c.input(caseName(c)(name)).floats);
const mean = (values: Values): number => Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;

/**
 * Records the network on B rows of T tokens and its backward from the row losses; returns what goes in and what can be
 * read.
 */
function record(program: Program, c: TorchCase, param: (name: string) => Param, B: number, T: number) {
  const config = configOf(c);
  const r = program.recorder('step');
  const tape = new Tape(r);
  const [ids, targets, dLoss] = [
    program.tensor([B * T], 'u32', 'ids'),
    program.tensor([B * T], 'i32', 'targets'),
    program.tensor([B * T], 'f32', 'dloss'),
  ];
  // Both halves of a block end in a row-parallel product: its result is an activation of the case.
  const halves: Tensor[] = [];
  const parallelism: Parallelism = {
    ...singleRank,
    rowLinear: (...given) => {
      const { settle } = singleRank.rowLinear(...given);
      return {
        settle(residual) {
          const out = settle(residual);
          halves.push(out);
          return out;
        },
      };
    },
  };
  const context = { tape, config, parallelism, B, T, posStart: 0, param };
  const network = networkOf(config);
  const rows = singleRank.embedding(tape, ids, param(tableName(config)));
  const embedded = network.start?.(context, rows) ?? rows;
  let x = embedded;
  for (let layer = 0; layer < config.layers; layer++) x = network.block(context, layer, x);
  const normed = network.norm(context, x);
  const head = param(headName(config, rangeOf(config)));
  const outputs = new Map<string, Tensor>([
    ['act.logits', singleRank.logits(tape, normed, head)],
    ['rowLoss', singleRank.loss(tape, normed, head, targets, config.vocab)],
  ]);
  const activations = [
    ['embed', embedded] as const,
    ...halves.map((tensor, i) => [`h${i >> 1}.${i % 2 ? 'out' : 'mid'}`, tensor] as const),
  ];
  const gradients = tape.backward(
    [[outputs.get('rowLoss')!, dLoss]],
    activations.map(([, tensor]) => tensor),
    r,
    r,
  );
  activations.forEach(([name, tensor], i) => {
    outputs.set(`act.${name}`, tensor).set(`dact.${name}`, gradients[i]!);
  });
  program.keep(ids, targets, dLoss, ...outputs.values());
  return { ids, targets, dLoss, outputs };
}

/** Mean loss, gradients, activations and their gradients of rows [from, to) of the first batch. */
async function backpropagate(
  device: Device,
  c: TorchCase,
  from: number,
  to: number,
): Promise<{ loss: number; gradients: Named; traced: Named }> {
  const config = configOf(c);
  const layout = layoutOf(config);
  const params = createFlatParams(device, layout);
  const program = new Program(device);
  const tokens = c.input('tokens');
  const width = tokens.shape[2];
  const R = (to - from) * (width - 1);
  try {
    const { ids, targets, dLoss, outputs } = record(program, c, params.get, to - from, width - 1);
    const plan = (await program.finish()).get('step')!;
    device.write(params.values, 0, flatten(layout, weightsOf(c, layout)));
    const rows = tokens.integers.slice(from * width, to * width);
    program.write(ids, 0, Uint32Array.from(rows.filter((_, i) => i % width < width - 1)));
    program.write(
      targets,
      0,
      rows.filter((_, i) => i % width > 0),
    );
    program.write(dLoss, 0, new Float32Array(R).fill(1 / R));
    const values = await plan.run(
      0,
      [...outputs.values()].map((tensor) => ({ range: program.range(tensor), dtype: tensor.dtype })),
    );
    const { rowLoss, ...traced } = Object.fromEntries(
      [...outputs.keys()].map((name, i): [string, Values] => [name, values[i]]),
    );
    const [flat] = await device.submit([], [{ buffer: params.grads, offset: 0, bytes: layout.size * 4 }]);
    return { loss: mean(rowLoss), gradients: unflatten(layout, new Float32Array(flat), caseName(c)), traced };
  } finally {
    program.dispose();
    for (const buffer of [params.values, params.grads]) device.free(buffer);
  }
}

/** All steps with the trainer: losses, norms, and what is left in the weights and moments. */
async function train(device: Device, c: TorchCase): Promise<Named> {
  const { attributes: a } = c;
  const tokens = c.input('tokens');
  const [steps, batch, width] = tokens.shape;
  const [all, lrs, ledger] = [tokens.integers, a.numbers('lrs'), createLedger()];
  const trainer = await Trainer.create({
    device,
    ledger,
    world: realWorld,
    task: new LanguageModel({ model: configOf(c), context: width - 1 }),
    schedule: scheduleByName('1f1b'),
    chunks: 1,
    microbatches: 1,
    batch,
    mesh: createMesh({ layout: { pp: 1, dp: 1, sp: 1, ep: 1, tp: 1 }, rank: 0, links: new Map(), ledger }),
    hyper: {
      betas: [a.number('beta1'), a.number('beta2')],
      eps: a.number('eps'),
      weightDecay: a.number('weight_decay'),
      gradClip: a.has('clip') ? a.number('clip') : null,
    },
    lr: (step) => lrs?.[step] ?? a.number('lr'),
    batchAt: (step) => batchOf(all.slice(step * batch * width, (step + 1) * batch * width), batch, width - 1),
    weights: weightsOf(c, layoutOf(configOf(c))),
  });
  try {
    const [losses, norms]: [number[], number[]] = [[], []];
    for (let step = 0; step < steps; step++) {
      const { loss, gradNorm } = await trainer.trainStep();
      losses.push(loss);
      norms.push(gradNorm);
    }
    const stage = trainer.stages.get(0)!;
    const { values, m, v } = await readState(device, stage, trainer.sync.optimizers.get(0)!);
    const named = (prefix: string, flat: typeof values) =>
      unflatten(stage.params.layout, flat, (name) => `${prefix}.${caseName(c)(name)}`);
    return { losses, grad_norms: norms, ...named('final', values), ...named('m', m), ...named('v', v) };
  } finally {
    trainer.dispose();
  }
}

const prefixed = (prefix: string, values: Named): Named =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [prefix + name, value]));

export const operators: readonly Operator[] = [
  {
    format: 'torch',
    op: 'gpt',
    refuses: (c) => (c.attributes.text('gelu', 'tanh') === 'tanh' ? undefined : 'this form of gelu'),
    async run({ device }, c) {
      const batch = c.input('tokens').shape[1];
      const microbatches = [...c.wanted.keys()].filter((name) => /^mb\d+\.loss$/.test(name)).length;
      const [whole, trained] = [await backpropagate(device, c, 0, batch), await train(device, c)];
      let parts: Named = {};
      for (let i = 0; i < microbatches; i++) {
        const { loss, gradients } = await backpropagate(
          device,
          c,
          (i * batch) / microbatches,
          ((i + 1) * batch) / microbatches,
        );
        parts = { ...parts, [`mb${i}.loss`]: [loss], ...prefixed(`mb${i}.d.`, gradients) };
      }
      return { loss0: [whole.loss], ...whole.gradients, ...whole.traced, ...trained, ...parts };
    },
    exception(_c, output, { shape, noise }): Exception | undefined {
      if (!/^(final|m|v)\.h\d+\.qkv\.b$/.test(output)) return undefined;
      // Softmax does not feel a shift of all keys' scores: the true gradient of the key biases is 0, and Adam makes
      // steps of its rounding noise.
      const third = shape[0] / 3;
      return { skip: [third, 2 * third], noise: Math.min(noise, FINAL_NOISE) };
    },
  },
];
