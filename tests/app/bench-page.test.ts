// The parts of the bench page that need no browser: links, saved runs, Markdown, comparisons, chart data.

import { describe, expect, it } from 'vitest';
import { browserName } from '../../src/app/shared/browser-name.ts';
import { attainable, barChart, place, roofline } from '../../src/app/bench/chart-data.ts';
import { compareRows } from '../../src/app/bench/comparison.ts';
import { formatMarkdown } from '../../src/app/bench/markdown.ts';
import { digits, spreadOf } from '../../src/app/bench/numbers.ts';
import { formatReport, parseReport } from '../../src/app/bench/bench-file.ts';
import { chosenOf, DEFAULT_SETTINGS, formatSettings, readSettings } from '../../src/app/bench/settings.ts';
import type { WorkloadResult } from '../../src/bench/run.ts';
import { CEILINGS, report, row } from '../support/bench-reports.ts';

describe('the link', () => {
  it('says what runs, and repeats it', () => {
    const { settings, start } = readSettings('#only=matmul&peers=1&rounds=3&run=1');
    expect(settings).toEqual({ ...DEFAULT_SETTINGS, workloads: ['matmul'], peers: 'all', rounds: 3 });
    expect(start).toBe('bench');
    expect(formatSettings(settings, start)).toBe('only=matmul&peers=1&rounds=3&run=1');
    const other = readSettings(
      '#backend=wasm&threads=4&only=0&cases=adamw,geluBackward&scope=full&tune=0&plan=gpt2-nano&budget=7.5&peers=tfjs&run=tune',
    );
    expect(other.settings).toEqual({
      backend: 'wasm',
      threads: 4,
      workloads: [],
      cases: ['adamw', 'geluBackward'],
      scope: 'full',
      tune: 0,
      plan: 'gpt2-nano',
      budget: 7.5,
      peers: ['tfjs'],
      rounds: 5,
    });
    expect(readSettings(`#${formatSettings(other.settings, other.start)}`)).toEqual(other);
    expect(formatSettings(DEFAULT_SETTINGS)).toBe('');
    expect(readSettings('')).toEqual({ settings: DEFAULT_SETTINGS, start: undefined });
  });
  it.each([
    ['#olny=matmul', 'link: unknown part "olny"; the parts are backend, threads, only, peers'],
    ['#scope=huge', 'link: scope is "huge"; expected quick, default, full'],
    ['#backend=cpu', 'link: backend is "cpu"; expected webgpu, wasm'],
    ['#threads=0', 'link: threads is "0"; expected a whole number from 1 to 64'],
    ['#rounds=0', 'link: rounds is "0"; expected a whole number from 1 to 100'],
    ['#rounds=1.5', 'whole number'],
    ['#tune=', 'link: tune is ""'],
    ['#run=yes', 'link: run is "yes"; expected 1'],
  ])('%s is refused', (hash, reason) => {
    expect(() => readSettings(hash)).toThrow(reason);
  });
  it('knows what there is only from the catalogue', () => {
    expect(chosenOf('all', ['a', 'b'], 'workload')).toEqual(['a', 'b']);
    expect(chosenOf(['b'], ['a', 'b'], 'workload')).toEqual(['b']);
    expect(() => chosenOf(['c'], ['a', 'b'], 'workload')).toThrow('link: unknown workload "c"; expected some of a, b');
  });
});

