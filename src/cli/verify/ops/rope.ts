// Rotary embeddings: PyTorch's [..., T, D] by positions and theta, with the gradient; ONNX RotaryEmbedding with caches,
// position ids, part of a head.

import { elements } from '../../../base/shape.ts';
import { rope } from '../../../ops/rope.ts';
import { slot } from '../operator.ts';
import type { Operator } from '../operator.ts';
import { permute, takeRows } from '../rearrange.ts';

export const operators: readonly Operator[] = [
  {
    format: 'torch',
    op: 'rope',
    refuses(c) {
      if (!['half', 'interleaved'].includes(c.attributes.text('layout')))
        return `the layout ${c.attributes.text('layout')}`;
      return elements(c.input('pos').shape) === c.input('x').shape.at(-2)
        ? undefined
        : 'positions that are not one per row';
    },
    async run(lab, c) {
      const { shape } = c.input('x');
      const [T, D] = shape.slice(-2);
      const half = D / 2;
      const theta = c.attributes.number('theta', 10000);
      const positions = c.input('pos').integers;
      // Angles in f64 on the host, as the models do.
      const table = (f: (angle: number) => number) =>
        lab.data(
          Float32Array.from({ length: T * half }, (_, i) =>
            f(positions[Math.floor(i / half)] * theta ** ((-2 * (i % half)) / D)),
          ),
          [T, half],
        );
      const [cos, sin] = [table(Math.cos), table(Math.sin)];
      // Every (batch, head, position) is a row of one head.
      const attributes = {
        T,
        heads: 1,
        rotaryHeads: 1,
        headDim: D,
        rotaryDim: D,
        interleaved: c.attributes.text('layout') === 'interleaved',
      };
      const rows = [elements(shape) / D, D];
      const { out: y, saved } = rope.forward(
        lab.recorder,
        { x: lab.floats(c.input('x'), rows), cos, sin },
        {},
        attributes,
      );
      const { x: dx } = rope.backwardInput!(lab.recorder, lab.floats(c.input('dy'), rows), saved, {}, attributes, {
        x: true,
      });
      return lab.run({ y, dx: dx! });
    },
  },
  {
    format: 'onnx',
    op: 'RotaryEmbedding',
    async run(lab, c) {
      const [given, cosCache, sinCache, ids] = [slot(c, 0), slot(c, 1), slot(c, 2), c.inputs[3]];
      const heads4 = given.shape.length === 4;
      // Rows are (batch, position), with the heads side by side.
      const [B, T] = heads4 ? [given.shape[0], given.shape[2]] : given.shape;
      const heads = heads4 ? given.shape[1] : c.attributes.number('num_heads');
      const headDim = heads4 ? given.shape[3] : given.shape[2] / heads;
      const rotaryDim = c.attributes.number('rotary_embedding_dim', 0) || headDim;
      const input = lab.floats(given);
      const packed = { ...(heads4 ? permute(lab, input, [0, 2, 1, 3]) : input), shape: [B * T, heads * headDim] };
      const rows = ids && Uint32Array.from(ids.integers);
      const [cos, sin] = [cosCache, sinCache].map((cache) => {
        const table = lab.floats(cache);
        return rows ? takeRows(lab, table, cache.shape.at(-1)!, rows) : table;
      });
      // With a table row for every row of x, position r mod T is row r itself.
      const { out } = rope.forward(
        lab.recorder,
        { x: packed, cos, sin },
        {},
        { T: B * T, heads, rotaryHeads: heads, headDim, rotaryDim, interleaved: c.attributes.flag('interleaved') },
      );
      const y = heads4 ? permute(lab, { ...out, shape: [B, T, heads, headDim] }, [0, 2, 1, 3]) : out;
      return [(await lab.run({ y })).y];
    },
  },
];
