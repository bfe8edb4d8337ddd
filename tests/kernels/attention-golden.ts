// PyTorch's attention cases (tests/golden/torch): f32 inputs, f64 results rounded to f32, with the noise of PyTorch's
// own f32 run.

import { readFileSync } from 'node:fs';
import { readSafetensors, toFloat32 } from '../../src/base/safetensors.ts';

const FOLDER = new URL('../golden/torch/', import.meta.url);

interface Entry {
  readonly tensor: string;
  readonly shape: readonly number[];
  readonly absmax?: number;
  readonly f32?: number;
}
interface ManifestCase {
  readonly name: string;
  readonly op: string;
  readonly file: string;
  readonly attrs: {
    readonly B: number;
    readonly Hq: number;
    readonly Hkv: number;
    readonly Tq: number;
    readonly Tk: number;
    readonly D: number;
    readonly causal: boolean;
    readonly q_start: number;
    readonly scale: number;
  };
  readonly inputs: Readonly<Record<string, Entry>>;
  readonly outputs: Readonly<Record<string, Entry>>;
  readonly grads: Readonly<Record<string, Entry>>;
}

export interface Golden {
  readonly values: Float32Array;
  readonly allowed: number;
}
export interface AttentionGolden {
  readonly name: string;
  readonly attrs: ManifestCase['attrs'];
  readonly inputs: Readonly<Record<string, Float32Array<ArrayBuffer>>>;
  /** o, lse, dq, dk, dv with the largest error that passes. */
  readonly expected: Readonly<Record<string, Golden>>;
}

export function attentionGoldens(): readonly AttentionGolden[] {
  const manifest = JSON.parse(readFileSync(new URL('manifest.json', FOLDER), 'utf8')) as { cases: ManifestCase[] };
  const { tensors } = readSafetensors(new Uint8Array(readFileSync(new URL('attention.safetensors', FOLDER))));
  const read = (entry: Entry) => toFloat32(tensors.get(entry.tensor)!);
  return manifest.cases
    .filter((one) => one.op === 'attention')
    .map((one) => {
      // exp may err by 3 + 2|x| ULP on a GPU, which shows in the cases with large logits.
      const relative = one.name.includes('sharp') ? 5e-5 : 1e-5;
      const results = Object.entries({ ...one.outputs, ...one.grads });
      return {
        name: one.name,
        attrs: one.attrs,
        inputs: Object.fromEntries(Object.entries(one.inputs).map(([name, entry]) => [name, read(entry)])),
        expected: Object.fromEntries(
          results.map(([name, entry]) => [
            name,
            { values: read(entry), allowed: Math.max(16 * entry.f32!, relative * entry.absmax!) },
          ]),
        ),
      };
    });
}