describe('a saved run', () => {
  it('comes back as it was written, and what the command writes is read too', () => {
    const whole = report([row('tabmesh', 1), row('jax-js', 3)], {
      cases: [{ workload: 'adamw', shape: 'N=4', library: 'tabmesh', medianMs: 0.1, gflops: 1, correct: true }],
      end: 'complete',
    });
    const read = parseReport(formatReport(whole));
    expect(read.results).toEqual(whole.results);
    expect(read.cases).toEqual(whole.cases);
    expect(read.ceilings).toEqual(CEILINGS);
    const command = {
      adapter: 'a',
      browser: 'b',
      date: 'c',
      results: [{ workload: 'gelu', shape: 'N=4', library: 'tabmesh', medianMs: 0.1, gflops: 1, correct: true }],
    };
    expect(parseReport(JSON.stringify(command)).results).toHaveLength(1);
  });
  const broken = (change: Record<string, unknown>): string =>
    JSON.stringify({ ...report([row('tabmesh', 1)]), ...change });
  it.each([
    ['not JSON', 'saved run: expected JSON, but'],
    ['[]', 'saved run: at the file: expected an object, got []'],
    [broken({ adapter: 3 }), 'saved run: at adapter: expected a text, got 3'],
    [broken({ results: undefined }), 'saved run: at results: expected a list, got nothing'],
    [broken({ results: [row('tabmesh', 1), 7] }), 'saved run: at results[1]: expected an object, got 7'],
    [
      broken({ results: [{ ...row('tabmesh', 1), medianMs: '1 ms' }] }),
      'saved run: at results[0].medianMs: expected milliseconds above 0, got "1 ms"; choose a file that this page',
    ],
    [
      broken({ results: [{ ...row('tabmesh', 1), correct: 'yes' }] }),
      'saved run: at results[0].correct: expected true or false, got "yes"',
    ],
    [
      broken({ results: [{ ...row('tabmesh', 1), ratio: {} }] }),
      'saved run: at results[0].ratio: expected a number, got {}',
    ],
  ])('that is none is refused with its place (%#)', (text, reason) => {
    expect(() => parseReport(text)).toThrow(reason);
  });
});

describe('a comparison', () => {
  const now = report([row('tabmesh', 1), row('tabmesh', 4, { shape: 'other' }), row('jax-js', 3), row('tfjs', 9)]);
  it('gives a ratio per row that both have, and means over what is right in both', () => {
    const before = report([
      row('tabmesh', 2),
      row('tabmesh', 2, { shape: 'other' }),
      row('jax-js', 3, { correct: false }),
      row('tabmesh', 5, { shape: 'gone' }),
    ]);
    const { rows, means, unmatched, differences } = compareRows(now, before);
    expect(rows.map(({ shape, library, ratio, correct }) => [shape, library, ratio, correct])).toEqual([
      ['256x256x256', 'tabmesh', 0.5, true],
      ['other', 'tabmesh', 2, true],
      ['256x256x256', 'jax-js', 1, false],
    ]);
    expect(means).toEqual([{ library: 'tabmesh', ratio: 1, rows: 2, verdict: 'as fast' }]);
    expect(unmatched).toEqual({ now: 1, before: 1 });
    expect(differences).toEqual([]);
    const kernel = (medianMs: number) => ({
      workload: 'gelu',
      shape: 'N=4',
      library: 'tabmesh',
      medianMs,
      gflops: 1,
      correct: true,
    });
    expect(compareRows({ ...now, cases: [kernel(3)] }, { ...before, cases: [kernel(2)] }).casesMean).toBeCloseTo(1.5);
    expect(compareRows(now, before).casesMean).toBeUndefined();
  });
  it('calls equal runs equal, and a difference only what is beyond that of the rounds', () => {
    expect(compareRows(now, now).means.map(({ verdict }) => verdict)).toEqual(['as fast', 'as fast', 'as fast']);
    const against = (ms: number, more: Partial<WorkloadResult> = {}) =>
      compareRows(report([row('tabmesh', ms, more)]), report([row('tabmesh', 1, more)])).means[0]!.verdict;
    // The rounds of these rows are 20 % apart, those of the others not at all.
    expect([against(1.19), against(1.21), against(1 / 1.19), against(1 / 1.21)]).toEqual([
      'as fast',
      'slower',
      'as fast',
      'faster',
    ]);
    const still = { minMs: 1, maxMs: 1 };
    expect([against(1.02, still), against(1.04, still), against(0.96, still)]).toEqual(['as fast', 'slower', 'faster']);
  });
  it('says that the adapter or the browser is another one', () => {
    const { differences } = compareRows(now, { ...now, adapter: 'other gpu', browser: 'Chrome 149' });
    expect(differences).toEqual([
      'The adapter is another one: vendor gpu now, other gpu in the saved run.',
      'The browser is another one: Chrome 150 now, Chrome 149 in the saved run.',
    ]);
  });
});

