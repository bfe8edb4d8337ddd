import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError, FormatError } from '../../src/base/errors.ts';
import { formatModelConfig, parseModelConfig, type ModelConfig } from '../../src/model/config.ts';
import { PRESET_NAMES, presetConfig, presetContext } from '../../src/model/presets.ts';
import { modelTypes } from '../../src/model/registry.ts';
import { countNumbers, weightSpecs } from '../../src/model/weights.ts';

const text = (name: string): string =>
  readFileSync(new URL(`../golden/models/${name}/config.json`, import.meta.url), 'utf8');
const rulesOf = (type: string) => modelTypes.get(type)!.fields.fields;
const aliasesOf = (type: string) => modelTypes.get(type)!.fields.aliases;
const changed =
  (name: string, fields: Record<string, unknown>): (() => unknown) =>
  () =>
    parseModelConfig(JSON.stringify({ ...JSON.parse(text(name)), ...fields }));

describe('parseModelConfig', () => {
  it('reads gpt2', () => {
    expect(parseModelConfig(text('gpt2-tiny'))).toMatchObject({
      family: 'gpt2',
      layers: 2,
      hidden: 32,
      heads: 4,
      kvHeads: 4,
      headDim: 8,
      mlp: 128,
      vocab: 64,
      maxPositions: 16,
      normEps: 1e-5,
      tied: true,
      initStd: 0.02,
      warnings: [],
    });
  });

  it('reads llama', () => {
    expect(parseModelConfig(text('llama-tiny'))).toMatchObject({
      family: 'llama',
      layers: 2,
      hidden: 32,
      heads: 4,
      kvHeads: 2,
      headDim: 8,
      mlp: 64,
      vocab: 96,
      maxPositions: 32,
      normEps: 1e-6,
      tied: false,
      ropeTheta: 1e4,
      linearAttentionLayers: [],
    });
  });

  it('reads mixtral', () => {
    expect(parseModelConfig(text('mixtral-tiny'))).toMatchObject({
      family: 'mixtral',
      kvHeads: 2,
      mlp: 48,
      ropeTheta: 1e6,
      experts: 4,
      expertsPerToken: 2,
      normEps: 1e-5,
      tied: false,
    });
  });

  it('reads llama_hybrid', () => {
    expect(parseModelConfig(text('lasp2h-tiny'))).toMatchObject({
      family: 'llama',
      layers: 4,
      linearAttentionLayers: [0, 1, 2],
    });
  });

  it('fills in the defaults of Hugging Face', () => {
    expect(parseModelConfig('{"model_type":"gpt2"}')).toMatchObject({
      layers: 12,
      hidden: 768,
      heads: 12,
      headDim: 64,
      mlp: 3072,
      vocab: 50257,
      maxPositions: 1024,
      tied: true,
    });
    const llama = {
      model_type: 'llama',
      hidden_size: 64,
      num_attention_heads: 4,
      num_hidden_layers: 1,
      intermediate_size: 96,
      vocab_size: 10,
    };
    expect(parseModelConfig(JSON.stringify(llama))).toMatchObject({
      kvHeads: 4,
      headDim: 16,
      ropeTheta: 1e4,
      normEps: 1e-6,
      maxPositions: 2048,
      tied: false,
    });
    expect(parseModelConfig(JSON.stringify({ ...llama, head_dim: 32 }))).toMatchObject({ headDim: 32 });
    expect(
      parseModelConfig(JSON.stringify({ ...llama, rope_parameters: { rope_type: 'default', rope_theta: 5e5 } })),
    ).toMatchObject({ ropeTheta: 5e5 });
    expect(
      parseModelConfig(JSON.stringify({ ...llama, model_type: 'mixtral', num_attention_heads: 16 })),
    ).toMatchObject({ kvHeads: 8, ropeTheta: 1e6, experts: 8, expertsPerToken: 2, normEps: 1e-5 });
  });

  it('keeps every field for writing back', () => {
    for (const name of ['gpt2-tiny', 'llama-tiny', 'mixtral-tiny', 'lasp2h-tiny'])
      expect(JSON.parse(formatModelConfig(parseModelConfig(text(name))))).toEqual(JSON.parse(text(name)));
  });

  it('warns of dropout, in one sentence', () => {
    const warnings = [
      'config.json asks for dropout (resid_pdrop 0.1, attn_pdrop 0.2), which is not applied: training here has none',
    ];
    expect(changed('gpt2-tiny', { resid_pdrop: 0.1, attn_pdrop: 0.2 })()).toMatchObject({ warnings });
  });

  it('says float32 where the weights are written, whatever the file said', () => {
    for (const name of ['torch_dtype', 'dtype']) {
      const config = changed('llama-tiny', { torch_dtype: undefined, [name]: 'bfloat16' })() as ModelConfig;
      expect(JSON.parse(formatModelConfig(config))).toMatchObject({ [name]: 'float32' });
    }
    const without = JSON.parse(
      formatModelConfig(changed('llama-tiny', { torch_dtype: undefined })() as ModelConfig),
    ) as object;
    expect(without).not.toHaveProperty('torch_dtype');
  });

  it.each<[string, string, Record<string, unknown>, string]>([
    [
      'an unknown family',
      'gpt2-tiny',
      { model_type: 'bert' },
      'model_type: expected gpt2, llama, llama_hybrid or mixtral, got "bert"',
    ],
    [
      'no family',
      'gpt2-tiny',
      { model_type: null },
      'model_type: expected gpt2, llama, llama_hybrid or mixtral, but the field is missing',
    ],
    [
      'exact gelu',
      'gpt2-tiny',
      { activation_function: 'gelu' },
      'activation_function: expected gelu_new, gelu_pytorch_tanh, gelu_fast, gelu_accurate or gelu_python_tanh, got "gelu"',
    ],
    ['heads that do not divide', 'gpt2-tiny', { n_head: 5 }, 'n_embd: expected a multiple of n_head 5, got 32'],
    ['a negative size', 'gpt2-tiny', { n_layer: -1 }, 'n_layer: expected a whole number from 1 to 1024, got -1'],
    [
      'more layers than anybody has',
      'gpt2-tiny',
      { n_layer: 1025 },
      'n_layer: expected a whole number from 1 to 1024, got 1025',
    ],
    [
      'more experts than anybody has',
      'mixtral-tiny',
      { num_local_experts: 1e6 },
      'num_local_experts: expected a whole number from 1 to 1024, got 1000000',
    ],
    ['a size as text', 'gpt2-tiny', { n_embd: '32' }, 'n_embd: expected a whole number from 1 to 16777216, got "32"'],
    [
      'unscaled attention',
      'gpt2-tiny',
      { scale_attn_weights: false },
      'scale_attn_weights: only true is supported, got false',
    ],
    [
      'attention scaled by layer',
      'gpt2-tiny',
      { scale_attn_by_inverse_layer_idx: true },
      'scale_attn_by_inverse_layer_idx: only false',
    ],
    ['relu', 'llama-tiny', { hidden_act: 'relu' }, 'hidden_act: expected silu or swish, got "relu"'],
    [
      'rope scaling',
      'llama-tiny',
      { rope_scaling: { type: 'linear', factor: 2 } },
      'rope_scaling.type: only "default" is supported, got "linear": scaled rotary angles are not implemented',
    ],
    [
      'rope parameters of another type',
      'llama-tiny',
      { rope_parameters: { rope_type: 'yarn' } },
      'rope_parameters.rope_type: only "default" is supported, got "yarn"',
    ],
    ['attention biases', 'llama-tiny', { attention_bias: true }, 'attention_bias: only false is supported, got true'],
    ['mlp biases', 'llama-tiny', { mlp_bias: true }, 'mlp_bias: only false'],
    [
      'kv heads that do not divide',
      'llama-tiny',
      { num_key_value_heads: 3 },
      'num_key_value_heads: expected a divisor of num_attention_heads 4, got 3',
    ],
    [
      'an odd head',
      'llama-tiny',
      { head_dim: 7 },
      'head_dim: rotary angles turn pairs, so expected an even number, got 7',
    ],
    [
      'a missing size',
      'llama-tiny',
      { hidden_size: null },
      'hidden_size: expected a whole number from 1 to 16777216, but the field is missing',
    ],
    ['eps of zero', 'llama-tiny', { rms_norm_eps: 0 }, 'rms_norm_eps: expected a number from 1e-30 to 1, got 0'],
    [
      'more experts per token than experts',
      'mixtral-tiny',
      { num_experts_per_tok: 5 },
      'num_experts_per_tok: expected at most num_local_experts 4, got 5',
    ],
    [
      'linear layers in a plain llama',
      'llama-tiny',
      { linear_attention_layers: [0] },
      'linear_attention_layers: only [] is supported, got [0]: only llama_hybrid has linear-attention layers',
    ],
    [
      'a linear layer that does not exist',
      'lasp2h-tiny',
      { linear_attention_layers: [4] },
      'linear_attention_layers: expected a list of layers from 0 to 3',
    ],
    [
      'another feature map',
      'lasp2h-tiny',
      { linear_attention_feature_map: 'relu' },
      'linear_attention_feature_map: only "elu_plus_one"',
    ],
  ])('refuses %s', (_, name, fields, message) => {
    expect(changed(name, fields)).toThrow(ConfigError);
    expect(changed(name, fields)).toThrow(message);
  });

  it('any value in any field: a config or a ConfigError', () => {
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom(
        0,
        1,
        2,
        4,
        7,
        2 ** 24,
        2 ** 31,
        1e308,
        -1,
        'silu',
        'gelu_new',
        'llama_hybrid',
        true,
        false,
        null,
      ),
    );
    const edits = fc.constantFrom('gpt2-tiny', 'llama-tiny', 'mixtral-tiny', 'lasp2h-tiny').chain((name) => {
      const type = (JSON.parse(text(name)) as { model_type: string }).model_type;
      const field = fc.oneof(
        { weight: 9, arbitrary: fc.constantFrom(...Object.keys(rulesOf(type)), ...Object.keys(aliasesOf(type))) },
        { weight: 1, arbitrary: fc.string() },
      );
      return fc.tuple(fc.constant(name), fc.array(fc.tuple(field, value), { minLength: 1, maxLength: 3 }));
    });
    let accepted = 0;
    fc.assert(
      fc.property(edits, ([name, fields]) => {
        try {
          const config = changed(name, Object.fromEntries(fields))() as ModelConfig;
          expect(
            Number.isSafeInteger(config.headDim) && config.headDim * config.heads >= 1 && config.layers <= 1024,
          ).toBe(true);
          expect(
            config.normEps > 0 &&
              config.initStd >= 0 &&
              (config.family === 'gpt2' || (config.ropeTheta > 0 && config.window >= 1)),
          ).toBe(true);
          expect(parseModelConfig(formatModelConfig(config))).toMatchObject({
            layers: config.layers,
            mlp: config.mlp,
            vocab: config.vocab,
          });
          accepted++;
        } catch (error) {
          // A lone surrogate from the generator is the one FormatError here.
          if (!(error instanceof ConfigError || error instanceof FormatError)) throw error;
        }
      }),
      { numRuns: 5000, seed: 3 },
    );
    expect(accepted).toBeGreaterThan(500);
  });

  it('reads the window of the attention, which a run compares with its context', () => {
    expect(changed('mixtral-tiny', { sliding_window: 16 })()).toMatchObject({ window: 16 });
    expect(changed('mixtral-tiny', { sliding_window: 16, use_sliding_window: false })()).toMatchObject({
      window: Infinity,
    });
    expect(changed('mixtral-tiny', {})()).toMatchObject({ window: Infinity });
  });

  it('refuses what is no config at all', () => {
    expect(() => parseModelConfig('[]')).toThrow(ConfigError);
    expect(() => parseModelConfig('{"model_type":"gpt2","model_type":"llama"}')).toThrow(FormatError);
    expect(() => parseModelConfig('')).toThrow('config.json: JSON at character 0: expected a value');
  });
});

