// Every model family keeps the contract: its presets are read, its weights are held once by the ranks of any layout,
// and a step of training is that of one device and sends the bytes of the formula. A family is one file: one more joins
// the registry here, and nothing else knows it.

import { afterEach, describe, expect, it, test, vi } from 'vitest';
import { formatLayout, worldSize } from '../../src/base/axis.ts';
import { ConfigError, InternalError, LayoutError, UnsupportedError } from '../../src/base/errors.ts';
import { writeSafetensors, readSafetensors } from '../../src/base/safetensors.ts';
import { elements } from '../../src/base/shape.ts';
import { sharesOf } from '../../src/app/training/form/fit.ts';
import { pictureOf } from '../../src/app/training/form/picture.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { formatModelConfig, parseModelConfig } from '../../src/model/config.ts';
import { checkWeights } from '../../src/model/huggingface/weights-file.ts';
import { stageRange, writeParts } from '../../src/model/param-spec.ts';
import { singleRank } from '../../src/model/parallelism.ts';
import { isPresetName, PRESET_NAMES, presetConfig } from '../../src/model/presets.ts';
import { families, familyFiles, familyOf, mixersOf, registryOf } from '../../src/model/registry.ts';
import { headName, stageParams } from '../../src/model/stage-params.ts';
import { countNumbers, weightSpecs } from '../../src/model/weights.ts';
import { checkLayout, makeLayout, parseLayout } from '../../src/train/layout.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import { REPORT_WORDS } from '../../src/train/step/step-report.ts';
import { firstDifference, tensorsOf } from '../support/local-run.ts';
import { stepWireBytes } from '../support/step-wire-bytes.ts';

// Other defects, where they are asked for: a bias glued to a matrix, and an embedding without a table of tokens.
const hooks = vi.hoisted(() => ({ glue: false, noTable: false }));
afterEach(() => {
  Object.assign(hooks, { glue: false, noTable: false });
});

vi.mock('../../src/model/registry.ts', async (original) => {
  const real = await original<typeof import('../../src/model/registry.ts')>();
  const { family } = await import('../support/parallel-family.ts');
  // A defect: q, k and v of c_attn cut as if they were one.
  const { family: gpt2 } = await import('../../src/model/families/gpt2.ts');
  const broken: typeof gpt2 = {
    ...gpt2,
    name: 'broken' as never,
    modelTypes: { broken: gpt2.modelTypes['gpt2'] },
    read: (fields, type) => ({ ...gpt2.read(fields, type), family: 'broken' as never }),
    weights(config) {
      const weights = gpt2.weights(config);
      const param = (name: string): string => (hooks.glue ? name.replace('qkv.b', 'qkv.w') : name);
      return {
        ...weights,
        embedding: hooks.noTable ? weights.embedding.slice(1) : weights.embedding,
        layer: (i) => weights.layer(i).map(({ blocks: _, ...weight }) => ({ ...weight, param: param(weight.param) })),
      };
    },
    presets: {
      sizes: { 'broken-nano': gpt2.presets.sizes['gpt2-nano'] },
      config: (sizes, vocab) => ({ ...gpt2.presets.config(sizes, vocab), model_type: 'broken' }),
    },
  };
  const files = { ...real.familyFiles, './families/parallel.ts': family, './families/broken.ts': broken };
  return { ...real, ...real.registryOf(files) };
});

// The new family's mixer.
vi.mock('../../src/model/mixing/registry.ts', async (original) => {
  const real = await original<typeof import('../../src/model/mixing/registry.ts')>();
  const { mixer: average } = await import('../support/average-mixer.ts');
  return { ...real, ...real.mixersOfFiles({ ...real.mixerFiles, './mixers/average.ts': average }) };
});

const countOf = (preset: string): number => countNumbers(weightSpecs(presetConfig(preset, 9)));
/** The smallest preset of each family that is not broken. */
const PRESETS = [...families.values()]
  .filter(({ name }) => (name as string) !== 'broken')
  .map(({ presets }) =>
    Object.keys(presets.sizes).reduce((least, name) => (countOf(name) < countOf(least) ? name : least)),
  );
const [CONTEXT, BATCH] = [16, 4];

test('the contract runs on every family', () => {
  expect(PRESETS).toEqual(expect.arrayContaining(['gpt2-nano', 'llama-nano', 'mixtral-nano', 'parallel-nano']));
  expect(PRESETS.length).toBe(families.size - 1);
});

function configOf(model: string, layout: string): RunConfig {
  return parseRunConfig([
    ['model', model],
    ['data', 'copy'],
    ['layout', layout],
    ['context', String(CONTEXT)],
    ['batch', String(BATCH)],
    ['steps', '2'],
  ]);
}

