// The form without a browser: what it holds, what it refuses, what it changes along with a layout, and what it says
// before a run begins.

import { describe, expect, it } from 'vitest';
import { formatLayout } from '../../src/base/axis.ts';
import { draftOf, edit, problemsOf, valueOf } from '../../src/app/training/form/draft.ts';
import type { Draft } from '../../src/app/training/form/draft.ts';
import { GROUPS, MODELS, TEXTS } from '../../src/app/training/form/fields.ts';
import {
  adaptTo,
  faultsOf,
  fittingLayouts,
  fittingMicrobatches,
  layoutFor,
  LAYOUTS,
  MOBY_DICK_CHARACTERS,
  NO_FACTS,
  sharesOf,
  vocabularyOf,
} from '../../src/app/training/form/fit.ts';
import { describe as describeForecast } from '../../src/app/training/form/forecast.ts';
import { pictureOf } from '../../src/app/training/form/picture.ts';
import { Suggestion } from '../../src/app/training/form/suggestion.ts';
import { PRESETS, presetConfig } from '../../src/app/training/presets.ts';
import { parseModelConfig } from '../../src/model/config.ts';
import { PRESET_NAMES, presetConfig as modelOf } from '../../src/model/presets.ts';
import { readMobyDick } from '../../src/server/pages/moby-dick.ts';
import { parseLayout } from '../../src/train/layout.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';

const config = (...given: [string, unknown][]) => parseRunConfig(given);
const write = (draft: Draft, ...fields: [string, string][]): Draft =>
  fields.reduce((now, [name, value]) => edit(now, name, value, NO_FACTS), draft);
const fields = (draft: Draft): string[] => problemsOf(draft, NO_FACTS).map(({ field }) => field);

describe('a draft', () => {
  it('keeps a refused value in its field, trains nothing with it, and lets go of it when it is mended', () => {
    const start = draftOf(config(['steps', 100]));
    const wrong = write(start, ['steps', 'many']);
    expect(valueOf(wrong, 'steps')).toBe('many');
    expect(problemsOf(wrong, NO_FACTS)).toEqual([
      { field: 'steps', text: 'steps: expected a whole number from 1 to 10000000, got "many"' },
    ]);
    expect(wrong.config.steps).toBe(100);
    const mended = write(wrong, ['steps', '7']);
    expect([fields(mended), mended.config.steps, valueOf(mended, 'steps')]).toEqual([[], 7, '7']);
  });

  it.each(
    GROUPS.flatMap(({ fields: all }) => all)
      .filter(({ kind }) => kind === 'number')
      .map(({ name }) => name),
  )('refuses nonsense in %s by its field', (name) => {
    expect(fields(write(draftOf(config()), [name, 'x1']))).toEqual([name]);
  });

  it('is the same one each time the settings of a run are drawn, so that nothing is counted anew', () => {
    const running = config(['steps', 100]);
    expect(draftOf(running)).toBe(draftOf(running));
    write(draftOf(running), ['steps', 'many']);
    expect(draftOf(running)).toEqual({ config: running, refused: new Map(), said: [] });
    expect(draftOf(running, ['rows changed']).said).toEqual(['rows changed']);
    expect(draftOf(running).said).toEqual([]);
  });

  it('keeps two refused values at once, and an understood one between them', () => {
    const draft = write(draftOf(config()), ['batch', '0'], ['lr', '-1'], ['steps', '9']);
    expect([fields(draft), draft.config.steps]).toEqual([['batch', 'lr'], 9]);
  });

  it('shapes the learning rate from four fields, and back to one number', () => {
    const shaped = write(
      draftOf(config(['lr', 0.01], ['steps', 50])),
      ['warmup', '5'],
      ['decay', 'cosine'],
      ['minLr', '0.001'],
    );
    expect(shaped.config.lr).toEqual({ peak: 0.01, warmupSteps: 5, decay: 'cosine', floor: 0.001 });
    expect(write(shaped, ['lr', '0.02']).config.lr).toEqual({
      peak: 0.02,
      warmupSteps: 5,
      decay: 'cosine',
      floor: 0.001,
    });
    expect(write(shaped, ['warmup', '0'], ['decay', 'none'], ['minLr', '0']).config.lr).toBe(0.01);
    expect(problemsOf(write(shaped, ['minLr', '1']), NO_FACTS)[0]!.text).toContain('expected at most lr 0.01, got 1');
    expect(fields(write(shaped, ['warmup', '51']))).toEqual(['warmup']);
    expect(write(shaped, ['gradClip', 'none'], ['weightDecay', '0'], ['precision', 'f16']).config).toMatchObject({
      gradClip: null,
      weightDecay: 0,
      precision: 'f16',
    });
  });

  it('marks the field that does not fit another', () => {
    expect(fields(write(draftOf(config()), ['microbatches', '3']))).toEqual(['batch']);
    expect(fields(write(draftOf(config()), ['context', '65']))).toEqual([]);
    expect(fields(write(draftOf(config(['layout', 'pp=2'])), ['chunks', '2']))).toEqual(['layout', 'chunks']);
    const vee = write(draftOf(config(['layout', 'pp=2'], ['model', 'gpt2-micro'])), ['schedule', 'v-half']);
    expect([vee.config.chunks, vee.said]).toEqual([2, ['chunks per rank is now 2, as v-half has']]);
    expect(write(vee, ['schedule', '1f1b']).config.chunks).toBe(1);
    expect(fields(write(draftOf(config(['layout', 'sp=2'])), ['context', '1']))).toEqual(['context']);
    expect(fields(draftOf(config(['model', 'my-folder'])))).toEqual(['model']);
    expect(
      fields(write(draftOf(config(['layout', 'ep=4'], ['model', 'mixtral-nano'])), ['model', 'gpt2-nano'])),
    ).toEqual(['layout']);
  });
});