describe('presets', () => {
  it.each(PRESET_NAMES)('%s is a config that reads back and splits by 2', (name) => {
    const config = presetConfig(name, 512);
    expect(config).toMatchObject({ vocab: 512, maxPositions: presetContext(name), warnings: [] });
    expect(parseModelConfig(formatModelConfig(config))).toEqual(config);
    for (const extent of [config.layers, config.heads, config.kvHeads, config.mlp, config.hidden, config.maxPositions])
      expect(extent % 2).toBe(0);
  });

  it('have the sizes that their names promise', () => {
    expect(PRESET_NAMES.map((name) => `${name} ${countNumbers(weightSpecs(presetConfig(name, 512)))}`))
      .toMatchInlineSnapshot(`
      [
        "gpt2-nano 136960",
        "gpt2-micro 875264",
        "gpt2-mini 6515200",
        "llama-nano 164160",
        "llama-micro 918656",
        "mixtral-nano 287552",
      ]
    `);
  });

  it('take another context or depth', () => {
    expect(presetConfig('gpt2-nano', 256, { context: 32, layers: 4 })).toMatchObject({ maxPositions: 32, layers: 4 });
  });

  it('an unknown name lists the known ones', () => {
    expect(() => presetConfig('toString', 10)).toThrow('model: expected a preset (gpt2-nano, gpt2-micro,');
  });
});
