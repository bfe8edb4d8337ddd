// `tabmesh verify` on a folder of cases, with Dawn in this process: the adapter is named, right values pass and spoiled
// ones do not.

import { rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import { runOperatorFolder } from '../../src/cli/verify/operators.ts';
import { MATMUL, emptyReport, failed, torchFolder, writeFolder } from '../support/case-folder.ts';

it('runs on the adapter that it names', async () => {
  const spoiled = { ...MATMUL, name: 'spoiled', outputs: { C: { shape: [2, 2], values: [19, 22, 43, 50.1] } } };
  const folder = writeFolder(torchFolder([MATMUL, spoiled, { ...MATMUL, name: 'other', op: 'unheard_of' }]));
  const report = emptyReport();
  await runOperatorFolder({
    folder,
    backend: 'node',
    signal: new AbortController().signal,
    onStatus: report.onStatus,
    onGroup: report.onGroup,
  });
  rmSync(folder, { recursive: true });
  expect(report.status[0]).toMatch(/^torch-golden\/1 on node: \S/);
  expect(failed(report)).toEqual(['spoiled C']);
  expect([report.checks.length, report.skipped]).toEqual([6, 1]);
});
