// One small addition of each kind: the files that its row in docs/adding.md tells to write and to edit, and a defect
// that its contract has to catch.

import type { SourceCopy } from '../support/source-copy.ts';

export interface Addition {
  /** Its row in the table of docs/adding.md. */
  readonly row: string;
  readonly name: string;
  /** The folder of kernels that the row calls FAMILY. */
  readonly family?: string;
  add(copy: SourceCopy): void;
  /** The contract that covers it, and a pattern of the names of its tests. */
  readonly contract: string;
  readonly tests: RegExp;
  /** An error in one of its files: `from`, which stands there once, becomes `to`. */
  readonly defect: { readonly path: string; readonly from: string; readonly to: string };
}

const FILES = 'tests/additions/files';

const schedule: Addition = {
  row: 'pipeline schedule',
  name: 'one-by-one',
  add(copy) {
    copy.plant(`${FILES}/one-by-one.ts`, 'src/parallel/pipeline/schedules/one-by-one.ts');
    copy.plant(`${FILES}/one-by-one.txt`, 'tests/golden/schedules/one-by-one.txt');
    copy.edit(
      'tests/contracts/schedules.test.ts',
      'const PROMISED: Readonly<Record<string, Promised>> = {',
      `const PROMISED: Readonly<Record<string, Promised>> = {
         'one-by-one': { bubble: ({ ranks: p }) => p - 1, peak: () => 1, slots: () => ({ activation: 1 }) },`,
    );
  },
  contract: 'tests/contracts/schedules.test.ts',
  tests: /one-by-one/,
  // A backward before its forward.
  defect: { path: 'src/parallel/pipeline/schedules/one-by-one.ts', from: "['F', 'B'] as", to: "['B', 'F'] as" },
};

const sequence: Addition = {
  row: 'sequence strategy',
  name: 'pairs',
  add(copy) {
    copy.plant(`${FILES}/pairs.ts`, 'src/parallel/sequence/pairs.ts');
    copy.edit(
      'tests/contracts/sequence.test.ts',
      'const BYTES: Readonly<Record<string, (P: number, keyValueBytes: number) => number>> = {',
      `const BYTES: Readonly<Record<string, (P: number, keyValueBytes: number) => number>> = {
         pairs: (P, block) => 2 * (P - 1) * block + P * block,`,
    );
  },
  contract: 'tests/contracts/sequence.test.ts',
  tests: /^pairs /,
  // The second token of a pair is held twice, the first by nobody.
  defect: { path: 'src/parallel/sequence/pairs.ts', from: '(t % 2)', to: '1' },
};

export const KERNEL: Addition = {
  row: 'kernel',
  name: 'scale-shift',
  family: 'elementwise',
  add(copy) {
    for (const ending of ['ts', 'wgsl', 'as.ts'])
      copy.plant(`${FILES}/scale-shift.${ending}`, `shaders/elementwise/scale-shift.${ending}`);
  },
  contract: 'tests/contracts/kernels.test.ts',
  tests: /^scaleShift /,
  defect: { path: 'shaders/elementwise/scale-shift.wgsl', from: '@binding(0)', to: '@binding(2)' },
};

const op: Addition = {
  row: 'op',
  name: 'difference',
  add(copy) {
    copy.plant(`${FILES}/difference.ts`, 'src/ops/difference.ts');
    copy.edit(
      'tests/contracts/ops.test.ts',
      'const CASES: Readonly<Record<string, Case>> = {',
      `import { difference } from '../../src/ops/difference.ts';
       const CASES: Readonly<Record<string, Case>> = {
         difference: { op: erase(difference), inputs: { a: { shape: [3, 5] }, b: { shape: [3, 5] } }, attrs: null },`,
    );
  },
  contract: 'tests/contracts/ops.test.ts',
  tests: /\bdifference:/,
  defect: { path: 'src/ops/difference.ts', from: 'ALPHA: -1', to: 'ALPHA: 1' },
};

const collective: Addition = {
  row: 'collective',
  name: 'scan',
  add(copy) {
    // Here, where no message has that name, its file claims another.
    copy.plant(`${FILES}/scan.ts`, 'src/collectives/scan.ts', (text) => text.replace("'scan' as 'send'", "'scan'"));
    copy.plant(`${FILES}/scan-call.ts`, 'tests/collectives/calls/scan.ts', (text) =>
      text.replace("'./scan.ts'", "'../../../src/collectives/scan.ts'"),
    );
    copy.edit('src/transport/transport.ts', "  'reduce',\n]", "  'reduce',\n  'scan',\n]");
    copy.edit('src/transport/frame.ts', 'PROTOCOL_VERSION = 5;', 'PROTOCOL_VERSION = 6;');
    copy.edit(
      'src/collectives/index.ts',
      "export { evenParts } from './parts.ts';",
      "export { scan, scanBytes } from './scan.ts';\nexport { evenParts } from './parts.ts';",
    );
  },
  contract: 'tests/contracts/collective-calls.test.ts',
  tests: /collective '?scan|every collective/,
  // What came before is not passed on.
  defect: { path: 'src/collectives/scan.ts', from: 'x[i] += before[i]', to: 'x[i] = before[i]' },
};

