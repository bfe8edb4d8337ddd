// A family as somebody would add it, in one file: attention and MLP of a layer read the same norm and are added up
// together (as in PaLM), without biases, with rotary angles of a fixed base. Some heads of each layer have a mixer of
// their own.

import { gelu } from '../../src/ops/gelu.ts';
import { rmsNorm } from '../../src/ops/rms-norm.ts';
import { rope } from '../../src/ops/rope.ts';
import type { CommonConfig } from '../../src/model/config.ts';
import { ATTENTION_SPLITS, defineFamily } from '../../src/model/family.ts';
import { COMMON_FIELDS, exactly, read } from '../../src/model/huggingface/field-rules.ts';
import { EPS, MAX_LAYERS } from '../../src/model/huggingface/fields.ts';
import { mixTokens } from '../../src/model/mixing/mix-tokens.ts';
import type { LayerMixers } from '../../src/model/mixing/mixer.ts';
import type { NetworkContext } from '../../src/model/network.ts';
import { headWeight, normal, ONES, residual, weight } from '../../src/model/weight.ts';
import type { Tensor } from '../../src/device/tensor.ts';

export interface ParallelConfig extends CommonConfig {
  readonly family: 'parallel';
  /** The last ones of each layer, which average the values so far. */
  readonly averageHeads: number;
}

const mixersAt = ({ heads, averageHeads }: ParallelConfig, _layer: number): LayerMixers =>
  averageHeads === 0
    ? 'softmax'
    : [
        { mixer: 'softmax', heads: heads - averageHeads },
        { mixer: 'average', heads: averageHeads },
      ];

const norm = ({ tape, config, param }: NetworkContext<ParallelConfig>, x: Tensor, name: string): Tensor =>
  tape.apply(rmsNorm, { x }, { w: param(name) }, { eps: config.normEps });

export const family = defineFamily<ParallelConfig>({
  name: 'parallel',
  modelTypes: {
    parallel: {
      fields: {
        ...COMMON_FIELDS,
        ...read('width depth n_heads average_heads mlp_width context norm_eps'),
        use_bias: exactly(false, 'biases are not implemented'),
      },
      aliases: { hidden_size: 'width' },
    },
  },
  read(f) {
    const hidden = f.natural('width');
    const heads = f.natural('n_heads');
    return {
      family: 'parallel',
      layers: f.natural('depth', undefined, MAX_LAYERS),
      hidden,
      heads,
      kvHeads: heads,
      averageHeads: f.has('average_heads') ? f.natural('average_heads', undefined, heads - 1) : 0,
      headDim: f.divide('width', hidden, 'n_heads', heads),
      mlp: f.natural('mlp_width', 4 * hidden),
      vocab: f.natural('vocab_size'),
      maxPositions: f.natural('context', 64),
      normEps: f.number('norm_eps', 1e-5, EPS),
      tied: f.boolean('tie_word_embeddings', true),
      ...f.rest(),
    };
  },
  weights(config) {
    const { hidden: D, mlp: M, vocab: V } = config;
    return {
      embedding: [weight('table', 'net.table', [V, D], normal(config), 'vocabulary')],
      layer: (i) => [
        weight(`h${i}.norm`, `net.${i}.norm`, [D], ONES, 'whole'),
        ...['q', 'k', 'v'].map((name) => weight(`h${i}.qkv`, `net.${i}.${name}`, [D, D], normal(config), 'rows')),
        weight(`h${i}.o`, `net.${i}.o`, [D, D], residual(config), 'columns'),
        weight(`h${i}.up`, `net.${i}.up`, [M, D], normal(config), 'rows'),
        weight(`h${i}.down`, `net.${i}.down`, [D, M], residual(config), 'columns'),
      ],
      end: [weight('last', 'net.last', [D], ONES, 'whole'), ...headWeight(config)],
    };
  },
  network: {
    block(c, layer, x) {
      const { tape, parallelism: par, config, rotary } = c;
      const p = (name: string) => c.param(`h${layer}.${name}`);
      const { headDim } = config;
      const heads = config.heads / par.tp.size;
      const normed = norm(c, x, `h${layer}.norm`);
      const turned = tape.apply(
        rope,
        { x: par.columnLinear(tape, normed, p('qkv')), ...rotary! },
        {},
        {
          T: rotary!.cos.shape[0],
          heads: 3 * heads,
          rotaryHeads: 2 * heads,
          headDim,
          rotaryDim: headDim,
          interleaved: false,
        },
      );
      const attended = mixTokens(c, layer, mixersAt(config, layer), turned);
      const mid = par.rowLinear(tape, attended, p('o')).settle(x);
      const active = tape.apply(gelu, { x: par.columnLinear(tape, normed, p('up')) }, {}, { tanh: true });
      return par.rowLinear(tape, active, p('down')).settle(mid);
    },
    norm: (c, x) => norm(c, x, 'last'),
  },
  mixers: mixersAt,
  mixersField: 'average_heads',
  positions: () => ({ kind: 'rotary', theta: 1e4 }),
  splits: ATTENTION_SPLITS,
  files: { prefix: 'net.', buffers: /^net\.mask$/ },
  presets: {
    sizes: { 'parallel-nano': { layers: 2, hidden: 32, heads: 4, kvHeads: 4, context: 32 } },
    config: (s, vocab) => ({
      model_type: 'parallel',
      width: s.hidden,
      depth: s.layers,
      n_heads: s.heads,
      average_heads: 1,
      context: s.context,
      vocab_size: vocab,
    }),
  },
});
