import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FormatError, LimitError } from '../../src/base/errors.ts';
import {
  readSafetensors,
  writeSafetensors,
  type SafetensorsFile,
  type WriteEntry,
} from '../../src/base/safetensors.ts';
import { parseModelConfig, type ModelConfig } from '../../src/model/config.ts';
import { presetConfig } from '../../src/model/presets.ts';
import { checkWeights } from '../../src/model/huggingface/weights-file.ts';
import { countNumbers, fillInitialWeight, initialWeight, weightSpecs } from '../../src/model/weights.ts';

const NAMES = ['gpt2-tiny', 'llama-tiny', 'mixtral-tiny', 'lasp2h-tiny'] as const;
const folder = (name: string): { config: ModelConfig; file: SafetensorsFile; parameters: number } => {
  const read = (file: string): Buffer => readFileSync(new URL(`../golden/models/${name}/${file}`, import.meta.url));
  return {
    config: parseModelConfig(read('config.json').toString()),
    file: readSafetensors(new Uint8Array(read('model.safetensors'))),
    parameters: (JSON.parse(read('run.json').toString()) as { parameters: number }).parameters,
  };
};

describe('weightSpecs', () => {
  it.each(NAMES)('of %s are the names, shapes and number of weights in the file', (name) => {
    const { config, file, parameters } = folder(name);
    expect(weightSpecs(config).map((s) => [s.name, s.shape])).toEqual([...file.tensors].map(([n, t]) => [n, t.shape]));
    expect(countNumbers(weightSpecs(config))).toBe(parameters);
  });

  it('GPT-2 starts as GPT-2: 0.02, residual projections smaller, ones and zeros; matrices decay', () => {
    const specs = new Map(weightSpecs(presetConfig('gpt2-micro', 256)).map((s) => [s.name, s]));
    expect(specs.get('transformer.wte.weight')).toMatchObject({ init: { kind: 'normal', std: 0.02 }, decays: true });
    expect(specs.get('transformer.h.3.mlp.c_proj.weight')).toMatchObject({
      shape: [512, 128],
      init: { kind: 'normal', std: 0.02 / Math.sqrt(8) },
    });
    expect(specs.get('transformer.h.3.attn.c_proj.weight')!.init).toEqual({ kind: 'normal', std: 0.02 / Math.sqrt(8) });
    expect(specs.get('transformer.h.0.ln_1.weight')).toMatchObject({ init: { kind: 'ones' }, decays: false });
    expect(specs.get('transformer.h.0.attn.c_attn.bias')).toMatchObject({
      shape: [384],
      init: { kind: 'zeros' },
      decays: false,
    });
    expect(specs.has('lm_head.weight')).toBe(false);
  });
});

describe('limits', () => {
  it('a table beyond 2^31 elements is refused before anything is allocated', () => {
    expect(() => weightSpecs({ ...presetConfig('gpt2-nano', 256), vocab: 2 ** 24, hidden: 128 })).toThrow(LimitError);
  });
});

describe('initialWeight', () => {
  const spec = weightSpecs(presetConfig('llama-nano', 300))[1]!;

  it('has the spread of its spec, and another seed or name gives other values', () => {
    const w = initialWeight(spec, 1);
    expect(w.length).toBe(64 * 64);
    expect(Math.sqrt(w.reduce((sum, v) => sum + v * v, 0) / w.length)).toBeCloseTo(0.02, 3);
    expect(initialWeight(spec, 2)[0]).not.toBe(w[0]);
    expect(initialWeight({ ...spec, name: 'other' }, 1)[0]).not.toBe(w[0]);
  });

  it('a shard filled row by row has the bits of the whole', () => {
    const whole = initialWeight(spec, 1);
    // The second half of the columns, as a row-parallel shard holds them.
    const row = new Float32Array(32);
    for (let r = 0; r < 64; r++) {
      fillInitialWeight(row, spec, 1, r * 64 + 32);
      expect([...row]).toEqual([...whole.subarray(r * 64 + 32, r * 64 + 64)]);
    }
    fillInitialWeight(row, spec, 1, 31);
    expect([...row]).not.toEqual([...whole.subarray(32, 64)]);
  });
});

