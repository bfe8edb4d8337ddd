// Progress for a terminal and for a log: a status that only counts on takes one line of a log, and no note is lost to
// it.

import { expect, it } from 'vitest';
import type { CommandIo } from '../../src/cli/command.ts';
import { ProgressLine } from '../../src/cli/progress-line.ts';

function lineOf(terminal: boolean): { readonly line: ProgressLine; readonly said: string[] } {
  const said: string[] = [];
  const io = {
    err: (text: string) => {
      said.push(text);
    },
    ...(terminal
      ? {
          redraw: (text: string) => {
            said.push(`over: ${text}`);
          },
          columns: 80,
        }
      : {}),
  };
  return { line: new ProgressLine(10, io as unknown as CommandIo), said };
}

function compile({ line }: { readonly line: ProgressLine }): void {
  line.status('compiling kernels');
  for (const done of [1, 20, 37]) line.status(`compiling kernels ${done} of 37`);
  line.status('waiting for the other ranks');
  line.status('compiling kernels 1 of 5');
}

it('a log has one line for a status that counts on, and another when it begins anew', () => {
  const log = lineOf(false);
  compile(log);
  expect(log.said).toEqual([
    'compiling kernels',
    'compiling kernels 1 of 37',
    'waiting for the other ranks',
    'compiling kernels 1 of 5',
  ]);
});

it('a terminal draws it over, and what follows begins a line', () => {
  const terminal = lineOf(true);
  compile(terminal);
  expect(terminal.said).toEqual([
    'compiling kernels',
    'over: compiling kernels 1 of 37',
    'over: compiling kernels 20 of 37',
    'over: compiling kernels 37 of 37',
    '',
    'waiting for the other ranks',
    'over: compiling kernels 1 of 5',
  ]);
});

it('says hours of what takes hours', () => {
  const left = (ms: number): string => {
    const { line, said } = lineOf(false);
    line.step({ step: 0, loss: 1, tokens: 1, ms, bytes: 0 });
    return /(?<=sent {2}).*/.exec(said[0]!)![0];
  };
  expect([2000, 67_000, 5_400_000].map(left)).toEqual(['18 s left', '10 min 3 s left', '13 h 30 min left']);
});
