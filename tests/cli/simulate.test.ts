// `tabmesh simulate`: what it prints, writes and refuses; schedules from a file, with a table at what is wrong.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, test } from 'vitest';
import { run } from '../../src/cli/main.ts';
import { parseSchedule } from '../../src/parallel/pipeline/custom/parse.ts';
import { validate } from '../../src/parallel/pipeline/validate.ts';

const folder = mkdtempSync(join(tmpdir(), 'simulate-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function simulate(...args: string[]): Promise<{ code: number; out: string[]; err: string[] }> {
  const [out, err]: [string[], string[]] = [[], []];
  const code = await run(['simulate', ...args], {
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    signal: new AbortController().signal,
    interactive: false,
    columns: 120,
  });
  return { code, out, err };
}

describe('the command', () => {
  it('prints grid, step time, idle time, peaks and barriers', async () => {
    const cost = 'F=1,B=1,W=1,S=0.25,T=0.5';
    const { code, out } = await simulate(...`--stages 4 --microbatches 8 --vocab alg1 --cost ${cost}`.split(' '));
    expect(code).toBe(0);
    expect(out[0]).toBe('1f1b: 4 ranks, 8 microbatches, vocabulary alg1');
    expect(out).toEqual(
      expect.arrayContaining([
        'step time       39',
        'idle by rank    9 9 9 9',
        'peak in flight  6 5 4 3 (microbatches, by rank)',
        'barriers        24 (3 per microbatch)',
      ]),
    );
  });

  it('takes the chunks of the schedule, times per stage and of the way', async () => {
    const json = async (...args: string[]) => JSON.parse((await simulate('--json', ...args)).out[0]!);
    const plain = await json('--schedule', 'v-half');
    expect(plain).toMatchObject({ schedule: 'v-half', vocab: 'none', ranks: 4, chunks: 2, makespan: 53 });
    expect(plain.peakLive).toEqual([6, 6, 6, 6]);
    expect(plain.timeline[0][0]).toEqual({ kind: 'F', stage: 0, microbatch: 0, start: 0, end: 1 });
    const slow = await json('--schedule', 'gpipe', '--stages', '2', '--microbatches', '2', '--cost', 'F=1/3,comm=2');
    // F0 1, on the way 2, F0 and F1 of the slow stage 6, B0 2, on the way 2, B0 and B1 4: B1 waits for nothing.
    expect(slow.makespan).toBe(1 + 2 + 6 + 2 + 2 + 4);
  });

  it('writes the picture', async () => {
    const path = join(folder, 'picture.svg');
    expect((await simulate('--stages', '2', '--microbatches', '3', '--vocab', 'alg2', '--svg', path)).code).toBe(0);
    const svg = readFileSync(path, 'utf8');
    // A box per action that takes time, with what it is and when.
    expect(svg.match(/<title>F\d/g)).toHaveLength(6);
    expect(svg).toContain('<title>B2@1: ');
    expect(svg).not.toContain('<title>IF0');
    for (const word of ['rank 1', 'S: head', 'prefers-color-scheme: dark']) expect(svg).toContain(word);
  });

  test.each([
    ['--cost F=-1', "--cost: expected a time of at least 0 for F, got '-1'"],
    ['--cost F=one', "--cost: expected a time of at least 0 for F, got 'one'"],
    ['--cost F', "--cost: expected NAME=TIME, such as F=1, got 'F'"],
    ['--cost F=1,F=2', '--cost: expected F once, got it twice'],
    ['--cost Q=1', "--cost: expected times of F, B, W, comm, transfer, collective, got 'Q'"],
    ['--cost S=1', 'S is a pass of a shared vocabulary: choose a --vocab'],
    ['--cost F=1/2/3', '--cost: expected 1 or 4 times of F, one per stage, got 3'],
    ['--cost comm=1/2', '--cost: expected one time of comm, got 2'],
    ['--cost F=0,B=0,W=0', '--cost: expected some pass to take time, got 0 for all'],
    ['--schedule interleaved --microbatches 6', 'groups of 4 divide, got 6; use microbatches=4 or 8'],
    ['--schedule interleaved --group 3 --microbatches 6', 'expected groups of at least 4 microbatches, got 3'],
    ['--schedule v-half --chunks 1', '--schedule: v-half: expected 2 chunks per rank, got 1; use chunks=2'],
    ['--schedule 2f2b', '--schedule: expected gpipe'],
    ['--schedule zb-h1 --vocab interlaced', 'expected none or naive or alg1 or alg2 with schedule zb-h1'],
    ['--stages 0', "--stages: expected a whole number of at least 1, got '0'"],
    ['--stages 4096 --microbatches 100000', '--microbatches: expected at most'],
    ['--microbatches 5000 --svg x.svg', '--svg: expected at most 20000 actions, got 40000'],
    ['--group 4', '--group: expected a schedule with groups (interleaved), got 1f1b'],
  ])('refuses %s in one sentence', async (args, sentence) => {
    const { code, out, err } = await simulate(...args.split(' '));
    expect([code, out]).toEqual([2, []]);
    expect(err[0]).toContain(sentence);
  });
});

const GOOD = ['0F0,0F1,,0B0,0W0,0B1,0W1', '1F0,1B0,1W0,1F1,1B1,1W1'];
const text = (...lines: string[]): string => `${lines.join('\n')}\n`;

describe('a schedule from a text', () => {
  it('runs as it is written', async () => {
    const { schedule, shape } = parseSchedule('good.csv', text('# by hand', ...GOOD));
    expect(shape).toEqual({ ranks: 2, chunks: 1, microbatches: 2 });
    expect(schedule.passes).toEqual(['F', 'B', 'W']);
    expect(validate(schedule, shape)).toEqual([]);
    const path = join(folder, 'good.csv');
    // I for B, as PyTorch writes the split backward.
    writeFileSync(path, text(...GOOD).replaceAll('B', 'I'));
    const { code, out } = await simulate('--schedule', path);
    expect(code).toBe(0);
    expect(out[0]).toBe(`${path}: 2 ranks, 2 microbatches`);
    expect(out).toContain('rank 1 |.  F0 B0 W0 F1 B1 W1 .  |');
    expect((await simulate('--schedule', path, '--stages', '3')).err[0]).toContain(
      'expected 2 ranks with 1 chunk and 2 microbatches, as it is written, got 3 ranks',
    );
  });

  it('may have several stages per rank', () => {
    const { schedule, shape } = parseSchedule('vee.csv', text('0F0,3F0,3B0,0B0', '1F0,2F0,2B0,1B0'));
    expect(shape).toEqual({ ranks: 2, chunks: 2, microbatches: 1 });
    expect([schedule.stageOf(0, 1, shape), schedule.stageOf(1, 1, shape)]).toEqual([3, 2]);
    expect(validate(schedule, shape)).toEqual([]);
  });

  const [first, second] = GOOD as [string, string];
  const swap = (line: string, a: string, b: string): string => line.replace(a, '#').replace(b, a).replace('#', b);
  test.each([
    ['a missing W', [first.replace(',0W1', ''), second], 'expected 0W1 on rank 0, got none', '0B1'],
    ['a missing B', [first, second.replace(',1B1,1W1', '')], 'expected 1B1 on rank 1, got none', '1F1'],
    ['B before F', [first, swap(second, '1F1', '1B1')], 'expected 1F1 before 1B1', '1B1'],
    ['W before B', [swap(first, '0B0', '0W0'), second], 'expected 0B0 before 0W0', '0W0'],
    ['a pass twice', [first, `${second},1F0`], 'expected 1F0 once on rank 1, got it twice', '1F0'],
    [
      'a stage on two ranks',
      [first, `${second},0F0`],
      'expected stage 0 on one rank, got it on rank 0 and on rank 1',
      '0F0',
    ],
    [
      'an unknown pass',
      [first.replace('0F1', '0Q1'), second],
      "expected a pass of F, R, B, I, W, got 'Q' in 0Q1",
      '0Q1',
    ],
    [
      'no cell',
      [first.replace('0F1', 'F1'), second],
      "expected stage, pass and microbatch, such as 1F0, got 'F1'",
      'F1',
    ],
    [
      'a stage too far',
      [first, second.replaceAll(/1([FBW])/g, '2$1')],
      'expected stages 0 to 1, got 2 and no stage 1',
      '2F0',
    ],
    [
      'a rank without a stage',
      [first, ''.padEnd(3, ','), second],
      'expected a stage on every rank, got none on rank 1',
      '',
    ],
    ['uneven stages', [first, `${second},2F0,2B0,2W0`], 'got 1 (0) on rank 0 and 2 (1, 2) on rank 1', '1F0'],
    [
      'both notations',
      [first.replace('0B0', '0I0'), second],
      'expected I and W, or B alone, for all microbatches',
      '0B1',
    ],
    [
      'two ranks that wait for each other',
      [first.replace('0F1,,0B0', '0B0,0F1'), '1F0,1F1,1B0,1W0,1B1,1W1'],
      'no rank waits for ever, got one where rank 0 waits with B0@0 for B0@1',
      '0B0',
    ],
  ])('shows the cell of %s', (_, lines, sentence, cell) => {
    let message = '';
    try {
      parseSchedule('own.csv', text(...lines));
    } catch (error) {
      ({ message } = error as Error);
    }
    const [told, ...table] = message.split('\n');
    expect(told).toBe(`own.csv: ${told!.slice(9)}`);
    expect(told).toContain(sentence);
    const at = table.findIndex((line) => line.includes('<-- here'));
    expect(table[at - 1]!.slice(table[at]!.indexOf('<'))).toMatch(new RegExp(`^${cell}( |$)`));
  });

  it('shows a window of a long line', () => {
    const line = Array.from({ length: 40 }, (_, i) => `0F${i}`).join(',');
    expect(() => parseSchedule('own.csv', `${line},0F3`)).toThrow(
      /^own\.csv: expected 0F3 once on rank 0, got it twice\nrank 0 \| \.\. 0F34 0F35 .* 0F3\n +<-- here$/,
    );
  });
});