describe('checkWeights', () => {
  const { config, file } = folder('gpt2-tiny');
  type Tensors = Map<string, WriteEntry>;
  const variant = (edit: (tensors: Tensors) => void, of: SafetensorsFile = file): SafetensorsFile => {
    const tensors: Tensors = new Map(
      [...of.tensors].map(([name, { dtype, shape, bytes }]) => [name, { dtype, shape, data: bytes }]),
    );
    edit(tensors);
    return readSafetensors(writeSafetensors(tensors));
  };
  const zeros = (...shape: number[]): WriteEntry => ({
    dtype: 'F32',
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
  });

  it.each(NAMES)('accepts %s', (name) => {
    const { config, file } = folder(name);
    const weights = checkWeights(config, file);
    expect([...weights.keys()]).toEqual(weightSpecs(config).map((s) => s.name));
  });

  it('accepts names without the prefix, old buffers and a tied head', () => {
    const bare = variant((t) => {
      for (const [name, entry] of [...t]) {
        t.delete(name);
        t.set(name.replace('transformer.', ''), entry);
      }
      t.set('h.0.attn.bias', zeros(1, 1, 16, 16));
      t.set('h.1.attn.masked_bias', zeros());
      t.set('lm_head.weight', t.get('wte.weight')!);
    });
    expect(checkWeights(config, bare)).toEqual(checkWeights(config, file));
  });

  it('reads F16, BF16 and F64', () => {
    const half = variant((t) => {
      t.set('transformer.ln_f.weight', { dtype: 'F16', shape: [32], data: new Uint16Array(32).fill(0x3c00) });
      t.set('transformer.ln_f.bias', { dtype: 'BF16', shape: [32], data: new Uint16Array(32).fill(0x3f80) });
      t.set('transformer.h.0.ln_1.bias', { dtype: 'F64', shape: [32], data: new Float64Array(32).fill(0.5) });
    });
    const weights = checkWeights(config, half);
    expect([
      weights.get('transformer.ln_f.weight')![3],
      weights.get('transformer.ln_f.bias')![3],
      weights.get('transformer.h.0.ln_1.bias')![3],
    ]).toEqual([1, 1, 0.5]);
  });

  it.each<[string, (t: Tensors) => void, string]>([
    ['missing', (t) => t.delete('transformer.h.1.ln_2.bias'), 'transformer.h.1.ln_2.bias [32] is missing'],
    [
      'extra',
      (t) => t.set('transformer.h.2.ln_1.weight', zeros(32)),
      'transformer.h.2.ln_1.weight is not a weight of this model',
    ],
    ['a buffer with a wrong name', (t) => t.set('h.0.attn.biases', zeros(1)), 'h.0.attn.biases is not a weight'],
    [
      'twice',
      (t) => t.set('wte.weight', zeros(64, 32)),
      'transformer.wte.weight stands twice, with and without the prefix transformer.',
    ],
    [
      'transposed',
      (t) => t.set('transformer.h.0.attn.c_attn.weight', zeros(96, 32)),
      'transformer.h.0.attn.c_attn.weight is [96, 32], expected [32, 96]',
    ],
    [
      'NaN',
      (t) => t.set('transformer.ln_f.bias', { ...zeros(32), data: new Float32Array(32).fill(NaN, 7, 8) }),
      'transformer.ln_f.bias[7] is NaN',
    ],
    [
      'a double beyond f32',
      (t) => t.set('transformer.ln_f.bias', { dtype: 'F64', shape: [32], data: new Float64Array(32).fill(1e39) }),
      'transformer.ln_f.bias[0] is Infinity',
    ],
    [
      'another head of a tied model',
      (t) => t.set('lm_head.weight', zeros(64, 32)),
      'lm_head.weight differs from transformer.wte.weight although tie_word_embeddings is true; set it to false to train both',
    ],
    [
      'a bias that GPT-2 has not',
      (t) => t.set('lm_head.bias', zeros(64)),
      'lm_head.bias is not a weight of this model',
    ],
    [
      'a buffer of another family',
      (t) => t.set('model.layers.0.self_attn.rotary_emb.inv_freq', zeros(4)),
      'rotary_emb.inv_freq is not a weight of this model',
    ],
    [
      'booleans',
      (t) => t.set('transformer.ln_f.bias', { dtype: 'BOOL', shape: [32], data: new Uint8Array(32) }),
      'transformer.ln_f.bias is BOOL, expected F32',
    ],
    [
      'whole numbers',
      (t) => t.set('transformer.ln_f.bias', { dtype: 'I32', shape: [32], data: new Int32Array(32) }),
      'transformer.ln_f.bias is I32, expected F32, F16, BF16 or F64',
    ],
  ])('refuses a tensor that is %s', (_, edit, message) => {
    const bad = variant((t) => {
      edit(t);
    });
    expect(() => checkWeights(config, bad)).toThrow(FormatError);
    expect(() => checkWeights(config, bad)).toThrow(message);
  });

  it("takes the rotary frequencies of a llama for what they are, and a llama's own head", () => {
    const llama = folder('llama-tiny');
    const old = variant((t) => {
      for (const i of [0, 1]) t.set(`model.layers.${i}.self_attn.rotary_emb.inv_freq`, zeros(4));
      t.set('model.rotary_emb.inv_freq', zeros(4));
      t.set('rotary_emb.original_inv_freq', zeros(4));
    }, llama.file);
    expect(checkWeights(llama.config, old)).toEqual(checkWeights(llama.config, llama.file));
    const bare = variant((t) => {
      for (const [name, entry] of [...t]) {
        t.delete(name);
        t.set(name.replace(/^model\./, ''), entry);
      }
    }, llama.file);
    expect(checkWeights(llama.config, bare)).toEqual(checkWeights(llama.config, llama.file));
    expect(() =>
      checkWeights(
        llama.config,
        variant((t) => {
          t.set('model.layers.0.self_attn.q_proj.bias', zeros(32));
        }, llama.file),
      ),
    ).toThrow('model.layers.0.self_attn.q_proj.bias is not a weight of this model');
  });

  it('a tensor of a type that is not read here is refused where it is needed, and otherwise left out and told', () => {
    const foreign = (entries: readonly (readonly [string, readonly number[]])[]): SafetensorsFile => ({
      ...file,
      tensors: new Map([...file.tensors].filter(([name]) => !entries.some(([other]) => other === name))),
      foreign: new Map(
        entries.map(([name, shape]) => [
          name,
          { dtype: 'F8_E4M3', shape, bytes: new Uint8Array(shape.reduce((a, b) => a * b, 1)) },
        ]),
      ),
    });
    const notes: string[] = [];
    const weights = checkWeights(
      config,
      foreign([
        ['unused.scale', [3]],
        ['h.0.attn.bias', [1]],
        ['lm_head.weight', [64, 32]],
      ]),
      'x.safetensors',
      (text) => notes.push(text),
    );
    expect(weights).toEqual(checkWeights(config, file));
    expect(notes).toEqual(['x.safetensors: left out unused.scale (F8_E4M3), of which this network has no use']);
    expect(() => checkWeights(config, foreign([['transformer.ln_f.bias', [32]]]))).toThrow(
      'transformer.ln_f.bias is F8_E4M3, expected F32, F16, BF16 or F64',
    );
    // A scale of a matrix that we would multiply without it.
    expect(() => checkWeights(config, foreign([['h.0.attn.c_attn.weight_scale', [1]]]))).toThrow(
      'h.0.attn.c_attn.weight_scale is not a weight of this model',
    );
  });

  it('f32 weights are views of the file, so large ones are in memory once', () => {
    const buffer = [...file.tensors.values()][0]!.bytes.buffer;
    expect([...checkWeights(config, file).values()].every((values) => values.buffer === buffer)).toBe(true);
  });

  it('an untied model needs its head', () => {
    const llama = folder('llama-tiny');
    expect(() =>
      checkWeights(
        llama.config,
        variant((t) => {
          t.delete('lm_head.weight');
        }, llama.file),
      ),
    ).toThrow(
      'lm_head.weight [96, 32] is missing (if it is the embedding table, set tie_word_embeddings to true in config.json)',
    );
  });

  it('lists five problems and counts the rest in one sentence', () => {
    expect(() => checkWeights(folder('llama-tiny').config, file)).toThrow(
      /^model\.safetensors: does not fit config\.json \(llama, 2 layers, hidden 32, vocabulary 96\): (?:[^;]+; ){5}and 44 more\. Take config\.json and model\.safetensors from the same model folder\.$/,
    );
  });
});