async function train(model: string, layout: string) {
  const config = configOf(model, layout);
  const losses: number[] = [];
  const bytes: Readonly<Record<string, number>>[] = [];
  let gradients = new Map() as ReturnType<typeof tensorsOf>;
  let weights = gradients;
  let vocab = 0;
  await runInProcess({
    backend: 'cpu',
    config,
    files: {},
    wantGradients: true,
    wantModel: true,
    onEvent(rank, event) {
      if (event.kind === 'step') {
        if (rank === 0) losses.push(event.metrics.loss);
        bytes[rank] = event.metrics.bytesSent;
      } else if (event.kind === 'gradients') gradients = tensorsOf(event.bytes);
      else if (event.kind === 'model') {
        weights = tensorsOf(event.bytes);
        [vocab] = readSafetensors(event.bytes).tensors.values().next().value!.shape;
      }
    },
  });
  return { config, losses, bytes, gradients, weights, model: presetConfig(model, vocab, { context: CONTEXT }) };
}

const layoutsOf = (preset: string): readonly string[] => {
  const axes = new Set(familyOf(presetConfig(preset, 9)).splits.map(({ axis }) => axis));
  return ['pp=2', ...[...axes].map((axis) => `${axis}=2`), ...(axes.size > 1 ? ['ep=2,tp=2'] : [])];
};

describe.each(PRESETS)('%s', (preset) => {
  const config = presetConfig(preset, 21);
  const family = familyOf(config);

  it('is read, written back, and refuses a field that nobody decided on', () => {
    expect(parseModelConfig(formatModelConfig(config))).toEqual(config);
    const text = formatModelConfig(config).replace('{', '{"unheard_of": 1,');
    expect(() => parseModelConfig(text)).toThrow(UnsupportedError);
    expect(PRESET_NAMES).toContain(preset);
  });

  it.each([[1, 1, 1], [2, 1, 1], [3, 2, 1], ...(family.experts ? [[1, 2, 2]] : [])])(
    '%i stages, tp=%i, ep=%i hold every weight once, apart from replicas',
    (stages, tp, ep) => {
      const names = weightSpecs(config).map(({ name }) => name);
      expect(new Set(names).size).toBe(names.length);
      const deep = presetConfig(preset, 21, { layers: 3 });
      const whole = new Map(
        weightSpecs(deep).map(({ name, shape }) => [name, { shape, data: new Float32Array(elements(shape)) }]),
      );
      const copies = { replicated: tp * ep, tensor: ep, expert: 1, tied: 0 };
      for (let stage = 0; stage < stages; stage++)
        for (let t = 0; t < tp; t++)
          for (let e = 0; e < ep; e++) {
            const place = { tp: { rank: t, size: tp }, ep: { rank: e, size: ep } };
            for (const spec of stageParams(deep, stageRange(stage, stages, deep.layers), place)) {
              if (spec.segment === 'tied') continue;
              // Adds this rank's share of the value 1 to what the others wrote.
              const read = new Map<string, { shape: readonly number[]; data: Float32Array }>();
              const at = (name: string) => {
                const { shape, data } = whole.get(name)!;
                if (!read.has(name)) read.set(name, { shape, data: new Float32Array(data.length) });
                return read.get(name)!;
              };
              writeParts(spec, new Float32Array(elements(spec.shape)).fill(1 / copies[spec.segment]), at);
              for (const [name, { data }] of read) data.forEach((value, i) => (whole.get(name)!.data[i] += value));
            }
          }
      for (const [name, { data }] of whole) expect([name, Math.min(...data), Math.max(...data)]).toEqual([name, 1, 1]);
    },
  );

  it('trains on two devices as on one, and sends the bytes of the formula', async () => {
    const want = await train(preset, 'dp=1');
    // An untrained model guesses.
    expect(Math.abs(want.losses[0] / Math.log(want.model.vocab) - 1)).toBeLessThan(0.1);
    expect([...want.weights.keys()].sort()).toEqual(
      weightSpecs(want.model)
        .map(({ name }) => name)
        .sort(),
    );
    for (const text of layoutsOf(preset)) {
      const got = await train(preset, text);
      got.losses.forEach((loss, i) => expect(Math.abs(loss / want.losses[i] - 1), text).toBeLessThan(2e-6));
      expect(firstDifference(got.gradients, want.gradients, 2e-5), text).toBeUndefined();
      const { layout, batch, microbatches } = got.config;
      for (let rank = 0; rank < worldSize(layout); rank++) {
        const shape = { model: got.model, layout, batch, context: CONTEXT, microbatches, report: REPORT_WORDS };
        // What the router sends on top is the data's choice.
        const { 'all-to-all': _told, ...formula } = stepWireBytes(rank, shape);
        const { 'all-to-all': _sent, ...sent } = got.bytes[rank];
        expect(sent, `${formatLayout(layout)}, rank ${rank}`).toEqual(formula);
      }
    }
  });
});

