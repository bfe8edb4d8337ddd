import { describe, expect, it } from 'vitest';
import { nearest } from '../../src/cli/nearest.ts';
import { describeOptions, parseOptions } from '../../src/cli/options.ts';

const SPECS = {
  ranks: { type: 'count', default: 4, about: 'ranks' },
  rate: { type: 'number', about: 'a rate' },
  kind: { type: 'string', default: 'a', choices: ['a', 'b'], about: 'kind' },
  out: { type: 'string', value: 'FILE', about: 'file' },
  json: { type: 'flag', about: 'JSON' },
} as const;

describe('the nearest name', () => {
  const names = ['tabs', 'devices', 'steps', 'seed', 'checkpoint', 'checkpoint-every', 'weight-decay', 'eval-every'];
  it.each([
    ['step', 'steps'],
    ['stesp', 'steps'],
    ['TABS', 'tabs'],
    ['device', 'devices'],
    ['weightDecay', 'weight-decay'],
    ['weight_decay', 'weight-decay'],
    ['eval', 'eval-every'],
    ['checkpoint-evry', 'checkpoint-every'],
    ['chekpoint', 'checkpoint'],
  ])('%s is %s', (given, meant) => {
    expect(nearest(given, names)).toBe(meant);
  });
  it.each(['x', 'frobnicate', '', 'port', 'constructor'])('nothing is near %j', (given) => {
    expect(nearest(given, names)).toBeUndefined();
  });
});

describe('parseOptions', () => {
  it('gives defaults, numbers, flags and words', () => {
    expect(parseOptions([], SPECS).options).toEqual({
      ranks: 4,
      rate: undefined,
      kind: 'a',
      out: undefined,
      json: false,
    });
    expect(
      parseOptions(['--ranks', '2', 'folder', '--rate=-1e-3', '--kind', 'b', '--json', '--out='], SPECS, 1),
    ).toEqual({ options: { ranks: 2, rate: -0.001, kind: 'b', out: '', json: true }, positionals: ['folder'] });
    expect(parseOptions(['--', '--ranks'], SPECS, 1).positionals).toEqual(['--ranks']);
  });
  it.each([
    [
      ['--rank', '2'],
      '--rank: unknown option; did you mean --ranks? the options are --ranks, --rate, --kind, --out, --json',
    ],
    [['--toString', '2'], '--toString: unknown option; the options are'],
    [['--jsno'], '--jsno: unknown option; did you mean --json?'],
    [['-r'], '-r: unknown option'],
    [['--ranks'], '--ranks: expected a value after it, got none'],
    [['--ranks', '0'], "--ranks: expected a whole number of at least 1, got '0'"],
    [['--ranks', '1.5'], "--ranks: expected a whole number of at least 1, got '1.5'"],
    [['--ranks='], "--ranks: expected a whole number of at least 1, got ''"],
    [['--rate', 'fast'], "--rate: expected a number, got 'fast'"],
    [['--kind', 'c'], "--kind: expected a, b, got 'c'"],
    [['--json=no'], "--json: takes no value, got 'no'"],
    [['folder'], "'folder': this command takes only options"],
  ])('refuses %j', (args, message) => {
    expect(() => parseOptions(args, SPECS)).toThrow(message);
  });
  it('describes every option with its default', () => {
    expect(describeOptions(SPECS).split('\n')).toEqual([
      '  --ranks n      ranks (default 4)',
      '  --rate number  a rate',
      '  --kind a|b     kind (default a)',
      '  --out FILE     file',
      '  --json         JSON',
    ]);
  });
});
