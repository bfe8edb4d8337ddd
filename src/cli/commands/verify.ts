// `tabmesh verify FOLDER`: runs conformance folders (operator cases, or golden training runs) and says what holds.

import { basename, resolve } from 'node:path';
import { worldSize } from '../../base/axis.ts';
import { ConfigError, FormatError, LayoutError, ShapeError, UnsupportedError } from '../../base/errors.ts';
import { schedules } from '../../parallel/pipeline/registry.ts';
import { VOCABULARY_FORMS } from '../../parallel/pipeline/schedule.ts';
import { sequenceStrategies } from '../../parallel/sequence/registry.ts';
import { parseLayout } from '../../train/layout.ts';
import { RUN_FIELDS } from '../../train/run-config.ts';
import type { Command, CommandIo } from '../command.ts';
import { BACKENDS, backendOfTabs, execute, inBrowser } from '../execution.ts';
import type { ExecutionBackend } from '../execution.ts';
import { preferQuickCompiles } from '../machine/vulkan.ts';
import { describeOptions, parseOptions } from '../options.ts';
import { findFolders } from '../verify/folder.ts';
import type { Found } from '../verify/folder.ts';
import { verifyAllLayouts } from '../verify/all-layouts.ts';
import type { Outcome } from '../verify/all-layouts.ts';
import { verifyRunFolder } from '../verify/run-folder.ts';
import type { RunExecutor } from '../verify/run-folder.ts';
import type { Check } from '../verify/compare.ts';

const OPTIONS = {
  backend: { type: 'string', choices: BACKENDS, about: 'where the kernels run (default: node; chromium with --tabs)' },
  layout: {
    type: 'string',
    value: 'mesh',
    default: 'dp=1',
    about: "mesh of a training run, for example dp=2,pp=2; several one after the other: 'dp=2;pp=2'",
  },
  'all-layouts': { type: 'flag', about: 'every layout up to --ranks, with every schedule and sequence strategy' },
  ranks: { type: 'count', default: 8, about: 'the most ranks of --all-layouts' },
  tabs: { type: 'count', about: 'run a training run in this many real tabs (backend chromium or wasm)' },
  schedule: {
    type: 'string',
    choices: [...schedules.keys()],
    about: `pipeline schedule of a training run (default ${RUN_FIELDS.schedule.preset})`,
  },
  vocab: {
    type: 'string',
    choices: [...VOCABULARY_FORMS],
    about: `how the ranks of a pipeline share the vocabulary (default ${RUN_FIELDS.vocab.preset})`,
  },
  chunks: { type: 'count', about: 'model chunks per pipeline rank (default: as many as the schedule has)' },
  microbatches: {
    type: 'count',
    about: 'microbatches per replica and step of a training run (default: as many as fill its pipeline)',
  },
  sequence: {
    type: 'string',
    choices: [...sequenceStrategies.keys()],
    about: `sequence-parallel strategy of a training run (default ${RUN_FIELDS.sequence.preset})`,
  },
  only: { type: 'string', about: 'run only the operator cases whose name or operator contains this' },
  verbose: { type: 'flag', about: 'print every check, not only failures and totals' },
} as const;

/** Runs of --all-layouts at a time: while one waits for its device, another makes its batches. */
const SIDE_BY_SIDE = 3;

/** What a folder can be wrong in; anything else ends the command. */
const BROKEN = [ConfigError, FormatError, LayoutError, ShapeError];

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