const command: Addition = {
  row: 'command',
  name: 'hello',
  add(copy) {
    copy.plant(`${FILES}/hello.ts`, 'src/cli/commands/hello.ts');
  },
  contract: 'tests/contracts/commands.test.ts',
  tests: /commands\/hello/,
  // An option that it does not have is taken for a name.
  defect: { path: 'src/cli/commands/hello.ts', from: 'parseOptions(args, OPTIONS)', to: 'parseOptions([], OPTIONS)' },
};

const mixer: Addition = {
  row: 'mixer',
  name: 'average',
  add(copy) {
    copy.plant('tests/support/average-mixer.ts', 'src/model/mixing/mixers/average.ts');
  },
  contract: 'tests/contracts/mixers.test.ts',
  tests: /^'?average'? /,
  // Tokens see those after them.
  defect: { path: 'src/model/mixing/mixers/average.ts', from: 'scale: 0', to: 'scale: 0, causal: false' },
};

const family: Addition = {
  row: 'model family',
  name: 'serial',
  add(copy) {
    // The family of other tests, under a name of its own.
    copy.plant('tests/support/parallel-family.ts', 'src/model/families/serial.ts', (text) =>
      text.replace(/'parallel(?=['-])|\bparallel(?=: \{)/g, (word) => word.replace('parallel', 'serial')),
    );
  },
  contract: 'tests/contracts/families.test.ts',
  tests: /^serial-nano /,
  // A matrix that every rank holds whole, but is cut where it is used.
  defect: {
    path: 'src/model/families/serial.ts',
    from: "residual(config), 'columns'),\n        weight(`h${i}.up`",
    to: "residual(config), 'rows'),\n        weight(`h${i}.up`",
  },
};

const task: Addition = {
  row: 'task',
  name: 'line',
  add(copy) {
    for (const file of ['kind', 'prepare']) copy.plant(`${FILES}/line/${file}.ts`, `src/train/tasks/line/${file}.ts`);
  },
  contract: 'tests/contracts/tasks.test.ts',
  tests: /^'?line'? /,
  // Every microbatch has the first rows.
  defect: {
    path: 'src/train/tasks/line/prepare.ts',
    from: 'all.slice(i * rows * width, (i + 1) * rows * width)',
    to: 'all.slice(0, rows * width)',
  },
};

const synthetic: Addition = {
  row: 'synthetic task',
  name: 'rotate',
  add(copy) {
    copy.plant(`${FILES}/rotate.ts`, 'src/train/data/synthetic/tasks/rotate.ts');
  },
  contract: 'tests/train/dataset.test.ts',
  tests: /^tasks rotate /,
  // An answer that is no token.
  defect: { path: 'src/train/data/synthetic/tasks/rotate.ts', from: 'x[0]]', to: 'x[0] + 99]' },
};

/** Covered by the contract of the bench, on a GPU. */
export const WORKLOAD: Addition = {
  row: 'workload of the bench',
  name: 'sum',
  add(copy) {
    copy.plant(`${FILES}/sum.ts`, 'src/bench/workloads/sum.ts');
  },
  contract: 'tests/bench/workloads.gpu.test.ts',
  tests: /^'?sum'? /,
  defect: { path: 'src/bench/workloads/sum.ts', from: 'N, ALPHA: 1, BETA: 1 }, io', to: 'N, ALPHA: 1, BETA: -1 }, io' },
};

/** The same. */
export const LIBRARY: Addition = {
  row: 'library to compare with',
  name: 'loops',
  add(copy) {
    copy.plant(`${FILES}/loops.ts`, 'src/bench/peers/loops.ts');
  },
  contract: 'tests/bench/workloads.gpu.test.ts',
  tests: /^'?loops'? .*(matmul|takes)/,
  defect: { path: 'src/bench/peers/loops.ts', from: 'k < K', to: 'k < K - 1' },
};

/** Covered by `tabmesh verify`, on a GPU. */
export const OPERATOR: Omit<Addition, 'contract' | 'tests'> = {
  row: 'operator of `verify`',
  name: 'subtraction',
  add(copy) {
    copy.plant(`${FILES}/subtraction.ts`, 'src/cli/verify/ops/subtraction.ts');
  },
  defect: { path: 'src/cli/verify/ops/subtraction.ts', from: 'BETA: -1', to: 'BETA: 1' },
};

/** Those whose contract runs on the references. */
export const ADDITIONS: readonly Addition[] = [
  schedule,
  sequence,
  KERNEL,
  op,
  collective,
  mixer,
  family,
  task,
  synthetic,
  command,
];
