// Optimiser steps: AdamW, and SGD with Nesterov momentum. w0 [N] and gradients [steps, N] give the weights after every
// step and the state after the last.

import { ConfigError } from '../../../base/errors.ts';
import type { TypedArray } from '../../../base/shape.ts';
import { adamw } from '../../../../shaders/optimizer/adamw.ts';
import { sgdMomentum } from '../../../../shaders/optimizer/sgd-momentum.ts';
import type { Lab } from '../lab.ts';
import type { Operator, TorchCase, Values } from '../operator.ts';

const isAdam = (c: TorchCase): boolean => c.attributes.has('beta1');

/**
 * Replays the recorded step with the host's numbers of each step; returns the weights after every step, and the state.
 */
async function replay(
  lab: Lab,
  c: TorchCase,
  record: (N: number) => Recorded,
): Promise<Readonly<Record<string, Values>>> {
  const w0 = c.input('w0');
  const gradients = [...c.inputs].find(([name]) => name !== 'w0')?.[1];
  if (!gradients) throw new ConfigError('manifest.json', `case ${c.name}: expected gradients beside w0`);
  const N = w0.floats.length;
  const all = gradients.floats;
  const { param, grad, hyper, state, hyperAt } = record(N);
  const outputs = { param, ...state };
  await lab.compile(Object.values(outputs));
  const steps = all.length / N;
  const w = new Float32Array(all.length);
  let last: Readonly<Record<string, TypedArray>> = {};
  for (let s = 0; s < steps; s++) {
    lab.write(grad, all.slice(s * N, (s + 1) * N));
    lab.write(hyper, new Float32Array(hyperAt(s)));
    last = await lab.step(outputs);
    w.set(last['param'], s * N);
  }
  return { ...last, w };
}

interface Recorded {
  readonly param: ReturnType<Lab['data']>;
  readonly grad: ReturnType<Lab['data']>;
  readonly hyper: ReturnType<Lab['data']>;
  readonly state: Readonly<Record<string, ReturnType<Lab['data']>>>;
  hyperAt(step: number): readonly number[];
}

async function runAdam(lab: Lab, c: TorchCase): Promise<Readonly<Record<string, Values>>> {
  const [lr, beta1, beta2, eps, decay] = ['lr', 'beta1', 'beta2', 'eps', 'weight_decay'].map((name) =>
    c.attributes.number(name),
  );
  return replay(lab, c, (N) => {
    const [param, grad, m, v, hyper] = [
      lab.data(c.input('w0').floats),
      lab.zeros([N]),
      lab.zeros([N]),
      lab.zeros([N]),
      lab.zeros([10]),
    ];
    lab.recorder.launch(
      adamw,
      { param, grad, m, v, hyper, flags: lab.data(new Uint32Array(1)) },
      { N, DECAY_START: 0, DECAY_END: N },
    );
    return {
      param,
      grad,
      hyper,
      state: { m, v },
      hyperAt: (s) => [
        lr,
        beta1,
        beta2,
        eps,
        decay,
        1 - beta1 ** (s + 1),
        1 - beta2 ** (s + 1),
        1,
        1 - beta1,
        1 - beta2,
      ],
    };
  });
}

async function runSgd(lab: Lab, c: TorchCase): Promise<Readonly<Record<string, Values>>> {
  const [lr, momentum, decay] = [
    c.attributes.number('lr'),
    c.attributes.number('momentum'),
    c.attributes.number('weight_decay', 0),
  ];
  // The one state of the optimiser goes by several names: m, buf, momentum_buffer.
  const name = [...c.wanted.keys()].find((output) => output !== 'w') ?? 'm';
  return replay(lab, c, (N) => {
    const [param, grad, m, hyper] = [lab.data(c.input('w0').floats), lab.zeros([N]), lab.zeros([N]), lab.zeros([5])];
    lab.recorder.launch(sgdMomentum, { param, grad, m, hyper }, { N });
    return { param, grad, hyper, state: { [name]: m }, hyperAt: (s) => [lr, momentum, decay, 1, s === 0 ? 1 : 0] };
  });
}

export const operators: readonly Operator[] = [
  {
    format: 'torch',
    op: 'optimizer',
    refuses(c) {
      if (isAdam(c)) return c.attributes.flag('amsgrad') ? 'amsgrad' : undefined;
      if (!c.attributes.has('momentum')) return 'neither AdamW nor SGD with momentum';
      if (c.attributes.has('nesterov') && !c.attributes.flag('nesterov')) return 'momentum without Nesterov';
      return c.attributes.number('dampening', 0) === 0 ? undefined : 'dampening';
    },
    run: (lab, c) => (isAdam(c) ? runAdam(lab, c) : runSgd(lab, c)),
  },
];