describe('Markdown', () => {
  it('has correctness beside each time, ratios, and what is missing', () => {
    const text = formatMarkdown(
      report([row('tabmesh', 1), row('jax-js', 3), row('tfjs', 8, { correct: false })], {
        missing: [{ workload: 'matmul', shape: '256x256x256', library: 'onnxruntime-web', reason: 'a | b\nc' }],
        settings: 'only=matmul',
        end: 'stopped',
      }),
      { name: 'old.json', report: report([row('tabmesh', 2)]) },
    );
    expect(text).toContain('- adapter: vendor gpu\n- browser: Chrome 150');
    expect(text).toContain('- settings: `#only=matmul`\n- this run was stopped before its end');
    expect(text).toContain('- matmul: 3.00x jax-js');
    expect(text).toContain('| 256x256x256 | tabmesh | yes | 1.00 | 20 % | 33.5 | 0.786 | 25 % |  | 0.500x |');
    expect(text).toContain('| 256x256x256 | tfjs | **NO** | 8.00 |');
    expect(text).toContain('none: a \\| b c');
    expect(text).toContain('tabmesh takes 0.500x the time');
    const columns = text
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .map((line) => line.replaceAll('\\|', '').split('|').length);
    expect(new Set(columns)).toEqual(new Set([12]));
  });
});

describe('charts', () => {
  it('draw bars as parts of the longest, on a logarithmic scale where they differ much', () => {
    const close = barChart([row('tabmesh', 1), row('jax-js', 4)]);
    expect([close.unit, close.log, close.groups[0]!.bars.map(({ share }) => share)]).toEqual([
      'GFLOP/s',
      false,
      [1, 0.25],
    ]);
    const far = barChart([row('tabmesh', 0.0335), row('tfjs', 33.5)]);
    expect([far.log, far.from, Math.round(far.to)]).toEqual([true, 0.1, 1000]);
    expect(far.groups[0]!.bars.map(({ share }) => +share.toFixed(3))).toEqual([1, 0.25]);
    expect(barChart([row('tabmesh', 1, { gflops: 1, gbps: 2 })]).unit).toBe('GB/s');
    expect(barChart([]).groups).toEqual([]);
  });
  it('place work under the measured ceilings', () => {
    expect(roofline([row('tabmesh', 1)], null)).toBeUndefined();
    const chart = roofline(
      [row('tabmesh', 1, { gflops: 200, gbps: 4 }), row('tabmesh', 1, { gflops: 3, gbps: 12 })],
      CEILINGS,
    )!;
    expect(chart.points.map(({ intensity }) => intensity)).toEqual([50, 0.25]);
    expect([chart.bandwidth, chart.ridge, attainable(chart, 1), attainable(chart, 50)]).toEqual([100, 10, 100, 1000]);
    expect(chart.x.ticks).toEqual([1, 10]);
    for (const { intensity, gflops } of chart.points)
      for (const at of [place(chart.x, intensity), place(chart.y, gflops)]) {
        expect(at).toBeGreaterThan(0);
        expect(at).toBeLessThan(1);
      }
  });
  it('write numbers with three digits', () => {
    expect([0.01234, 1, 12.345, 1234.5, 0, NaN].map(digits)).toEqual(['0.0123', '1.00', '12.3', '1235', '0', '-']);
    expect(spreadOf({ medianMs: 2, minMs: 1, maxMs: 3, rounds: 3 })).toBe(1);
    expect(spreadOf({ medianMs: 2, minMs: 2, maxMs: 2, rounds: 1 })).toBeUndefined();
  });
});

it('names the browser with its whole version where it tells', async () => {
  const brands = [
    { brand: 'Not;A=Brand', version: '8' },
    { brand: 'Chromium', version: '150.0.1.2' },
    { brand: 'Google Chrome', version: '150.0.1.2' },
  ];
  const userAgentData = { getHighEntropyValues: async () => ({ fullVersionList: brands, platform: 'Linux' }) };
  expect(await browserName({ userAgent: 'x', userAgentData })).toBe('Google Chrome 150.0.1.2 on Linux');
  expect(
    await browserName({ userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0' }),
  ).toBe('Firefox 141.0 on Linux');
  expect(
    await browserName({
      userAgent:
        'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15',
    }),
  ).toBe('Safari 26.0 on macOS');
});
