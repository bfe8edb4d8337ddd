// docs/adding.md is true: each addition touches, by git, the files that its row in the table names and no other; its
// contract finds it, passes, and catches a defect in it; the commands know it by its name.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { copySources } from '../support/source-copy.ts';
import type { Outcome, SourceCopy } from '../support/source-copy.ts';
import { ADDITIONS } from './additions.ts';
import type { Addition } from './additions.ts';
import { pathsOfRow } from './table.ts';

let copy: SourceCopy;
const touched = new Map<string, readonly string[]>();
let outcomes: readonly Outcome[];

/** The tests of the additions in their contracts, all in one run. */
const runContracts = (): readonly Outcome[] =>
  copy.test(
    [...new Set(ADDITIONS.map(({ contract }) => contract))],
    new RegExp(ADDITIONS.map(({ tests }) => tests.source).join('|')),
  );
const ofAddition = ({ contract, tests }: Addition): readonly Outcome[] =>
  outcomes.filter(({ file, name }) => file === contract && tests.test(name));

beforeAll(() => {
  copy = copySources({ tests: true });
  for (const addition of ADDITIONS) {
    addition.add(copy);
    touched.set(addition.row, copy.changes());
  }
  outcomes = runContracts();
});
afterAll(() => {
  copy.remove();
});

it.each(ADDITIONS)('a $row touches the files that the table names, and no other', ({ row, name, family }) => {
  expect(touched.get(row)).toEqual(pathsOfRow(row, name, family));
});

it('the table is read: a row that names a file less, or none, is found out', () => {
  const [{ row, name }] = ADDITIONS;
  expect(touched.get(row)).not.toEqual(pathsOfRow('op', name));
  expect(() => pathsOfRow('planet', name)).toThrow("docs/adding.md has no row 'planet'");
});

it.each(ADDITIONS)('a $row is found by its contract, and passes', (addition) => {
  const found = ofAddition(addition);
  expect(found.length).toBeGreaterThan(0);
  expect(found.filter(({ passed }) => !passed)).toEqual([]);
});

it('a schedule is drawn, and a schedule and a sequence strategy train as one rank does', () => {
  const drawn = copy.tabmesh('simulate', '--schedule', 'one-by-one', '--stages', '3', '--microbatches', '2');
  expect(drawn, drawn.stderr).toMatchObject({ status: 0 });
  expect(drawn.stdout).toMatch(/rank 2 .*F0 B0--- .*F1 B1---/);

  const losses = (log: string, ...args: string[]): number[] => {
    const run = ['--backend', 'cpu', '--data', 'copy', '--context', '14', '--batch', '4', '--steps', '2'];
    const { status, stderr } = copy.tabmesh('train', ...run, '--log', log, ...args);
    expect({ args, status, stderr }).toMatchObject({ status: 0 });
    const lines = readFileSync(join(copy.folder, log), 'utf8').trim().split('\n');
    return lines.map((line) => (JSON.parse(line) as { loss: number }).loss);
  };
  const one = losses('one.jsonl');
  expect(one.length).toBe(2);
  const pipeline = losses('pp.jsonl', '--layout', 'pp=2', '--schedule', 'one-by-one', '--microbatches', '2');
  const sequence = losses('sp.jsonl', '--layout', 'sp=2', '--sequence', 'pairs');
  for (const other of [pipeline, sequence])
    other.forEach((loss, step) => expect(Math.abs(loss / one[step] - 1)).toBeLessThan(2e-6));
});

it('a kernel runs in WebAssembly, and a defect in its text is caught', () => {
  const passed = (): readonly boolean[] =>
    copy.test(['tests/contracts/kernels-wasm.test.ts'], / scaleShift$/).map((outcome) => outcome.passed);
  expect(passed()).toEqual([true]);
  copy.edit('shaders/elementwise/scale-shift.as.ts', 'f32x4.splat(SHIFT)', 'f32x4.splat(SCALE)');
  expect(passed()).toEqual([false]);
});

it('a command runs', () => {
  expect(copy.tabmesh('hello', '--name', 'tabs')).toMatchObject({ status: 0, stdout: 'hello, tabs\n', stderr: '' });
});

it('a defect in an addition is caught by its contract', () => {
  for (const { defect } of ADDITIONS) copy.edit(defect.path, defect.from, defect.to);
  outcomes = runContracts();
  const caught = ADDITIONS.filter((addition) => ofAddition(addition).some(({ passed }) => !passed));
  expect(caught.map(({ row }) => row)).toEqual(ADDITIONS.map(({ row }) => row));
});
