// A conformance folder in memory: a manifest of either format, and one safetensors file with all tensors. For tests of
// `tabmesh verify`.

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCases } from '../../src/cli/verify/cases.ts';
import type { Check } from '../../src/cli/verify/compare.ts';
import { writeSafetensors } from '../../src/base/safetensors.ts';
import type { WriteEntry } from '../../src/base/safetensors.ts';
import type { Device } from '../../src/device/device.ts';

type Numbers = readonly number[] | Float32Array;
/** Shape and values; `dtype` I64 or I32 for integers. */
export interface Given {
  readonly shape: readonly number[];
  readonly values: Numbers;
  readonly dtype?: 'F32' | 'I32' | 'I64';
}
export interface TorchGiven {
  readonly name: string;
  readonly op: string;
  readonly attrs?: object;
  readonly inputs: Readonly<Record<string, Given>>;
  readonly outputs: Readonly<Record<string, Given>>;
  readonly grads?: Readonly<Record<string, Given>>;
}
export interface OnnxGiven {
  readonly name: string;
  readonly op: string;
  readonly attributes?: object;
  readonly inputs: readonly (Given | null)[];
  readonly outputs: readonly (Given | null)[];
}
export interface CaseFolder {
  readonly manifest: unknown;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

function entryOf({ shape, values, dtype = 'F32' }: Given): WriteEntry {
  const data =
    dtype === 'F32'
      ? Float32Array.from(values)
      : dtype === 'I32'
        ? Int32Array.from(values)
        : BigInt64Array.from(Array.from(values, BigInt));
  return { dtype, shape, data };
}

function collector() {
  const entries: [string, WriteEntry][] = [];
  const put = (tensor: string, given: Given): object => {
    entries.push([tensor, entryOf(given)]);
    return {
      tensor,
      dtype: given.dtype ?? 'F32',
      shape: given.shape,
      absmax: Math.max(0, ...Array.from(given.values, Math.abs)),
      f32: 0,
    };
  };
  return { entries, put };
}

export function torchFolder(cases: readonly TorchGiven[]): CaseFolder {
  const { entries, put } = collector();
  const all = (at: string, tensors: Readonly<Record<string, Given>> = {}) =>
    Object.fromEntries(Object.entries(tensors).map(([name, given]) => [name, put(`${at}/${name}`, given)]));
  const listed = cases.map(({ name, op, attrs = {}, inputs, outputs, grads }) => ({
    name,
    op,
    attrs,
    file: 'ops.safetensors',
    inputs: all(`${name}/inputs`, inputs),
    outputs: all(`${name}/outputs`, outputs),
    grads: all(`${name}/grads`, grads),
  }));
  return { manifest: { format: 'torch-golden/1', files: {}, cases: listed }, bytes: writeSafetensors(entries) };
}

export function onnxFolder(cases: readonly OnnxGiven[]): CaseFolder {
  const { entries, put } = collector();
  const all = (at: string, tensors: readonly (Given | null)[]) =>
    tensors.map((given, i) => given && put(`${at}${i}`, given));
  const listed = cases.map(({ name, op, attributes = {}, inputs, outputs }, n) => ({
    name,
    op,
    attributes,
    opset: 23,
    group: 'ops',
    inputs: all(`case${n}/in`, inputs),
    outputs: all(`case${n}/out`, outputs),
  }));
  return {
    manifest: { format: 'onnx-node-cases/1', files: { ops: { file: 'ops.safetensors' } }, cases: listed },
    bytes: writeSafetensors(entries),
  };
}

/** Writes the folder to disk; returns its path. */
export function writeFolder({ manifest, bytes }: CaseFolder): string {
  const path = mkdtempSync(join(tmpdir(), 'tabmesh-cases-'));
  writeFileSync(join(path, 'manifest.json'), JSON.stringify(manifest));
  writeFileSync(join(path, 'ops.safetensors'), bytes);
  return path;
}

export interface Report {
  readonly checks: Check[];
  readonly labels: string[];
  readonly status: string[];
  skipped: number;
}

export function emptyReport(): Report & {
  onGroup(label: string, checks: readonly Check[], skipped: number): void;
  onStatus(text: string): void;
} {
  const report = {
    checks: [] as Check[],
    labels: [] as string[],
    status: [] as string[],
    skipped: 0,
    onGroup(label: string, checks: readonly Check[], skipped: number) {
      report.labels.push(label);
      report.checks.push(...checks);
      report.skipped += skipped;
    },
    onStatus(text: string) {
      report.status.push(text);
    },
  };
  return report;
}

export async function runFolder(device: Device, { manifest, bytes }: CaseFolder, only?: string): Promise<Report> {
  const report = emptyReport();
  await runCases({
    device,
    manifest,
    only,
    file: async () => bytes,
    onGroup: report.onGroup,
    onStatus: report.onStatus,
  });
  return report;
}

export const failed = ({ checks }: Report): string[] => checks.filter(({ passed }) => !passed).map(({ name }) => name);

/** One case by hand: [1 2; 3 4] [5 6; 7 8], upstream gradient of ones. */
export const MATMUL: TorchGiven = {
  name: 'product',
  op: 'matmul',
  inputs: {
    A: { shape: [2, 2], values: [1, 2, 3, 4] },
    B: { shape: [2, 2], values: [5, 6, 7, 8] },
    dC: { shape: [2, 2], values: [1, 1, 1, 1] },
  },
  outputs: { C: { shape: [2, 2], values: [19, 22, 43, 50] } },
  grads: { dA: { shape: [2, 2], values: [11, 15, 11, 15] }, dB: { shape: [2, 2], values: [4, 4, 6, 6] } },
};
