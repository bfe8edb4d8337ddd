import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { kindOf, readDurations, rememberDurations, testFiles } from '../../../src/cli/testing/durations.ts';
import { TestProgress, formatClock } from '../../../src/cli/testing/progress.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
/** Node: 90 s of files in 60 s, two at a time. Tabs: 30 s. */
const KNOWN = { node: { wall: 60, files: { a: 60, b: 20, c: 10 } }, tabs: { wall: 30, files: { t: 30 } } };
const FILES = new Map([
  ['node', ['a', 'b', 'c']],
  ['tabs', ['t']],
]);
const s = (seconds: number): number => 1000 * seconds;

describe('how long is left', () => {
  it('at first is what it took before', () => {
    const progress = new TestProgress(FILES, KNOWN, 0);
    expect(progress.secondsLeft(0)).toBeCloseTo(90, 6);
    expect(progress.headline('node', 0)).toBe('== node tests (1 of 2): 3 files; 0:00 so far, about 1:30 left');
  });

  it('shrinks with the files and with the time of those under way', () => {
    const progress = new TestProgress(FILES, KNOWN, 0);
    progress.began('node', 'a', 0);
    progress.began('node', 'b', 0);
    const left = [1, 10, 19].map((at) => progress.secondsLeft(s(at)));
    expect(left).toEqual(left.toSorted((x, y) => y - x));
    expect(progress.finished('node', 'b', s(20))).toBe(20);
    progress.finished('node', 'a', s(60));
    progress.began('node', 'c', s(20));
    progress.finished('node', 'c', s(30));
    expect(progress.line('node', s(60))).toBe('-- node: 3 of 3 files; all tests: 1:00 so far, about 0:31 left');
    progress.ended('node');
    expect(progress.secondsLeft(s(60))).toBeCloseTo(30, 6);
    expect(progress.running('node')).toEqual([]);
    progress.ended('tabs');
    expect(progress.secondsLeft(s(90))).toBe(0);
  });

  it('follows the pace of this run: everything takes three times as long', () => {
    const progress = new TestProgress(FILES, KNOWN, 0);
    progress.ended('node');
    // 180 s instead of 60: after the minute that counts as expected, the rest is taken to go at half the pace.
    expect(progress.secondsLeft(s(180))).toBeCloseTo((30 * (180 + 60)) / (60 + 60), 6);
  });

  it('never ends while a file that takes longer than before still runs', () => {
    const progress = new TestProgress(FILES, KNOWN, 0);
    progress.ended('node');
    progress.began('tabs', 't', s(60));
    expect(progress.secondsLeft(s(1000))).toBeGreaterThan(1);
  });

  it('is a guess where nothing is known, and not nonsense', () => {
    const progress = new TestProgress(
      new Map([
        ['node', ['x', 'y']],
        ['gpu', []],
      ]),
      {},
      0,
    );
    expect(progress.secondsLeft(0)).toBe(20);
    // A new file counts as a usual one.
    expect(new TestProgress(new Map([['node', ['a', 'new']]]), KNOWN, 0).secondsLeft(0)).toBeCloseTo((60 / 90) * 80, 6);
    progress.planned('node', ['x']);
    expect(progress.secondsLeft(0)).toBe(10);
    expect(progress.headline('gpu', 0)).toBe('== gpu tests (2 of 2): 0 files; 0:00 so far, about 0:10 left');
  });
});

it('clocks', () => {
  expect([0, 7.4, 59.6, 750, 3723, -1].map(formatClock)).toEqual(['0:00', '0:07', '1:00', '12:30', '1:02:03', '0:00']);
});

describe('durations', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tabmesh-durations-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const put = (path: string, text: string): void => {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  const REMEMBERED = 'node_modules/.cache/tabmesh/test-durations.json';

  it('remembered kinds go before the shipped ones', () => {
    put('tests/durations.json', JSON.stringify(KNOWN));
    rememberDurations(folder, 'tabs', { wall: 5, files: { t: 4 } });
    rememberDurations(folder, 'gpu', { wall: 7, files: { g: 6 } });
    expect(readDurations(folder)).toEqual({
      node: KNOWN.node,
      tabs: { wall: 5, files: { t: 4 } },
      gpu: { wall: 7, files: { g: 6 } },
    });
  });

  it.each([
    ['nothing', undefined],
    ['no JSON', '{'],
    ['another thing', '[1]'],
    ['null', 'null'],
    ['broken kinds', '{"node":3,"gpu":{"wall":"x","files":{}},"tabs":{"wall":-1,"files":{}}}'],
  ])('%s is no error', (_, text) => {
    if (text !== undefined) put(REMEMBERED, text);
    expect(readDurations(folder)).toEqual({});
    rememberDurations(folder, 'gpu', { wall: 7, files: { g: 6 } });
    expect(readDurations(folder)).toEqual({ gpu: { wall: 7, files: { g: 6 } } });
  });

  it('a place that cannot be written is no error', () => {
    put('node_modules', 'a file');
    expect(() => rememberDurations(folder, 'gpu', { wall: 7, files: {} })).not.toThrow();
    expect(readDurations(folder)).toEqual({});
  });

  it('the shipped table knows most of the files of every kind', () => {
    put('tests/durations.json', readFileSync(join(root, 'tests/durations.json'), 'utf8'));
    const known = readDurations(folder);
    for (const [kind, files] of testFiles(root, ['node', 'gpu', 'browser', 'tabs'])) {
      expect(files.length, kind).toBeGreaterThan(5);
      expect(
        files.filter((file) => known[kind]?.files[file] !== undefined).length / files.length,
        kind,
      ).toBeGreaterThan(0.5);
    }
  });
});

it('sorts files into kinds as the configuration of vitest does', () => {
  expect(
    ['a.test.ts', 'a.gpu.test.ts', 'a.browser.test.ts', 'a.tabs.test.ts', 'a.ts', 'a.test.json'].map(kindOf),
  ).toEqual(['node', 'gpu', 'browser', 'tabs', undefined, undefined]);
  const [node] = [...testFiles(root, ['node'], ['cli/testing']).values()];
  expect(node).toEqual(
    expect.arrayContaining(['tests/cli/testing/progress.test.ts', 'tests/cli/testing/test-count.test.ts']),
  );
  expect(node.every((path) => path.includes('cli/testing'))).toBe(true);
});
