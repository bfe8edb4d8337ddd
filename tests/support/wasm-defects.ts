// Seeded defects of WebAssembly kernels, one text edit each, that the kernel contract must catch. Compiling takes a
// second, so defects that cannot meet share a module.

import { dirname, join } from 'node:path/posix';
import { addPosition } from '../../shaders/embedding/add-position.ts';
import { addPositionBackward } from '../../shaders/embedding/add-position-backward.ts';
import { embeddingBackward } from '../../shaders/embedding/embedding-backward.ts';
import { embeddingLinks } from '../../shaders/embedding/embedding-links.ts';
import { embedding } from '../../shaders/embedding/embedding.ts';
import { copyColumns } from '../../shaders/layout/copy-columns.ts';
import { transpose } from '../../shaders/layout/transpose.ts';
import { matmul } from '../../shaders/matmul/matmul.ts';
import { groupedColumnSum } from '../../shaders/moe/grouped-column-sum.ts';
import { groupedMatmulWeight } from '../../shaders/moe/grouped-matmul-weight.ts';
import { groupedMatmul } from '../../shaders/moe/grouped-matmul.ts';
import { moeCombine } from '../../shaders/moe/moe-combine.ts';
import { moeGateBackward } from '../../shaders/moe/moe-gate-backward.ts';
import { moePermute } from '../../shaders/moe/moe-permute.ts';
import { routerBackward } from '../../shaders/moe/router-backward.ts';
import { routerTopK } from '../../shaders/moe/router-top-k.ts';
import { ceGrad } from '../../shaders/loss/ce-grad.ts';
import { ceStats } from '../../shaders/loss/ce-stats.ts';
import { layerNormBackwardWeight } from '../../shaders/norm/layer-norm-backward-weight.ts';
import { layerNorm } from '../../shaders/norm/layer-norm.ts';
import { rmsNormBackward } from '../../shaders/norm/rms-norm-backward.ts';
import { softmax } from '../../shaders/norm/softmax.ts';
import { adamw } from '../../shaders/optimizer/adamw.ts';
import { squareBins } from '../../shaders/optimizer/square-bins.ts';
import { columnSum } from '../../shaders/reduce/column-sum.ts';
import { geluBackward } from '../../shaders/elementwise/gelu-backward.ts';
import { swigluBackward } from '../../shaders/elementwise/swiglu-backward.ts';
import type { Kernel } from '../../src/device/kernel.ts';

export interface WasmDefect {
  readonly what: string;
  readonly kernel: Kernel;
  /** Of shaders/, without `.as.ts`. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** Threads that must share the work before it shows; 1 by default. */
  readonly threads?: number;
}