describe('a suggestion', () => {
  const start = (): [Suggestion, Draft] => [
    new Suggestion(presetConfig(PRESETS[0]!)),
    draftOf(presetConfig(PRESETS[0]!)),
  ];
  const layout = ({ config: { layout } }: Draft): string => formatLayout(layout);
  it('fits the tabs that are here, says what it changed, and goes with the room', () => {
    const [suggestion, before] = start();
    let draft = before;
    const seen = [1, 2, 3, 4, 7, undefined].map((devices) => {
      draft = suggestion.next(draft, devices, NO_FACTS);
      expect(problemsOf(draft, NO_FACTS)).toEqual([]);
      return `${devices}: ${layout(draft)} with ${draft.config.batch} rows`;
    });
    expect(seen).toEqual([
      '1: dp=1 with 8 rows',
      '2: pp=2 with 8 rows',
      '3: dp=3 with 6 rows',
      '4: dp=2,pp=2 with 8 rows',
      '7: dp=7 with 14 rows',
      'undefined: dp=2,pp=2 with 8 rows',
    ]);
    expect(suggestion.next(draft, 3, NO_FACTS).said).toEqual([
      'dp=3 is suggested for the 3 tabs that are here',
      'rows per step is now 6 instead of 8, so that dp=3 with 2 microbatches can share them',
    ]);
  });
  it('goes with the room also when something else was written meanwhile', () => {
    const [suggestion, before] = start();
    const suggested = suggestion.next(before, 7, NO_FACTS);
    const written = write(suggested, ['steps', '9'], ['seed', '3']);
    suggestion.edited(suggested, written);
    expect(layout(suggestion.next(written, 7, NO_FACTS))).toBe('dp=7');
    const { config } = suggestion.next(written, undefined, NO_FACTS);
    expect(config).toEqual({ ...before.config, steps: 9, seed: 3 });
  });
  it('leaves a chosen layout, an example that was clicked, and what is no value', () => {
    for (const choose of [
      (draft: Draft) => write(draft, ['layout', 'tp=2']),
      () => draftOf(presetConfig(PRESETS[1]!)),
    ]) {
      const [suggestion, before] = start();
      const chosen = choose(before);
      suggestion.edited(before, chosen);
      expect(suggestion.next(chosen, 3, NO_FACTS)).toBe(chosen);
    }
    const [suggestion, before] = start();
    const wrong = write(before, ['steps', 'many']);
    suggestion.edited(before, wrong);
    expect(suggestion.next(wrong, 2, NO_FACTS)).toBe(wrong);
    const mended = write(wrong, ['steps', '7']);
    suggestion.edited(wrong, mended);
    expect([layout(suggestion.next(mended, 2, NO_FACTS)), mended.config.steps]).toEqual(['pp=2', 7]);
  });
});

