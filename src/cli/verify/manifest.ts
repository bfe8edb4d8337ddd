// manifest.json of a conformance folder, in both formats (torch-golden/1, onnx-node-cases/1), checked field by field:
// it is somebody else's file.

import { FormatError } from '../../base/errors.ts';
import type { SafetensorsFile } from '../../base/safetensors.ts';
import { formatShape, sameShape } from '../../base/shape.ts';
import { Attributes, CaseTensor, TorchCase } from './operator.ts';
import type { OnnxCase } from './operator.ts';

export interface ManifestCase {
  readonly name: string;
  readonly op: string;
  readonly file: string;
  /** The case with its tensors from `file`; one of the two, by the format. */
  torch(file: SafetensorsFile): TorchCase;
  onnx(file: SafetensorsFile): OnnxCase;
}

export interface Manifest {
  readonly format: 'torch' | 'onnx';
  /** `format` as it stands there. */ readonly source: string;
  readonly cases: readonly ManifestCase[];
}

type Fields = Readonly<Record<string, unknown>>;
const FORMATS: Readonly<Record<string, Manifest['format']>> = {
  'torch-golden/1': 'torch',
  'onnx-node-cases/1': 'onnx',
};
const FILE_NAME = /^[\w.-]+\.safetensors$/;

function fail(detail: string): never {
  throw new FormatError('manifest.json', detail);
}

function fields(value: unknown, what: string): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : fail(`${what}: expected an object`);
}

function list(value: unknown, what: string): readonly unknown[] {
  return Array.isArray(value) ? value : fail(`${what}: expected a list`);
}

function text(value: unknown, what: string): string {
  return typeof value === 'string' ? value : fail(`${what}: expected a text`);
}

export function readManifest(json: unknown): Manifest {
  const manifest = fields(json, 'the file');
  const format =
    FORMATS[String(manifest['format'])] ??
    fail(`format: expected ${Object.keys(FORMATS).join(' or ')}, got ${JSON.stringify(manifest['format'])}`);
  const files = fields(manifest['files'], 'files');
  const cases = list(manifest['cases'], 'cases').map((value, i): ManifestCase => {
    const one = fields(value, `case ${i}`);
    const name = text(one['name'], `case ${i}: name`);
    const op = text(one['op'], `case ${name}: op`);
    const file =
      format === 'torch'
        ? text(one['file'], `case ${name}: file`)
        : text(
            fields(files[text(one['group'], `case ${name}: group`)], `case ${name}: its group's file`)['file'],
            'file',
          );
    if (!FILE_NAME.test(file)) fail(`case ${name}: '${file}' is no name of a safetensors file`);
    const attributes = new Attributes(
      fields(one[format === 'torch' ? 'attrs' : 'attributes'] ?? {}, `case ${name}: attributes`),
    );
    return {
      name,
      op,
      file,
      torch: (tensors) =>
        new TorchCase(
          name,
          op,
          attributes,
          named(one['inputs'], tensors, name),
          new Map([...named(one['outputs'], tensors, name), ...named(one['grads'], tensors, name)]),
        ),
      onnx: (tensors) => ({
        name,
        op,
        attributes,
        opset: Number(one['opset']),
        inputs: slots(one['inputs'], tensors, name),
        wanted: slots(one['outputs'], tensors, name),
      }),
    };
  });
  return { format, source: String(manifest['format']), cases };
}

function named(value: unknown, file: SafetensorsFile, where: string): ReadonlyMap<string, CaseTensor> {
  return new Map(
    Object.entries(fields(value ?? {}, `case ${where}: tensors`)).map(([name, entry]) => [
      name,
      tensorOf(entry, file, where),
    ]),
  );
}

function slots(value: unknown, file: SafetensorsFile, where: string): readonly (CaseTensor | undefined)[] {
  return list(value, `case ${where}: tensors`).map((entry) =>
    entry === null ? undefined : tensorOf(entry, file, where),
  );
}

function tensorOf(value: unknown, file: SafetensorsFile, where: string): CaseTensor {
  const entry = fields(value, `case ${where}: tensor`);
  const name = text(entry['tensor'], `case ${where}: tensor`);
  const shape = list(entry['shape'], `case ${where}: ${name}: shape`).map(Number);
  const stored = file.tensors.get(name) ?? fail(`case ${where}: the tensor ${name} is not in its file`);
  if (stored.dtype !== entry['dtype'] || !sameShape(stored.shape, shape))
    fail(
      `case ${where}: ${name} is ${stored.dtype} ${formatShape(stored.shape)} in its file, expected ${String(entry['dtype'])} ${formatShape(shape)}`,
    );
  const number = (field: string): number => (typeof entry[field] === 'number' ? entry[field] : 0);
  return new CaseTensor(stored, number('absmax'), number('f32'));
}
