// PyTorch's operator cases, whole, on the references: nothing fails, and exactly these operators are not here. Also an
// untied GPT, made from the tied one: with a head that holds the embedding's values everything before the first update
// is the same, but for one gradient.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { runCases } from '../../src/cli/verify/cases.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { emptyReport, failed } from '../support/case-folder.ts';
import type { Report } from '../support/case-folder.ts';

interface Entry {
  readonly tensor: string;
}
interface Case {
  readonly name: string;
  readonly op: string;
  readonly attrs: Record<string, unknown>;
  readonly inputs: Record<string, Entry>;
  readonly outputs: Record<string, Entry>;
  readonly grads: Record<string, Entry>;
}
interface Manifest {
  readonly cases: readonly Case[];
}

async function verify(change = (manifest: Manifest): Manifest => manifest): Promise<Report> {
  const folder = fileURLToPath(new URL('../golden/torch/', import.meta.url));
  const report = emptyReport();
  await runCases({
    device: createCpuDevice(),
    manifest: change(JSON.parse(readFileSync(`${folder}manifest.json`, 'utf8')) as Manifest),
    file: async (file) => new Uint8Array(readFileSync(folder + file)),
    onGroup: report.onGroup,
    onStatus: report.onStatus,
  });
  return report;
}

it('PyTorch: every operator but the recurrent ones', async () => {
  const report = await verify();
  expect(failed(report)).toEqual([]);
  expect(report.checks.length).toBeGreaterThan(300);
  expect(report.labels.filter((label) => label.includes('no such operator'))).toEqual([
    expect.stringContaining('linear_attention'),
    expect.stringContaining('delta_rule'),
  ]);
  expect(report.skipped).toBe(7);
});

it('an untied GPT whose head holds the embedding', async () => {
  const untied =
    (attrs: object, head: string) =>
    (manifest: Manifest): Manifest => ({
      ...manifest,
      cases: manifest.cases
        .filter(({ op }) => op === 'gpt')
        .map((one) => ({
          ...one,
          name: 'untied',
          attrs: { ...one.attrs, tied: false, clip: 1, ...attrs },
          inputs: { ...one.inputs, [head]: one.inputs['wte'] },
          outputs: Object.fromEntries(
            Object.entries(one.outputs).filter(
              ([name]) => /^(loss0|d?act\.|mb\d\.)/.test(name) && !name.endsWith('.wte'),
            ),
          ),
          grads: Object.fromEntries(Object.entries(one.grads).filter(([name]) => name !== 'wte')),
        })),
    });
  for (const head of ['head', 'head.w']) {
    const report = await verify(untied({}, head));
    expect(failed(report)).toEqual([]);
    expect(report.checks.length).toBeGreaterThan(80);
  }
  expect(failed(await verify(untied({ ln_eps: 2e-4 }, 'head'))).length).toBeGreaterThan(40);
});
