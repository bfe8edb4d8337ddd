// The weights of a model from a safetensors file of Hugging Face names: which tensors are wanted, which may stand there
// without being weights, and what is wrong with the others. Names may lack the prefix of their family.

import { FormatError } from '../../base/errors.ts';
import { firstNonFinite } from '../../base/finite.ts';
import { viewFloat32, type SafetensorsEntry, type SafetensorsFile } from '../../base/safetensors.ts';
import { formatShape, sameShape } from '../../base/shape.ts';
import type { ModelConfig } from '../config.ts';
import { familyOf } from '../registry.ts';
import { tableOf } from '../stage-params.ts';
import { weightSpecs } from '../weights.ts';

const FLOATS: ReadonlySet<string> = new Set(['F32', 'F16', 'BF16', 'F64']);

const HEAD = 'lm_head.weight';

/**
 * The weights of `file` as f32 under their full names, in the order of `weightSpecs`: views of the file's bytes where
 * it holds aligned f32, so nobody may write to them. One FormatError lists the first five weights that are missing,
 * extra, of another shape or type, or not finite. Known buffers are left out, and so are tensors of a type that is not
 * read here and of which no module of the model knows; `onNote` is told of those. `file` may hold anything with the
 * weights' names: also gradients or moments.
 */
export function checkWeights(
  config: ModelConfig,
  file: SafetensorsFile,
  label = 'model.safetensors',
  onNote: (text: string) => void = () => {},
): ReadonlyMap<string, Float32Array> {
  const family = familyOf(config);
  const { prefix, buffers } = family.files;
  const specs = weightSpecs(config);
  const known = new Set(specs.map((spec) => spec.name));
  const modules = new Set(specs.map(({ name }) => moduleOf(name)));
  const problems: string[] = [];
  const stored = new Map<string, string>();
  const skipped: string[] = [];
  for (const name of [...file.tensors.keys(), ...file.foreign.keys()]) {
    const full = known.has(name) ? name : prefix + name;
    if (known.has(full)) {
      if (stored.has(full)) problems.push(`${full} stands twice, with and without the prefix ${prefix}`);
      else stored.set(full, name);
    } else if (name === HEAD && config.tied) {
      const problem = differsFromTable(file, tableOf(family.weights(config)).name, prefix);
      if (problem) problems.push(problem);
    } else if (!buffers.test(name)) {
      const type = file.foreign.get(name)?.dtype;
      // A bias or a scale of a module that we compute would change it.
      if (type !== undefined && !modules.has(moduleOf(name)) && !modules.has(prefix + moduleOf(name))) {
        skipped.push(`${name} (${type})`);
      } else problems.push(`${name} is not a weight of this model`);
    }
  }
  const out = new Map<string, Float32Array>();
  for (const { name, shape } of specs) {
    const where = stored.get(name) ?? '';
    const entry = file.tensors.get(where);
    const there = entry ?? file.foreign.get(where);
    if (!there) {
      const hint =
        name === HEAD ? ' (if it is the embedding table, set tie_word_embeddings to true in config.json)' : '';
      problems.push(`${name} ${formatShape(shape)} is missing${hint}`);
      continue;
    }
    if (!sameShape(there.shape, shape)) {
      problems.push(`${name} is ${formatShape(there.shape)}, expected ${formatShape(shape)}`);
      continue;
    }
    if (!entry || !FLOATS.has(entry.dtype)) {
      problems.push(`${name} is ${there.dtype}, expected F32, F16, BF16 or F64`);
      continue;
    }
    const values = viewFloat32(entry);
    const bad = firstNonFinite(values);
    if (bad >= 0) problems.push(`${name}[${bad}] is ${values[bad]}`);
    out.set(name, values);
  }
  if (problems.length) throw new FormatError(label, report(config, label, problems));
  if (skipped.length) onNote(`${label}: left out ${listed(skipped)}, of which this network has no use`);
  return out;
}

/** Without the last part: what a weight and its bias, or its scale, belong to. */
function moduleOf(name: string): string {
  return name.slice(0, name.lastIndexOf('.'));
}

/** A tied model may carry its output projection as long as it is the embedding table. */
function differsFromTable({ tensors }: SafetensorsFile, table: string, prefix: string): string | undefined {
  const [head, own] = [tensors.get(HEAD), tensors.get(table) ?? tensors.get(table.replace(prefix, ''))];
  // A file without the table has a problem already; a head that cannot be read is not needed.
  return !head || !own || sameValues(head, own)
    ? undefined
    : `${HEAD} differs from ${table} although tie_word_embeddings is true; set it to false to train both, or remove ${HEAD}`;
}

function sameValues(a: SafetensorsEntry, b: SafetensorsEntry): boolean {
  if (!sameShape(a.shape, b.shape)) return false;
  const [x, y] = [viewFloat32(a), viewFloat32(b)];
  return x.every((value, i) => Object.is(value, y[i]) || value === y[i]);
}

function report({ family, layers, hidden, vocab }: ModelConfig, label: string, problems: readonly string[]): string {
  const more = problems.length > 5 ? `; and ${problems.length - 5} more` : '';
  return (
    `does not fit config.json (${family}, ${layers} layers, hidden ${hidden}, vocabulary ${vocab}): ` +
    `${problems.slice(0, 5).join('; ')}${more}. Take config.json and ${label} from the same model folder.`
  );
}

function listed(names: readonly string[]): string {
  return names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more` : names.join(', ');
}
