// Params that are no part of a pipeline: the size of a buffer, the position of a block. A kernel names them in
// `dynamic`, and its text goes on to declare them as constants, so that an editor reads it as it is. In the text of a
// pipeline they become fields of one uniform, the binding behind the last one of the kernel, and every function that
// needs them, or a constant made of them, begins with `let NAME = ...`: the body stays as it is, and a value is loaded
// once. All variants of a kernel share the layout of the uniform; one that `fixes` a param does not read its field.

import { InternalError } from '../../base/errors.ts';
import type { Constants, Kernel, Params, ScalarType, Variant } from '../kernel.ts';
import { specialise } from '../specialise.ts';

/** Name, type and index of a field of the uniform. */
export interface DynamicField {
  readonly name: string;
  readonly type: ScalarType;
}

/** The fields of the kernel's uniform in order; each is 4 bytes. Empty: it has none. */
export function dynamicFields({ dynamic = {} }: Kernel): readonly DynamicField[] {
  return Object.entries(dynamic).map(([name, type]) => ({ name, type: type! }));
}

/** What the variant reads from the uniform. */
export function readsDynamic(kernel: Kernel, { fixes = [] }: Variant): readonly DynamicField[] {
  return dynamicFields(kernel).filter(({ name }) => !fixes.includes(name));
}

/** The constants that are part of the variant's pipeline. Launches that agree in them share it. */
export function pipelineConstants(kernel: Kernel, variant: Variant, constants: Constants): Constants {
  const read = new Set(readsDynamic(kernel, variant).map(({ name }) => name));
  return read.size === 0
    ? constants
    : Object.fromEntries(Object.entries(constants).filter(([name]) => !read.has(name)));
}

/** The WGSL of the pipeline of these constants. */
export function pipelineText(kernel: Kernel, variant: Variant, constants: Constants): string {
  const binding = Object.keys(kernel.bindings).length;
  const text = withUniform(variant.source, binding, dynamicFields(kernel), readsDynamic(kernel, variant));
  return specialise(text, pipelineConstants(kernel, variant, constants), variant.needs?.includes('f16'));
}

/** The content of the uniform for one launch. Throws InternalError for what its type cannot hold. */
export function dynamicWords(kernel: Kernel, params: Params): Uint32Array<ArrayBuffer> {
  const fields = dynamicFields(kernel);
  const words = new Uint32Array(fields.length);
  const floats = new Float32Array(words.buffer);
  fields.forEach(({ name, type }, i) => {
    const value = params[name];
    if (type === 'f32') floats[i] = value;
    else words[i] = value;
    if (type === 'f32' ? !Number.isFinite(value) : value !== (type === 'u32' ? value >>> 0 : value | 0))
      throw new InternalError(`${kernel.name}: ${name} is a ${type}, got ${value}`);
  });
  return words;
}

const MODULE_CONST = /^const[ \t]+(\w+)[ \t]*(:[ \t]*\w+)?[ \t]*=[ \t]*([^;]+);[^\n]*\n?/gm;
const FUNCTION = /\bfn \w+\([^{]*\{/g;

/** `source` with the params in `read` taken from a uniform of `fields` at `binding`. */
export function withUniform(
  source: string,
  binding: number,
  fields: readonly DynamicField[],
  read: readonly DynamicField[],
): string {
  // In the order of their declaration, which is one in which they can be computed.
  const late = new Map<string, { readonly declaration: string; readonly needs: readonly string[] }>();
  const names = new Set(read.map(({ name }) => name));
  const rest = source.replace(MODULE_CONST, (line, name: string, type: string | undefined, value: string) => {
    if (names.has(name)) late.set(name, { declaration: `let ${name} = launch_params.${name};`, needs: [] });
    else {
      const needs = [...late.keys()].filter((other) => mentions(value, other));
      if (!needs.length) return line;
      late.set(name, { declaration: `let ${name}${type ?? ''} = ${value};`, needs });
    }
    return '';
  });
  if (!late.size) return source;
  let text = '';
  let outside = '';
  let at = 0;
  FUNCTION.lastIndex = 0;
  for (let match = FUNCTION.exec(rest); match; match = FUNCTION.exec(rest)) {
    const open = match.index + match[0].length;
    const end = bodyEnd(rest, open);
    const needed = new Set<string>();
    const need = (name: string): void => {
      for (const other of late.get(name)!.needs) need(other);
      needed.add(name);
    };
    const body = rest.slice(open, end);
    for (const name of late.keys()) if (mentions(body, name)) need(name);
    const lets = [...late].filter(([name]) => needed.has(name)).map(([, { declaration }]) => ` ${declaration}`);
    outside += rest.slice(at, open);
    text += `${rest.slice(at, open)}${lets.join('')}${body}`;
    FUNCTION.lastIndex = at = end;
  }
  outside = (outside + rest.slice(at)).replace(/\/\/[^\n]*/g, '');
  const misplaced = [...late.keys()].find((name) => mentions(outside, name));
  if (misplaced) throw new InternalError(`${misplaced} is dynamic, but used outside of functions`);
  const members = fields.map(({ name, type }) => `${name}: ${type}`).join(', ');
  return `${text}${rest.slice(at)}
struct LaunchParams { ${members} }
@group(0) @binding(${binding}) var<uniform> launch_params: LaunchParams;
`;
}

function mentions(text: string, name: string): boolean {
  return new RegExp(`(?<![.\\w])${name}\\b`).test(text);
}

/** Index of the brace that closes the body that begins at `from`. */
function bodyEnd(text: string, from: number): number {
  let depth = 1;
  for (let i = from; i < text.length; i++) {
    if (text[i] === '{') depth++;
    else if (text[i] === '}' && --depth === 0) return i;
  }
  throw new InternalError('unbalanced braces');
}
