import { describe, expect, it } from 'vitest';
import { AXES, formatLayout } from '../../src/base/axis.ts';
import { LayoutError } from '../../src/base/errors.ts';
import type { ModelConfig } from '../../src/model/config.ts';
import { presetConfig } from '../../src/model/presets.ts';
import { checkLayout, makeLayout, parseLayout, type RunShape } from '../../src/train/layout.ts';

describe('parseLayout', () => {
  it('names axes in any order, the others are 1', () => {
    expect(parseLayout('dp=2,pp=4')).toEqual({ pp: 4, dp: 2, sp: 1, ep: 1, tp: 1 });
    expect(parseLayout(' tp = 2 , dp=3')).toEqual({ pp: 1, dp: 3, sp: 1, ep: 1, tp: 2 });
    expect(parseLayout('dp=1')).toEqual(makeLayout({}));
  });

  it('undoes formatLayout', () => {
    for (let n = 0; n < 32; n++) {
      const layout = makeLayout(Object.fromEntries(AXES.map((axis, i) => [axis, (n >> i) & 1 ? 2 : 1])));
      expect(parseLayout(formatLayout(layout))).toEqual(layout);
    }
  });

  it.each([
    ['', 'layout: expected axis=size parts with the axes pp, dp, sp, ep, tp, got ""; write for example dp=2,pp=2'],
    ['dp=2,', 'got ""'],
    ['dp', 'got "dp"'],
    ['dp2', 'got "dp2"'],
    ['cp=2', 'got "cp=2"'],
    ['dp=-1', 'got "dp=-1"'],
    ['dp=1.5', 'got "dp=1.5"'],
    ['__proto__=2', 'got "__proto__=2"'],
    ['dp=0', 'layout: dp=0 is not a size; expected a whole number from 1 to 1024'],
    ['dp=1025', 'layout: dp=1025 is not a size'],
    ['dp=99999999999999999999', 'is not a size'],
    ['dp=2,dp=2', 'layout: the axis dp stands twice in "dp=2,dp=2"; name each axis once'],
    ['dp=64,tp=32', 'layout: dp=64,tp=32 needs 2048 ranks; expected at most 1024'],
  ])('refuses %j', (text, message) => {
    expect(() => parseLayout(text)).toThrow(LayoutError);
    expect(() => parseLayout(text)).toThrow(message);
  });
});

describe('checkLayout', () => {
  // 4 layers, 8 heads over 4 kv heads, mlp 384, 128 positions.
  const llama = presetConfig('llama-micro', 100);
  const mixtral = presetConfig('mixtral-nano', 100);
  const check = (config: ModelConfig, layout: string, shape: Partial<RunShape> = {}): string => {
    try {
      checkLayout(config, parseLayout(layout), { batch: 8, microbatches: 1, context: 64, ...shape });
    } catch (error) {
      if (!(error instanceof LayoutError)) throw error;
      return error.message;
    }
    return 'fits';
  };

  it.each<[string, ModelConfig, string, Partial<RunShape>, string]>([
    [
      'more stages than layers',
      llama,
      'pp=5',
      {},
      'layers: pp(5) needs a layer per stage, but the model has 4; use pp=4 or a deeper model',
    ],
    [
      'more chunks than layers',
      llama,
      'pp=2',
      { chunks: 3 },
      'layers: pp(2) x 3 chunks = 6 stages needs a layer per stage, but the model has 4; use pp=1 or a deeper model',
    ],
    ['far too many chunks', llama, 'pp=2', { chunks: 5 }, 'use fewer chunks or a deeper model'],
    ['heads', llama, 'tp=3', {}, 'heads: tp(3) does not divide 8; use tp=2'],
    ['kv heads', llama, 'tp=8', {}, 'kv heads: tp(8) does not divide 4; use tp=4'],
    ['mlp', { ...llama, mlp: 6 }, 'tp=4', {}, 'mlp width: tp(4) does not divide 6; use tp=2'],
    [
      'experts of a dense model',
      llama,
      'ep=2,dp=2',
      {},
      'experts: ep(2) splits experts, but llama has none; use dp=4,ep=1 or a mixtral model',
    ],
    ['experts', mixtral, 'ep=3', { batch: 9 }, 'experts: ep(3) does not divide 4; use ep=2'],
    [
      'context',
      llama,
      'sp=65',
      { context: 64 },
      'context: sp(65) splits 64 tokens; expected one for each rank; use sp=64',
    ],
    [
      'positions',
      llama,
      'dp=1',
      { context: 129 },
      'context: 129 tokens, but the model has 128 positions; use context=128 or less',
    ],
    [
      'rows over dp',
      llama,
      'dp=3',
      {},
      'batch: 8 rows do not split into dp(3) x 1 microbatch = 3 equal parts; use batch=9',
    ],
    [
      'rows over dp, ep and microbatches',
      mixtral,
      'dp=2,ep=2',
      { microbatches: 4 },
      'batch: 8 rows do not split into dp(2) x ep(2) x 4 microbatches = 16 equal parts; use batch=16 or microbatches=2',
    ],
  ])('%s', (_, config, layout, shape, message) => {
    expect(check(config, layout, shape)).toContain(message);
  });

  it('accepts what divides', () => {
    expect(check(llama, 'pp=4,tp=4,sp=2,dp=2', { microbatches: 4 })).toBe('fits');
    expect(check(llama, 'pp=2', { chunks: 2 })).toBe('fits');
    expect(check(mixtral, 'ep=4,dp=2')).toBe('fits');
    expect(check(llama, 'pp=3')).toBe('fits');
  });
});