export const command: Command = {
  name: 'verify',
  summary: 'checks kernels and training runs against golden values from PyTorch and ONNX',
  help: [
    'tabmesh verify: checks kernels and training runs against golden values',
    '',
    'usage: tabmesh verify FOLDER [options]',
    '',
    describeOptions(OPTIONS),
    '',
    'FOLDER holds manifest.json (operator cases) or run.json (a training run), or such folders. Exit code 1 if a check fails, 2 if the only run or manifest cannot be read.',
  ].join('\n'),
  async run(args, io) {
    const { options, positionals } = parseOptions(args, OPTIONS, 1);
    const found = findFolders(positionals[0]);
    preferQuickCompiles();
    const layouts = options.layout.split(';').map((layout) => layout.trim());
    for (const layout of layouts) {
      const ranks = worldSize(parseLayout(layout));
      if (options.tabs !== undefined && ranks !== options.tabs)
        throw new ConfigError('--tabs', `is ${options.tabs}, but the layout ${layout} has ${ranks} ranks`);
    }
    const others = (['schedule', 'vocab', 'chunks', 'sequence', 'microbatches'] as const)
      .filter((name) => options[name] !== undefined)
      .map((name) => [name, String(options[name])] as const);
    const backend =
      options.tabs === undefined
        ? ((options.backend ?? 'node') as ExecutionBackend)
        : backendOfTabs(options.backend ?? 'chromium', options.tabs);
    const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
    if (options['all-layouts']) {
      refuseBeside(args);
      return verifyEvery(found, backend, options.ranks, options.verbose, io);
    }
    const verifyOne = async ({ path, kind }: Found): Promise<void> => {
      if (kind === 'cases') await verifyOperators(path, backend, options.only, options.verbose, io, totals);
      else if (kind === 'run') {
        for (const layout of layouts)
          await verifyRun(
            path,
            [['layout', layout], ...others],
            backend,
            options.tabs === undefined ? 'devices' : 'tabs',
            options.verbose,
            io,
            totals,
          );
      } else {
        totals.skipped++;
        io.out(`skip ${basename(path)}: a model without run.json`);
      }
    };
    for (const one of found) {
      try {
        await verifyOne(one);
      } catch (error) {
        // One of many that is broken or cannot run here does not keep the others from being checked.
        if (found.length === 1 || !BROKEN.some((type) => error instanceof type)) throw error;
        totals.failed++;
        io.out(`FAIL ${basename(one.path)}: ${(error as Error).message}`);
      }
    }
    if (options.only !== undefined && totals.passed + totals.failed + totals.skipped === 0)
      throw new ConfigError('--only', `no case has '${options.only}' in its name or operator`);
    io.out(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
    return totals.failed > 0 || totals.passed === 0 ? 1 : 0;
  },
};

/** What --all-layouts chooses by itself is not given beside it. */
function refuseBeside(args: readonly string[]): void {
  const names = ['--layout', '--schedule', '--vocab', '--chunks', '--sequence', '--microbatches', '--tabs', '--only'];
  const given = names.find((name) => args.some((arg) => arg === name || arg.startsWith(`${name}=`)));
  if (given)
    throw new ConfigError(given, 'expected none beside --all-layouts, which runs them all; leave one of the two out');
}

/** Every layout of every training run of these folders; its sum counts layouts. */
async function verifyEvery(
  found: readonly Found[],
  backend: ExecutionBackend,
  ranks: number,
  verbose: boolean,
  io: CommandIo,
): Promise<number> {
  const runs = found.filter(({ kind }) => kind === 'run');
  if (runs.length === 0) throw new ConfigError('--all-layouts', 'expected a folder with a training run (run.json)');
  if (inBrowser(backend))
    throw new ConfigError(
      '--all-layouts',
      `expected the backend node, wasm or cpu, got ${backend}; name its layouts by --layout`,
    );
  const total = { equal: 0, refused: 0, wrong: 0 };
  for (const { path } of runs) {
    const name = basename(resolve(path));
    const onOutcome = (outcome: Outcome): void => {
      if (outcome.kind === 'refused') {
        total.refused++;
        io.out(`no   ${name} ${outcome.label}: ${outcome.reason}`);
        return;
      }
      const sums: Totals = { passed: 0, failed: 0, skipped: 0 };
      report(`${name} ${outcome.label}`, outcome.checks, outcome.ms, verbose, io, sums);
      if (sums.failed > 0) total.wrong++;
      else total.equal++;
    };
    await verifyAllLayouts({
      folder: path,
      ranks,
      execute: executor(backend, 'devices', verbose, io),
      sideBySide: SIDE_BY_SIDE,
      signal: io.signal,
      onOutcome,
    });
  }
  const { equal, refused, wrong } = total;
  io.out(
    `${equal + refused + wrong} layouts of up to ${ranks} ranks: ${equal} equal, ${refused} refused, ${wrong} wrong`,
  );
  return wrong > 0 || equal === 0 ? 1 : 0;
}

function executor(backend: ExecutionBackend, mode: 'tabs' | 'devices', verbose: boolean, io: CommandIo): RunExecutor {
  return async (config, files) => {
    const losses: number[] = [];
    const gradNorms: number[] = [];
    let gradients: Uint8Array<ArrayBuffer> = new Uint8Array(0);
    let weights: Uint8Array<ArrayBuffer> = new Uint8Array(0);
    await execute({
      backend,
      mode,
      config,
      files,
      wantGradients: true,
      wantModel: true,
      signal: io.signal,
      onStatus: (text) => {
        if (verbose) io.err(text);
      },
      onEvent: (rank, event) => {
        if (rank !== 0) return;
        if (event.kind === 'step') {
          losses.push(event.metrics.loss);
          gradNorms.push(event.metrics.gradNorm);
        } else if (event.kind === 'gradients') gradients = event.bytes;
        else if (event.kind === 'model') weights = event.bytes;
      },
    });
    return { losses, gradNorms, gradients, weights };
  };
}

async function verifyRun(
  folder: string,
  settings: readonly (readonly [string, string])[],
  backend: ExecutionBackend,
  mode: 'tabs' | 'devices',
  verbose: boolean,
  io: CommandIo,
  totals: Totals,
): Promise<void> {
  const { layout, schedule, vocab, sequence } = Object.fromEntries(settings);
  const how = [layout, schedule, vocab, sequence].filter(Boolean).join(' ');
  const label = `${basename(resolve(folder))} ${how} on ${backend}${mode === 'tabs' ? ' tabs' : ''}`;
  const started = performance.now();
  let checks: readonly Check[];
  try {
    checks = await verifyRunFolder(folder, settings, executor(backend, mode, verbose, io));
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    totals.skipped++;
    io.out(`skip ${label}: ${error.message}`);
    return;
  }
  report(label, checks, performance.now() - started, verbose, io, totals);
}

async function verifyOperators(
  folder: string,
  backend: ExecutionBackend,
  only: string | undefined,
  verbose: boolean,
  io: CommandIo,
  totals: Totals,
): Promise<void> {
  const { runOperatorFolder } = await import('../verify/operators.ts');
  await runOperatorFolder({
    folder,
    backend,
    only,
    signal: io.signal,
    onStatus: (text) => io.err(text),
    onGroup: (label, checks, skipped, ms) => {
      totals.skipped += skipped;
      report(`${label}${skipped ? ` (${skipped} skipped)` : ''}`, checks, ms, verbose, io, totals);
    },
  });
}

function report(
  label: string,
  checks: readonly Check[],
  ms: number,
  verbose: boolean,
  io: CommandIo,
  totals: Totals,
): void {
  const passed = checks.filter((check) => check.passed).length;
  totals.passed += passed;
  totals.failed += checks.length - passed;
  const worst = checks.reduce((a, b) => (b.worst > a.worst ? b : a), { name: '-', worst: 0, passed: true } as Check);
  if (!checks.length) {
    io.out(`skip ${label}`);
    return;
  }
  io.out(
    `${passed === checks.length ? 'ok  ' : 'FAIL'} ${label.padEnd(44)} ${String(passed).padStart(4)}/${checks.length}  worst ${worst.worst.toFixed(3)} of tolerance (${worst.name})  ${(ms / 1000).toFixed(1)} s`,
  );
  for (const check of checks) {
    if (!check.passed) io.out(`     ${check.name}: ${check.worst.toFixed(2)} of tolerance; ${check.note ?? ''}`);
    else if (verbose) io.out(`     ${check.name}: ${check.worst.toFixed(4)}`);
  }
}