export const WASM_DEFECTS: readonly WasmDefect[] = [
  {
    what: 'forgets the sums of the terms before',
    kernel: matmul,
    file: 'matmul/product',
    from: 'const partial = k > 0;',
    to: 'const partial = false;',
  },
  {
    what: 'adds to out with every block of terms',
    kernel: matmul,
    file: 'matmul/product',
    from: 'ACCUMULATE !== 0 && !partial',
    to: 'ACCUMULATE !== 0',
  },
  {
    what: 'takes the bias of the first columns for later ones',
    kernel: matmul,
    file: 'matmul/product',
    from: 'bias + ((<usize>column + j) << 2)',
    to: 'bias',
  },
  {
    what: 'forgets the scale',
    kernel: matmul,
    file: 'matmul/store-tile',
    from: 'f32x4.mul(sum, f32x4.splat(SCALE))',
    to: 'sum',
  },
  {
    what: 'stores four columns where three are left',
    kernel: matmul,
    file: 'matmul/store-tile',
    from: 'if (left < 4) storeSome',
    to: 'if (left < 3) storeSome',
  },
  {
    what: 'reads the columns of a as rows',
    kernel: matmul,
    file: 'matmul/matmul-rows',
    from: 'runs ? 4 : (<usize>few) << 2',
    to: '4',
  },
  {
    what: 'stores few columns as rows',
    kernel: matmul,
    file: 'matmul/matmul-rows',
    from: 'if (swapped)\n        storeTransposed',
    to: 'if (few < 0)\n        storeTransposed',
  },
  {
    what: 'forgets the last columns of few rows',
    kernel: matmul,
    file: 'matmul/matmul-rows',
    from: 'if (columns & 3)',
    to: 'if (columns < 0)',
  },
  {
    what: 'starts anew with every block of a long dot product',
    kernel: matmul,
    file: 'matmul/matmul-rows',
    from: 'f32x4.add(v128.load(sums), totals(c0, c1, c2, c3))',
    to: 'totals(c0, c1, c2, c3)',
  },
  {
    what: 'adds nothing to the out of a whole tile',
    kernel: matmul,
    file: 'matmul/store-tile',
    from: '} else if (accumulate) {',
    to: '} else if (rows < 0) {',
  },
  {
    what: 'multiplies beyond the end of a row',
    kernel: moeGateBackward,
    file: 'wasm/rows',
    from: '; count >= 4; count -= 4) {\n    c0 = madd',
    to: '; count > 0; count -= 4) {\n    c0 = madd',
  },
  {
    what: 'forgets the last columns of a row',
    kernel: addPositionBackward,
    file: 'wasm/rows',
    from: 'if (count > 0) storeSome(to, f32x4.add(',
    to: 'if (count > 3) storeSome(to, f32x4.add(',
  },
  {
    what: 'keeps the links of later tables apart',
    kernel: embeddingLinks,
    file: 'embedding/embedding-links',
    from: 'i < R; i++',
    to: 'i < to; i++',
  },
  {
    what: 'takes an id of the same place for the same id',
    kernel: embeddingLinks,
    file: 'embedding/embedding-links',
    from: 'load<u32>(ids + ((<usize>previous) << 2)) !== id',
    to: 'false',
  },
  {
    what: 'reads a row that is held elsewhere',
    kernel: embedding,
    file: 'embedding/embedding',
    from: 'if (entry < <u32>V_ROWS)',
    to: 'if (entry <= <u32>V_ROWS)',
  },
  {
    what: 'adds to a row that is held elsewhere',
    kernel: embeddingBackward,
    file: 'embedding/embedding-backward',
    from: 'if (entry < <u32>V_ROWS)',
    to: 'if (entry <= <u32>V_ROWS)',
  },
  {
    what: 'starts at position 0',
    kernel: addPosition,
    file: 'embedding/add-position',
    from: 'POS_START + (r % T)',
    to: '(r % T)',
  },
  {
    what: 'copies one column more',
    kernel: copyColumns,
    file: 'layout/copy-columns',
    from: '<< 2), COLS)',
    to: '<< 2), COLS + 1)',
  },
  {
    what: 'forgets the last rows',
    kernel: transpose,
    file: 'layout/transpose',
    from: 'for (; r < rows; r++) {',
    to: 'for (; r < rows - 1; r++) {',
  },
  {
    what: 'loses a strip between two threads',
    kernel: transpose,
    file: 'layout/transpose',
    from: 'const to = firstOf(OUTER * strips, part + 1, parts);',
    to: 'const to = firstOf(OUTER * strips, part + 1, parts) - part;',
    threads: 2,
  },
  {
    what: 'leaves the rows of nobody',
    kernel: groupedMatmul,
    file: 'moe/grouped-matmul',
    from: 'if (ACCUMULATE) return;',
    to: 'return;',
  },
  {
    what: 'leaves the gradient of an expert without rows',
    kernel: groupedMatmulWeight,
    file: 'moe/grouped-matmul-weight',
    from: 'else if (!ACCUMULATE)',
    to: 'else if (ACCUMULATE)',
  },
  {
    what: 'adds where it should write',
    kernel: groupedColumnSum,
    file: 'moe/grouped-column-sum',
    from: 'if (!ACCUMULATE) zeroRow',
    to: 'if (R < 0) zeroRow',
  },
  {
    what: 'adds what was dropped',
    kernel: moeCombine,
    file: 'moe/moe-combine',
    from: 'if (slot === NO_ROW) continue;',
    to: '',
  },
  {
    what: 'leaves the offsets at the ends',
    kernel: moePermute,
    file: 'moe/moe-permute',
    from: 'memory.copy(offsets + 4, offsets, words);',
    to: '',
  },
  {
    what: 'divides by the sum once',
    kernel: routerBackward,
    file: 'moe/router-backward',
    from: 'less /= sum * sum;',
    to: 'less /= sum;',
  },
  {
    what: 'passes over a tie',
    kernel: routerTopK,
    file: 'moe/router-top-k',
    from: '(logit === lastLogit && e > lastExpert)',
    to: '(logit === lastLogit && e < lastExpert)',
  },
  {
    what: 'weighs the sums of two shards the wrong way round',
    kernel: ceStats,
    file: 'loss/ce-stats',
    from: 'before - peak',
    to: 'peak - before',
  },
  {
    what: 'leaves padding as it was',
    kernel: ceGrad,
    file: 'loss/ce-grad',
    from: 'memory.fill(row + ((<usize>valid) << 2), 0, (<usize>(COLS - valid)) << 2);',
    to: '',
  },
  {
    what: 'does not correct its guess of the mean',
    kernel: layerNorm,
    file: 'norm/layer-norm',
    from: 'f32x4.splat(correction)',
    to: 'f32x4.splat(0)',
  },
  {
    what: 'adds every fourth row twice',
    kernel: layerNormBackwardWeight,
    file: 'norm/layer-norm-backward-weight',
    from: 'r += 3;',
    to: 'r += 2;',
  },
  {
    what: 'forgets a factor of the average',
    kernel: rmsNormBackward,
    file: 'norm/rms-norm-backward',
    from: 'scale * average',
    to: 'average',
  },
  {
    what: 'divides by the sum of the last run',
    kernel: softmax,
    file: 'norm/softmax',
    from: 'sum += exponentials(',
    to: 'sum = exponentials(',
  },
  {
    what: 'adds to the sums of the columns before',
    kernel: columnSum,
    file: 'reduce/column-sum',
    from: 'memory.fill(sums, 0, (<usize>COLUMNS) << 2);',
    to: '',
  },
  {
    what: 'says nothing of weights out of bounds',
    kernel: adamw,
    file: 'optimizer/adamw',
    from: 'if (!within) store<i32>(flags, 1);',
    to: '',
  },
  {
    what: 'gives the four of a quad to four parts',
    kernel: squareBins,
    file: 'optimizer/square-bins',
    from: 'f32x4.mul(y, y), 0)',
    to: 'f32x4.mul(y, y), 8)',
  },
  {
    what: 'takes the tanh form for the erf form',
    kernel: geluBackward,
    file: 'elementwise/gelu-backward',
    from: 'else erfForm(',
    to: 'else tanhForm(',
  },
  {
    what: 'forgets the gate',
    kernel: swigluBackward,
    file: 'elementwise/swiglu-backward',
    from: 'f32x4.mul(d, gate)',
    to: 'd',
  },
];