describe('a layout', () => {
  it.each(PRESET_NAMES.flatMap((model) => LAYOUTS.map((layout) => [model, layout] as const)))(
    '%s with %s is offered only when it can be trained',
    (model, layout) => {
      const before = config(['model', model], ['batch', 6], ['microbatches', 3]);
      const offered = fittingLayouts(before, NO_FACTS).includes(layout);
      if (!offered) expect(() => adaptTo(parseLayout(layout), before, NO_FACTS)).toThrow(/layers|experts|heads/);
      else expect(faultsOf(adaptTo(parseLayout(layout), before, NO_FACTS).config, NO_FACTS)).toEqual([]);
    },
  );
  it('brings the rows along and says so', () => {
    const { config: adapted, said } = adaptTo(parseLayout('dp=3'), config(['microbatches', 2]), NO_FACTS);
    expect([adapted.batch, adapted.microbatches]).toEqual([6, 2]);
    expect(said).toEqual(['rows per step is now 6 instead of 8, so that dp=3 with 2 microbatches can share them']);
    expect(adaptTo(parseLayout('dp=2'), config(), NO_FACTS)).toEqual({ config: config(['layout', 'dp=2']), said: [] });
    expect(adaptTo(parseLayout('sp=3'), config(['model', 'llama-nano']), NO_FACTS).config.context).toBe(63);
    expect(write(draftOf(config()), ['layout', 'dp=3']).config.batch).toBe(9);
    expect(fields(write(draftOf(config()), ['layout', 'pp=3']))).toEqual(['layout']);
  });
  it('fits whatever number of tabs is there', () => {
    for (const model of PRESET_NAMES) {
      for (let tabs = 1; tabs <= 9; tabs++) {
        const { config: fitting } = layoutFor(tabs, config(['model', model], ['batch', 5]), NO_FACTS);
        expect([model, tabs, faultsOf(fitting, NO_FACTS)]).toEqual([model, tabs, []]);
        expect(Object.values(fitting.layout).reduce((a, b) => a * b)).toBe(tabs);
      }
    }
    expect(formatLayout(layoutFor(4, config(), NO_FACTS).config.layout)).toBe('dp=2,pp=2');
  });
  it('cuts the rows of a checkpoint into as many microbatches as it can', () => {
    expect([
      fittingMicrobatches(4, 6),
      fittingMicrobatches(2, 8),
      fittingMicrobatches(4, 7),
      fittingMicrobatches(2, 2.5),
    ]).toEqual([3, 2, 1, 2]);
  });
});

describe('before a run', () => {
  it('the vocabulary is known where it can be', async () => {
    expect(MOBY_DICK_CHARACTERS).toBe(new Set(await readMobyDick()).size);
    expect(vocabularyOf(config(), NO_FACTS)).toBe(MOBY_DICK_CHARACTERS);
    expect(vocabularyOf(config(['data', 'copy']), NO_FACTS)).toBe(17);
    expect(vocabularyOf(config(['data', 'addition'], ['context', 1]), NO_FACTS)).toBe(34);
    expect(vocabularyOf(config(['tokenizer', 'bpe:512']), NO_FACTS)).toBe(512);
    expect(vocabularyOf(config(['data', 'a.txt']), { ...NO_FACTS, characters: new Map([['a.txt', 30]]) })).toBe(30);
    expect(vocabularyOf(config(['data', 'b.txt']), NO_FACTS)).toBe(undefined);
  });
  it('says who gets what', () => {
    expect(sharesOf(config(['layout', 'dp=2,pp=2'], ['microbatches', 2]), NO_FACTS)).toEqual([
      '1 of 2 layers (pp)',
      '4 of 8 rows (dp) in 2 microbatches',
    ]);
    const shared = config(['layout', 'pp=2'], ['vocab', 'alg2']);
    // Moby Dick has 89 different characters.
    expect(sharesOf(shared, NO_FACTS)[1]).toBe('45 of 89 tokens of the vocabulary (pp)');
    expect(pictureOf(shared, NO_FACTS)!.travels[0]!.text).toContain('all devices share the vocabulary');
    expect(pictureOf(config(['layout', 'pp=2']), NO_FACTS)!.travels[0]!.text).not.toContain('vocabulary');
    expect(sharesOf(config(['layout', 'tp=2']), NO_FACTS)[0]).toBe(
      '2 of 4 heads and 128 of 256 channels of the MLP (tp)',
    );
    expect(sharesOf(presetConfig(PRESETS[5]!), NO_FACTS)).toEqual(['1 of 4 experts (ep)', '2 of 8 rows (ep)']);
  });
  it('says how much memory, of the device that needs most', () => {
    const memory = { param: 1e6, grad: 1e6, optimizer: 2e6, activation: 5e5, input: 0, staging: 0 };
    const said = describeForecast(
      { parameters: 250_000, ranks: [memory, { ...memory, param: 2e6 }] },
      config(),
      NO_FACTS,
    );
    expect(said).toMatchObject({
      parameters: '250,000 parameters',
      memory: '4.5 MB to 5.5 MB per device (5.0 MB weights, gradients and moments, 500 kB activations)',
    });
    expect(
      describeForecast({ parameters: 1000, ranks: [memory] }, config(['data', 'x.txt']), NO_FACTS).parameters,
    ).toBe('about 1,000 parameters');
  });
  it('a dropped model is known by its own config', () => {
    const model = modelOf('llama-nano', 99);
    const facts = {
      ...NO_FACTS,
      models: new Map([['mine', parseModelConfig(JSON.stringify(Object.fromEntries(model.raw)))]]),
    };
    expect(vocabularyOf(config(['model', 'mine']), facts)).toBe(99);
    expect(faultsOf(config(['model', 'mine'], ['layout', 'tp=2']), facts)).toEqual([]);
    expect(faultsOf(config(['model', 'mine'], ['layout', 'tp=4']), facts)[0]!.text).toContain('kv heads');
  });
});

