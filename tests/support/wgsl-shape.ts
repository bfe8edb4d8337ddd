// Where a kernel's WGSL and its TypeScript contract disagree: bindings (order, names, types, access), params and
// tunables without a constant, loops that do not unroll. Reads the text only; whether it compiles is for an adapter to
// say.

import { InternalError } from '../../src/base/errors.ts';
import { bindingAccess, bindingDType } from '../../src/device/kernel.ts';
import type { Kernel, Variant } from '../../src/device/kernel.ts';
import { dynamicFields, pipelineText } from '../../src/device/params/dynamic.ts';
import { constantsOf } from '../../src/device/variant.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';

const BINDING = /@group\((\d+)\)\s*@binding\((\d+)\)\s*var<storage,\s*(\w+)>\s*(\w+)\s*:\s*array<([^;]+)>;/g;
const ALIAS = /^alias (\w+) = ([^;]+);/gm;
const CONSTANT = /^[ \t]*const (\w+): (u32|i32|f32) = ([^;]+);/gm;

/** One sentence per disagreement; empty if the two agree. */
export function disagreements(kernel: Kernel, variant: Variant): string[] {
  const where = `${kernel.name}/${variant.name}`;
  const found: string[] = [];
  const text = variant.source;

  const aliases = new Map([...text.matchAll(ALIAS)].map(([, name, type]) => [name, type]));
  const declared = [...text.matchAll(BINDING)].map(
    ([, group, at, access, name, type]) => `${group}.${at} ${name} ${access} ${scalar(aliases.get(type) ?? type)}`,
  );
  const wanted = Object.entries(kernel.bindings).map(
    ([name, spec], at) => `0.${at} ${name} ${bindingAccess(spec)} ${bindingDType(spec)}`,
  );
  for (const binding of wanted)
    if (!declared.includes(binding))
      found.push(`${where}: the contract has binding "${binding}", the WGSL has ${JSON.stringify(declared)}`);
  if (declared.length !== (text.match(/@binding\(/g) ?? []).length || declared.length !== wanted.length)
    found.push(`${where}: expected ${wanted.length} storage bindings, the WGSL declares others`);

  const constants = new Map([...text.matchAll(CONSTANT)].map(([, name, type]) => [name, type]));
  const derived = variant.derive
    ? Object.keys(variant.derive(kernel.cases[0], constantsOf(variant, kernel.cases[0], createCpuDevice().features)))
    : [];
  for (const { name, type } of dynamicFields(kernel))
    if (constants.get(name) !== type)
      found.push(`${where}: ${name} is a dynamic ${type}, the WGSL has a ${constants.get(name)}`);
  for (const name of variant.fixes ?? [])
    if (!(name in (kernel.dynamic ?? {}))) found.push(`${where}: fixes ${name}, which is not dynamic`);
  for (const name of [...Object.keys(kernel.params), ...Object.keys(variant.tune ?? {}), ...derived])
    if (!constants.has(name)) found.push(`${where}: no line "const ${name}: u32 = 1u;" to replace`);

  if (!/@compute\s+@workgroup_size\([^)]*\)\s*fn main\(/.test(text)) found.push(`${where}: no entry point main`);
  const enabled = [...text.replace(/\/\/.*/g, '').matchAll(/\b(?:enable|requires)\s+([^;]+);/g)]
    .map(([, name]) => name)
    .sort()
    .join();
  // f16 is enabled by the specialiser, which turns the alias.
  const needed = (variant.needs ?? []).filter((need) => need !== 'f16').join();
  if (variant.needs?.includes('f16') && !/^alias scalar = f32;$/m.test(text))
    found.push(`${where}: no line "alias scalar = f32;" to turn`);
  if (variant.lanes !== undefined && !(/^const LANES: u32 = 1u;$/m.test(text) && /^alias Value = f32;$/m.test(text)))
    found.push(`${where}: no lines "const LANES: u32 = 1u;" and "alias Value = f32;" to turn`);
  if (enabled !== needed) found.push(`${where}: the text enables "${enabled}", the variant says "${needed}"`);
  return found;
}

/** The element type of a vec4 or atomic, or the type itself. */
function scalar(type: string): string {
  return /^(?:vec4|atomic)<(\w+)>$/.exec(type)?.[1] ?? type;
}

/** Why the text cannot be specialised for `constants`, or the placeholders that specialising leaves. */
export function leftovers(kernel: Kernel, variant: Variant, constants: Readonly<Record<string, number>>): string[] {
  const where = `${kernel.name}/${variant.name} ${JSON.stringify(constants)}`;
  const found: string[] = [];
  let text: string;
  try {
    text = pipelineText(kernel, variant, constants);
  } catch (error) {
    if (!(error instanceof InternalError)) throw error;
    return [`${where}: ${error.message}`];
  }
  for (const [, name, , value] of text.matchAll(CONSTANT)) {
    if (
      name in constants &&
      Number(value.replace(/[uif]$/, '')) !== Math.fround(constants[name]) &&
      Number(value.replace(/[ui]$/, '')) !== constants[name]
    ) {
      found.push(`${where}: const ${name} became ${value}`);
    }
  }
  return found;
}
