// Runs the cases of a conformance folder on a device, group by group (a group is an operator), and compares every
// output. Works in Node and in a page: files come through `file`. An operator without a file in ops/, or a variant that
// its file refuses, counts as skipped, never as passed. Tolerances: torch max(16 noise, 1e-5 absmax); onnx 1e-7 + 1e-3
// |want|, for f16 2e-3 + 5e-3 |want|; integers exactly; NaN equals NaN.

import { AbortedError, DeviceLostError, FormatError } from '../../base/errors.ts';
import { readSafetensors } from '../../base/safetensors.ts';
import type { SafetensorsFile } from '../../base/safetensors.ts';
import type { Device } from '../../device/device.ts';
import type { Check } from './compare.ts';
import { Lab } from './lab.ts';
import { readManifest } from './manifest.ts';
import type { ManifestCase } from './manifest.ts';
import type { CaseTensor, OnnxCase, OnnxOperator, Operator, TorchCase, TorchOperator, Values } from './operator.ts';

export interface CaseRun {
  readonly device: Device;
  readonly manifest: unknown;
  /** Bytes of a file of the folder. */
  file(name: string): Promise<Uint8Array>;
  /** Only cases whose name or operator contains this. */
  readonly only?: string;
  readonly signal?: { readonly aborted: boolean };
  readonly onStatus: (text: string) => void;
  readonly onGroup: (label: string, checks: readonly Check[], skipped: number, ms: number) => void;
}

/** Cases of a group that run side by side, so that their pipelines compile together. */
const AT_ONCE = 16;

const modules = import.meta.glob<readonly Operator[]>('./ops/*.ts', { import: 'operators', eager: true });
const operators = new Map(
  Object.values(modules)
    .flat()
    .map((operator) => [`${operator.format} ${operator.op}`, operator]),
);

/**
 * Runs the cases; resolves when all are done. A case that throws has failed; only an abort and a lost device reject.
 */
export async function runCases({ device, manifest, file, only, signal, onStatus, onGroup }: CaseRun): Promise<void> {
  const { format, cases } = readManifest(manifest);
  const files = new Map<string, Promise<SafetensorsFile>>();
  const load = (name: string): Promise<SafetensorsFile> => {
    const known = files.get(name) ?? file(name).then((bytes) => readSafetensors(bytes, { label: name }));
    files.set(name, known);
    return known;
  };
  const chosen = cases.filter(({ name, op }) => only === undefined || name.includes(only) || op.includes(only));
  for (const op of new Set(chosen.map((one) => one.op))) {
    const group = chosen.filter((one) => one.op === op);
    const operator = operators.get(`${format} ${op}`);
    if (!operator) {
      onGroup(`${op}: no such operator here`, [], group.length, 0);
      continue;
    }
    const started = performance.now();
    const reasons = new Map<string, number>();
    const results = await inPool(group, AT_ONCE, async (one): Promise<readonly Check[]> => {
      if (signal?.aborted) throw new AbortedError();
      const outcome = await runCase(device, operator, one, await load(one.file));
      if (typeof outcome !== 'string') return outcome;
      reasons.set(outcome, (reasons.get(outcome) ?? 0) + 1);
      return [];
    });
    const skipped = [...reasons.values()].reduce((sum, n) => sum + n, 0);
    if (skipped)
      onStatus(
        `${op}: ${skipped} of ${group.length} cases skipped: ${[...reasons].map(([reason, n]) => `${reason} (${n})`).join(', ')}`,
      );
    onGroup(op, results.flat(), skipped, performance.now() - started);
  }
}

/** The checks of a case, or why it cannot run. */
async function runCase(
  device: Device,
  operator: Operator,
  one: ManifestCase,
  tensors: SafetensorsFile,
): Promise<readonly Check[] | string> {
  const lab = new Lab(device);
  try {
    if (operator.format === 'torch') {
      const c = one.torch(tensors);
      return operator.refuses?.(c) ?? compareTorch(operator, c, await operator.run(lab, c));
    }
    const c = one.onnx(tensors);
    return operator.refuses?.(c) ?? compareOnnx(c, await (operator as OnnxOperator).run(lab, c));
  } catch (error) {
    if (error instanceof DeviceLostError || error instanceof AbortedError) throw error;
    return [
      { name: one.name, worst: Infinity, passed: false, note: error instanceof Error ? error.message : String(error) },
    ];
  } finally {
    lab.dispose();
  }
}

function compareTorch(
  operator: TorchOperator,
  c: TorchCase,
  got: Readonly<Record<string, Values | undefined>>,
): readonly Check[] {
  if (c.wanted.size === 0) throw new FormatError('manifest.json', `case ${c.name} has no outputs`);
  return [...c.wanted].map(([output, wanted]) => {
    const { skip, noise = wanted.noise } = operator.exception?.(c, output, wanted) ?? {};
    const allowed = Math.max(16 * noise, 1e-5 * wanted.absmax);
    return compareElements(`${c.name} ${output}`, got[output], wanted.floats, (i) =>
      skip && i >= skip[0] && i < skip[1] ? Infinity : allowed,
    );
  });
}

function compareOnnx(c: OnnxCase, got: readonly (Values | undefined)[]): readonly Check[] {
  const checks = c.wanted.flatMap((wanted, i) =>
    wanted
      ? [
          compareElements(
            `${c.name} output ${i}`,
            got[i],
            wanted.isFloat ? wanted.floats : wanted.integers,
            onnxTolerance(wanted),
          ),
        ]
      : [],
  );
  if (checks.length === 0) throw new FormatError('manifest.json', `case ${c.name} has no outputs`);
  return checks;
}

function onnxTolerance(wanted: CaseTensor): (i: number, want: number) => number {
  if (!wanted.isFloat) return () => 0;
  const [absolute, relative] = /16$/.test(wanted.dtype) ? [2e-3, 5e-3] : [1e-7, 1e-3];
  return (_i, want) => absolute + relative * Math.abs(want);
}

/** Every element within `tolerance`; equal infinities and NaN for NaN are no error. */
export function compareElements(
  name: string,
  got: Values | undefined,
  want: Values,
  tolerance: (i: number, want: number) => number,
): Check {
  if (!got) return { name, worst: Infinity, passed: false, note: 'is not computed' };
  if (got.length !== want.length)
    return { name, worst: Infinity, passed: false, note: `${got.length} elements, expected ${want.length}` };
  let [worst, worstAt, beyond] = [0, 0, 0];
  for (let i = 0; i < want.length; i++) {
    if (Object.is(got[i], want[i]) || got[i] === want[i]) continue;
    const allowed = tolerance(i, want[i]);
    if (allowed === Infinity) continue;
    const share = Math.abs(got[i] - want[i]) / allowed;
    const off = Number.isNaN(share) ? Infinity : share;
    if (off > 1) beyond++;
    if (off > worst) [worst, worstAt] = [off, i];
  }
  return worst <= 1
    ? { name, worst, passed: true }
    : {
        name,
        worst,
        passed: false,
        note: `element ${worstAt}: got ${got[worstAt]}, expected ${want[worstAt]}; ${beyond} of ${want.length} beyond the tolerance`,
      };
}

/** Maps with at most `atOnce` calls under way; rejects with the first error after all calls under way have ended. */
async function inPool<T, R>(items: readonly T[], atOnce: number, run: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const workers = Array.from({ length: Math.min(atOnce, items.length) }, async () => {
    while (next < items.length) {
      const i = next++;
      results[i] = await run(items[i]);
    }
  });
  const ends = await Promise.allSettled(workers);
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed) throw failed.reason;
  return results;
}