describe('the picture of a layout', () => {
  it.each(PRESETS.map((preset) => [preset.name, preset] as const))(
    '%s: every device once, joined along every axis, with what travels',
    (_, preset) => {
      const settings = presetConfig(preset);
      const { boxes, lines, travels, columns, rows } = pictureOf(settings, NO_FACTS)!;
      const axes = Object.entries(settings.layout)
        .filter(([, size]) => size > 1)
        .map(([axis]) => axis);
      expect(new Set(boxes.map(({ column, row }) => `${column} ${row}`)).size).toBe(columns * rows);
      expect(new Set(lines.map(({ axis }) => axis))).toEqual(new Set(axes));
      expect(travels.map(({ axis }) => axis).sort()).toEqual(axes.sort());
    },
  );
  it('says what each device holds', () => {
    expect(pictureOf(presetConfig(PRESETS[0]!), NO_FACTS)!.boxes.map(({ holds }) => holds)).toEqual([
      ['layer 1', 'rows 1 to 4'],
      ['layer 1', 'rows 5 to 8'],
      ['layer 2', 'rows 1 to 4'],
      ['layer 2', 'rows 5 to 8'],
    ]);
    expect(pictureOf(presetConfig(PRESETS[4]!), NO_FACTS)!.boxes[3]!.holds).toEqual(['all layers', 'tokens 49 to 64']);
    expect(pictureOf(config(['layout', 'dp=17'], ['batch', 17]), NO_FACTS)).toBe(undefined);
  });
});

describe('a task that is no language model', () => {
  const planted = (...more: [string, unknown][]) => config(['model', 'mlp-nano'], ['data', 'planted'], ...more);

  it('is offered, and its model and data come together', () => {
    const kinds = GROUPS.flatMap(({ fields: all }) => all);
    expect(kinds.map(({ name }) => name)).toEqual(expect.arrayContaining(['model', 'data']));
    expect([MODELS, TEXTS].map((list) => list.map(({ value }) => value))).toEqual([
      expect.arrayContaining(['gpt2-nano', 'mlp-nano']),
      expect.arrayContaining(['moby-dick', 'copy', 'planted']),
    ]);
    const start = draftOf(config(['tokenizer', 'bytes'], ['context', 32]));
    const byModel = write(start, ['model', 'mlp-nano']);
    expect([byModel.config.data, byModel.config.tokenizer, byModel.config.context, fields(byModel)]).toEqual([
      'planted',
      'auto',
      null,
      [],
    ]);
    expect(byModel.said).toEqual([
      'data is now planted, which mlp-nano learns',
      'the tokenizer is left out: mlp-nano knows no tokens',
      'tokens per row are left out: mlp-nano knows no tokens',
    ]);
    expect(write(start, ['data', 'planted']).config.model).toBe('mlp-nano');
    expect(write(byModel, ['data', 'copy']).config.model).toBe('gpt2-nano');
    expect(write(byModel, ['model', 'llama-nano']).config.data).toBe('moby-dick');
    expect(write(draftOf(config()), ['data', 'copy'], ['model', 'llama-nano']).said).toEqual([]);
  });

  it('is split by its layers and rows, drawn, and refused by the field that is wrong', () => {
    expect(fittingLayouts(planted(), NO_FACTS)).toEqual(['dp=1', 'dp=2', 'pp=2', 'dp=2,pp=2', 'dp=4']);
    expect(sharesOf(planted(['layout', 'dp=2,pp=2']), NO_FACTS)).toEqual(['2 of 4 layers (pp)', '4 of 8 rows (dp)']);
    expect(pictureOf(planted(['layout', 'pp=2']), NO_FACTS)!.boxes.map(({ holds }) => holds)).toEqual([
      ['layers 1 to 2', 'all rows'],
      ['layers 3 to 4', 'all rows'],
    ]);
    expect(layoutFor(4, planted(), NO_FACTS).config).toMatchObject({ layout: { dp: 2, pp: 2 }, microbatches: 2 });
    for (const [name, value, field] of [
      ['data', 'copy', 'data'],
      ['model', 'gpt2-nano', 'model'],
      ['context', 16, 'context'],
      ['tokenizer', 'bytes', 'tokenizer'],
      ['layout', 'tp=2', 'layout'],
      ['layout', 'pp=8', 'layout'],
      ['batch', 3, 'batch'],
    ] as const) {
      const right = planted(['layout', 'dp=2']);
      expect(
        faultsOf(parseRunConfig([[name, value]], right), NO_FACTS).map((fault) => fault.field),
        name,
      ).toEqual([field]);
    }
  });
});
