// GPT-2 (GPT2LMHeadModel): h = wte[token] + wpe[position]; per layer h += proj(attention(ln_1 h)), h +=
// proj(gelu(fc(ln_2 h))); logits = ln_f(h) wte^T. Conv1D weights are stored [in, out] and read transposed. c_attn's
// columns are Q | K | V, cut by heads under tp.

import type { Tensor } from '../device/tensor.ts';
import { gelu } from '../ops/gelu.ts';
import { layerNorm } from '../ops/layer-norm.ts';
import { add } from '../ops/add.ts';
import { embedding } from '../ops/embedding.ts';
import { positionEmbedding } from '../ops/position-embedding.ts';
import type { ModelConfig } from './config.ts';
import type { Network, NetworkContext } from './network.ts';
import { gluedVector, matrix, vector, vocabMatrix } from './param-spec.ts';
import type { ParamSpec } from './param-spec.ts';
import type { ShardPlace } from './parallelism.ts';

const ROOT = 'transformer';

function layerParams(config: ModelConfig, layer: number, { tp }: ShardPlace): readonly ParamSpec[] {
  const { hidden: D, mlp: F } = config;
  const [d, f] = [D / tp.size, F / tp.size];
  const at = `${ROOT}.h.${layer}`;
  const qkv = [0, 1, 2].map((part) => ({ rows: d, fromRow: part * D + tp.rank * d }));
  return [
    vector(`h${layer}.ln1.w`, `${at}.ln_1.weight`, D, 'replicated'),
    vector(`h${layer}.ln1.b`, `${at}.ln_1.bias`, D, 'replicated'),
    matrix(
      `h${layer}.qkv.w`,
      D,
      'tensor',
      qkv.map((part) => ({ weight: `${at}.attn.c_attn.weight`, transposed: true, ...part })),
    ),
    gluedVector(
      `h${layer}.qkv.b`,
      'tensor',
      qkv.map((part) => ({ weight: `${at}.attn.c_attn.bias`, ...part })),
    ),
    matrix(`h${layer}.proj.w`, d, 'tensor', [
      { weight: `${at}.attn.c_proj.weight`, rows: D, fromCol: tp.rank * d, transposed: true },
    ]),
    vector(`h${layer}.proj.b`, `${at}.attn.c_proj.bias`, D, 'replicated'),
    vector(`h${layer}.ln2.w`, `${at}.ln_2.weight`, D, 'replicated'),
    vector(`h${layer}.ln2.b`, `${at}.ln_2.bias`, D, 'replicated'),
    matrix(`h${layer}.fc.w`, D, 'tensor', [
      { weight: `${at}.mlp.c_fc.weight`, rows: f, fromRow: tp.rank * f, transposed: true },
    ]),
    vector(`h${layer}.fc.b`, `${at}.mlp.c_fc.bias`, f, 'tensor', tp.rank * f),
    matrix(`h${layer}.out.w`, f, 'tensor', [
      { weight: `${at}.mlp.c_proj.weight`, rows: D, fromCol: tp.rank * f, transposed: true },
    ]),
    vector(`h${layer}.out.b`, `${at}.mlp.c_proj.bias`, D, 'replicated'),
  ];
}

export const gpt2: Network = {
  params(config, range, place) {
    const { hidden: D, vocab: V, tied } = config;
    const specs: ParamSpec[] = [];
    if (range.first) {
      specs.push(vocabMatrix('wte', `${ROOT}.wte.weight`, V, D, place.tp, 'tensor'));
      specs.push(matrix('wpe', D, 'replicated', [{ weight: `${ROOT}.wpe.weight`, rows: config.maxPositions }]));
    }
    for (let layer = range.firstLayer; layer < range.endLayer; layer++)
      specs.push(...layerParams(config, layer, place));
    if (range.last) {
      specs.push(
        vector('lnf.w', `${ROOT}.ln_f.weight`, D, 'replicated'),
        vector('lnf.b', `${ROOT}.ln_f.bias`, D, 'replicated'),
      );
      if (!tied) specs.push(vocabMatrix('head', 'lm_head.weight', V, D, place.tp, 'tensor'));
      else if (!range.first) specs.push(vocabMatrix('tiedHead', `${ROOT}.wte.weight`, V, D, place.tp, 'tied'));
    }
    return specs;
  },
  embed(c, ids) {
    const embedded = c.parallelism.embedding(c.tape, ids, c.param('wte'));
    const table = c.param('wpe');
    if (!c.positions)
      return c.tape.apply(positionEmbedding, { x: embedded }, { table }, { T: c.T, posStart: c.posStart });
    const looked = c.tape.apply(embedding, { ids: c.positions }, { table }, { vStart: 0 });
    return c.tape.apply(add, { a: embedded, b: looked }, {}, null);
  },
  block(c, layer, x) {
    const p = (name: string) => c.param(`h${layer}.${name}`);
    const { tape, parallelism: par, config } = c;
    const a = norm(c, x, `h${layer}.ln1`);
    const qkv = par.columnLinear(tape, a, p('qkv.w'), p('qkv.b'));
    const heads = config.heads / par.tp.size;
    const attended = par.attention(tape, qkv, {
      B: c.B,
      T: c.T,
      heads,
      kvHeads: heads,
      headDim: config.headDim,
      causal: true,
      scale: 1 / Math.sqrt(config.headDim),
      mask: c.mask,
    });
    const mid = par.rowLinear(tape, attended, p('proj.w'), p('proj.b'), x);
    const hidden = par.columnLinear(tape, norm(c, mid, `h${layer}.ln2`), p('fc.w'), p('fc.b'));
    return par.rowLinear(tape, tape.apply(gelu, { x: hidden }, {}, { tanh: true }), p('out.w'), p('out.b'), mid);
  },
  norm: (c, x) => norm(c, x, 'lnf'),
  headName: (config, range) => (!config.tied ? 'head' : range.first ? 'wte' : 'tiedHead'),
};

function norm(c: NetworkContext, x: Tensor, name: string): Tensor {
  return c.tape.apply(
    layerNorm,
    { x },
    { w: c.param(`${name}.w`), b: c.param(`${name}.b`) },
    { eps: c.config.normEps },
  );
}
