// docs/adding.md is true where a GPU is needed: a kernel is compared with its reference on Dawn, and an operator of
// `verify` computes the cases that were skipped before.

import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { onnxFolder, writeFolder } from '../support/case-folder.ts';
import { copySources } from '../support/source-copy.ts';
import type { SourceCopy } from '../support/source-copy.ts';
import { alsoTest } from '../support/sample.ts';
import { KERNEL, LIBRARY, OPERATOR, WORKLOAD } from './additions.ts';
import { pathsOfRow } from './table.ts';

let copy: SourceCopy;
const folder = writeFolder(
  onnxFolder([
    {
      name: 'sub',
      op: 'Sub',
      inputs: [
        { shape: [2, 2], values: [1, 2, 3, 4] },
        { shape: [2, 2], values: [5, 5, 1, 0] },
      ],
      outputs: [{ shape: [2, 2], values: [-4, -3, 2, 4] }],
    },
  ]),
);
const verify = (): { status: number | null; stdout: string } => copy.tabmesh('verify', folder);

beforeAll(() => {
  copy = copySources({ tests: true });
});
afterAll(() => {
  copy.remove();
  rmSync(folder, { recursive: true, force: true });
});

it('an operator of verify is one file, which runs its cases and can fail them', () => {
  expect(verify().stdout).toMatch(/0 passed, 0 failed, 1 skipped/);
  OPERATOR.add(copy);
  expect(copy.changes()).toEqual(pathsOfRow(OPERATOR.row, OPERATOR.name));
  expect(verify()).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/1 passed, 0 failed, 0 skipped/) as string,
  });
  copy.edit(OPERATOR.defect.path, OPERATOR.defect.from, OPERATOR.defect.to);
  expect(verify()).toMatchObject({ status: 1, stdout: expect.stringMatching(/0 passed, 1 failed/) as string });
});

it('a workload and a library of the bench are one file each, checked on Dawn, and a defect in them is caught', () => {
  const added = [WORKLOAD, LIBRARY];
  // The defect of the test before.
  copy.changes();
  for (const { row, name, add } of added) {
    add(copy);
    expect(copy.changes()).toEqual(pathsOfRow(row, name));
  }
  const names = new RegExp(added.map(({ tests }) => tests.source).join('|'));
  const passed = (): readonly (readonly boolean[])[] => {
    const outcomes = copy.test([WORKLOAD.contract], names, 'gpu');
    return added.map(({ tests }) => outcomes.filter(({ name }) => tests.test(name)).map((one) => one.passed));
  };
  // It is right, and wrong if nothing is computed; it takes what is there, and is right at it.
  expect(passed()).toEqual([
    [true, true],
    [true, true],
  ]);
  for (const { defect } of added) copy.edit(defect.path, defect.from, defect.to);
  expect(passed()).toEqual([
    [false, true],
    [true, false],
  ]);
});

alsoTest('a kernel is found and run on Dawn, and a defect in its text is caught', async () => {
  const onDawn = (): readonly boolean[] =>
    copy.test(['tests/contracts/kernels.gpu.test.ts'], / scaleShift$/, 'gpu').map(({ passed }) => passed);
  KERNEL.add(copy);
  expect(onDawn()).toEqual([true]);
  copy.edit('shaders/elementwise/scale-shift.wgsl', 'x[i] + SHIFT', 'x[i] - SHIFT');
  expect(onDawn()).toEqual([false]);
});
