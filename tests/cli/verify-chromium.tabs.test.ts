// `tabmesh verify` on a folder of cases inside headless Chromium: the page's adapter is named, and its verdicts come
// back, infinities and all.

import { rmSync } from 'node:fs';
import { afterAll, expect, it } from 'vitest';
import { AbortedError } from '../../src/base/errors.ts';
import { runOperatorFolder } from '../../src/cli/verify/operators.ts';
import { MATMUL, emptyReport, failed, torchFolder, writeFolder } from '../support/case-folder.ts';

const folder = writeFolder(
  torchFolder([
    MATMUL,
    { ...MATMUL, name: 'spoiled', outputs: { C: { shape: [2, 2], values: [19, 22, 43, 50.1] } } },
    { ...MATMUL, name: 'lacking', outputs: { D: { shape: [1], values: [1] } } },
    { ...MATMUL, name: 'other', op: 'unheard_of' },
  ]),
);
afterAll(() => rmSync(folder, { recursive: true }));

it('runs in the page', async () => {
  const report = emptyReport();
  await runOperatorFolder({
    folder,
    backend: 'chromium',
    signal: new AbortController().signal,
    onStatus: report.onStatus,
    onGroup: report.onGroup,
  });
  expect(report.status[0]).toMatch(/^torch-golden\/1 on chromium: \S/);
  expect(failed(report)).toEqual(['spoiled C', 'lacking D']);
  expect(report.checks.find(({ name }) => name === 'lacking D')!.worst).toBe(Infinity);
  expect([report.checks.length, report.skipped]).toEqual([9, 1]);
});

it('stops when it is told to, and leaves no browser behind', async () => {
  const stop = new AbortController();
  const run = runOperatorFolder({
    folder,
    backend: 'chromium',
    signal: stop.signal,
    onStatus: () => stop.abort(),
    onGroup: () => {},
  });
  await expect(run).rejects.toThrow(AbortedError);
});