test('weights that cannot be one parameter are refused, and a network without a table', () => {
  const config = presetConfig('broken-nano', 9);
  const params = () => stageParams(config, stageRange(0, 1, 2), singleRank);
  params();
  hooks.glue = true;
  expect(params).toThrow(
    'h.0.attn.c_attn.weight and transformer.h.0.attn.c_attn.bias cannot be glued, but both are h0',
  );
  Object.assign(hooks, { glue: false, noTable: true });
  expect(() => headName(config, { first: true })).toThrow('expected one that is cut by the vocabulary in embedding');
});

test('a weight that is cut wrongly is found', async () => {
  const [want, got] = [await train('broken-nano', 'dp=1'), await train('broken-nano', 'tp=2')];
  expect(firstDifference(got.gradients, want.gradients, 2e-5)).toBeDefined();
});

describe('a family that is one file', () => {
  const config = presetConfig('parallel-nano', 21);

  it('has a preset, a type and fields that are refused by name', () => {
    expect(isPresetName('parallel-nano')).toBe(true);
    expect(config).toMatchObject({ family: 'parallel', hidden: 32, mlp: 128, maxPositions: 32 });
    expect(() => parseModelConfig('{"model_type":"parallel","use_bias":true}')).toThrow('biases are not implemented');
    expect(() => parseModelConfig('{"model_type":"serial"}')).toThrow(
      'expected gpt2, llama, llama_hybrid, mixtral, parallel or broken, got "serial"',
    );
    expect(() => presetConfig('parallel-giant', 21)).toThrow(ConfigError);
  });

  it('is split, shown and refused by what it says', () => {
    const shape = { batch: 4, microbatches: 1, context: 16 };
    checkLayout(config, parseLayout('tp=4'), shape);
    expect(() => checkLayout(config, parseLayout('tp=8'), shape)).toThrow('heads: tp(8) does not divide 4; use tp=4');
    expect(() => checkLayout(config, makeLayout({ ep: 2 }), shape)).toThrow(LayoutError);
    expect(() => checkLayout(config, makeLayout({ ep: 2 }), shape)).toThrow(
      'ep(2) splits experts, but parallel has none; use dp=2,ep=1 or a mixtral model',
    );
    const facts = { models: new Map(), characters: new Map() } as unknown as Parameters<typeof sharesOf>[1];
    expect(sharesOf(configOf('parallel-nano', 'tp=2'), facts)[0]).toBe(
      '2 of 4 heads and 64 of 128 channels of the MLP (tp)',
    );
    expect(pictureOf(configOf('parallel-nano', 'tp=2'), facts)!.boxes[1]!.holds[0]).toBe('all layers, heads 3 to 4');
  });

  it('is refused where a mixer of its heads is not there, and where no sequence strategy serves it', () => {
    expect(() => prepareRun(configOf('parallel-nano', 'sp=2'), {})).toThrow(
      'sequence: expected a strategy for average attention, got ring (softmax)',
    );
    const other = { ...config, averageHeads: 0 } as unknown as typeof config;
    expect(mixersOf(other)).toEqual(['softmax']);
    expect(mixersOf(config)).toEqual(['softmax', 'average']);
    const missing = registryOf({
      './families/x.ts': { ...familyOf(config), mixers: (_, i) => (i ? 'delta' : 'softmax') },
    });
    expect(() => missing.networkOf(config)).toThrow(
      'average_heads: only [] is supported, got [1]: layers with delta attention are not implemented',
    );
  });

  it('reads its files with and without its prefix, and leaves out its buffers', () => {
    const entries = weightSpecs(config).map(
      ({ name, shape }): [string, { dtype: 'F32'; shape: readonly number[]; data: Float32Array }] => [
        name.replace(/^net\./, ''),
        { dtype: 'F32', shape, data: new Float32Array(elements(shape)).fill(0.5) },
      ],
    );
    const file = readSafetensors(
      writeSafetensors(new Map([...entries, ['net.mask', { dtype: 'F32', shape: [1], data: new Float32Array(1) }]])),
    );
    expect([...checkWeights(config, file).keys()]).toEqual(weightSpecs(config).map(({ name }) => name));
  });
});

test('the registry refuses a file without a family, and what is taken', () => {
  const [[path, family]] = Object.entries(familyFiles);
  expect(() => registryOf({ './families/x.ts': undefined })).toThrow(InternalError);
  expect(() => registryOf({ [path]: family, './families/x.ts': family })).toThrow("the family name 'gpt2' is taken");
  expect(() => registryOf({ [path]: family, './families/x.ts': { ...family!, name: 'other' as never } })).toThrow(
    "the model_type 'gpt2' is taken",
  );
});