/** Texts by path without `.ts`, as kernelSources gives them. */
export type Sources = ReadonlyMap<string, string>;

/** The defects in groups for one module each: no kernel of a group runs another's defect. */
export function defectGroups(sources: Sources): readonly (readonly WasmDefect[])[] {
  const groups: WasmDefect[][] = [];
  for (const defect of WASM_DEFECTS) {
    const fits = (other: WasmDefect): boolean =>
      (defect.threads ?? 1) === (other.threads ?? 1) &&
      !reached(sources, pathOf(defect.kernel, sources)).has(`${other.file}.as`) &&
      !reached(sources, pathOf(other.kernel, sources)).has(`${defect.file}.as`);
    const group = groups.find((others) => others.every(fits));
    if (group) group.push(defect);
    else groups.push([defect]);
  }
  return groups;
}

/** Throws if a defect's text is not there. */
export function mutateSources(sources: Sources, defects: readonly WasmDefect[]): Map<string, string> {
  const broken = new Map(sources);
  for (const { what, file, from, to } of defects) {
    const text = broken.get(`${file}.as`);
    if (!text?.includes(from))
      throw new Error(`defect "${what}": ${file}.as.ts does not contain "${from}"; edit the defect with the kernel`);
    broken.set(
      `${file}.as`,
      text.replace(from, () => to),
    );
  }
  return broken;
}

function pathOf(kernel: Kernel, sources: Sources): string {
  const name = `${kernel.name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}.as`;
  const path = [...sources.keys()].find((key) => key.endsWith(`/${name}`));
  if (!path) throw new Error(`expected a WebAssembly kernel ${name}.ts, found none`);
  return path;
}

/** The files that a file is made of. */
function reached(sources: Sources, path: string, found = new Set<string>()): Set<string> {
  if (found.has(path)) return found;
  found.add(path);
  for (const [, to] of sources.get(path)!.matchAll(/from '(\.[^']+)\.ts'/g))
    reached(sources, join(dirname(path), to!), found);
  return found;
}
