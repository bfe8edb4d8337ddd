// `tabmesh bench`: how fast a training step and the kernels are, and that they are right. Times on a busy or GPU-less
// machine are worth little by themselves; the ratio to a peer that took turns with us on the same adapter is what to
// quote.

import { writeFileSync } from 'node:fs';
import { ConfigError } from '../../base/errors.ts';
import type { StepResult } from '../../bench/gpt2/step.ts';
import { median, table, threadsLine } from '../../bench/bench-report.ts';
import type { BenchReport, BenchResult, Measured } from '../../bench/bench-report.ts';
import { OWN, WORKLOADS, workloadsNamed } from '../../bench/run.ts';
import type { Missing, WorkloadResult } from '../../bench/run.ts';
import { summarise, summaryLine } from '../../bench/summary.ts';
import { formatBytes } from '../../base/format-bytes.ts';
import { isPresetName, PRESET_NAMES } from '../../model/presets.ts';
import { COLLECTIVES_OPTIONS } from '../bench/collectives-options.ts';
import { PIPELINE_OPTIONS } from '../bench/pipeline-options.ts';
import type { Answers, Requests } from '../bench/work.ts';
import type { Command, CommandIo } from '../command.ts';
import { describeOptions, parseOptions } from '../options.ts';
import type { Options } from '../options.ts';

const OPTIONS = {
  backend: {
    type: 'string',
    choices: ['chromium', 'node', 'wasm'],
    default: 'chromium',
    about:
      'where the kernels run: WebGPU in a page of headless Chromium, Dawn in this process, or WebAssembly in that page; the other libraries alike',
  },
  threads: {
    type: 'count',
    default: 1,
    about: 'wasm: threads that compute (not with --peers, which are compared with one each)',
  },
  peers: {
    type: 'flag',
    about: 'also measure TensorFlow.js, ONNX Runtime Web (kernels) and jax-js, with the same data, taking turns',
  },
  rounds: { type: 'count', about: 'turns that each library takes at most (default: 5 for kernels, 3 for step)' },
  tune: {
    type: 'number',
    default: 20,
    about:
      'seconds to measure variants of our kernels before they are timed, over all shapes; 0: the defaults (not with --cases, nor on wasm)',
  },
  only: {
    type: 'string',
    about: `kernels: only this workload (${WORKLOADS.map(({ name }) => name).join(', ')}; default: all); with --cases, only this kernel`,
  },
  cases: {
    type: 'flag',
    about: 'kernels: every kernel of tabmesh on its small contract cases instead of the workloads',
  },
  quick: { type: 'flag', about: 'kernels: one round, fewer shapes' },
  full: { type: 'flag', about: 'kernels: also the large shapes, and libraries that need minutes for one' },
  model: {
    type: 'string',
    choices: PRESET_NAMES,
    default: 'gpt2-nano',
    about: 'step: preset, trained on the characters of Moby Dick',
  },
  batch: { type: 'count', default: 8, about: 'step: rows per step' },
  context: { type: 'count', about: 'step: tokens per row (default: all positions of the preset)' },
  visits: {
    type: 'count',
    default: 2,
    about: 'first-loss: times that a browser is started with one profile, which is empty the first time',
  },
  json: { type: 'string', value: 'FILE', about: 'write the results here as JSON' },
} as const;

type Given = Options<typeof OPTIONS>;

const WHAT: Readonly<Record<string, (options: Given, io: CommandIo) => Promise<number>>> = {
  step,
  kernels: (options, io) => (options.cases ? cases : workloads)(options, io),
  'first-loss': waiting,
};
const COLLECTIVES = 'collectives';
const COLLECTIVES_HELP = ['usage: tabmesh bench collectives [options]', '', describeOptions(COLLECTIVES_OPTIONS)];
const PIPELINE = 'pipeline';
const PIPELINE_HELP = ['usage: tabmesh bench pipeline [options]', '', describeOptions(PIPELINE_OPTIONS)];

export const command: Command = {
  name: 'bench',
  summary: 'measures kernels, a step, the wait for the first loss, or collectives, beside other libraries',
  help: [
    'tabmesh bench: measures kernels, a training step or collectives between tabs, also of other libraries',
    '',
    'usage: tabmesh bench step|kernels|first-loss [options]',
    '',
    describeOptions(OPTIONS),
    '',
    ...COLLECTIVES_HELP,
    '',
    ...PIPELINE_HELP,
    '',
    'Exit code 1 if a result of tabmesh is wrong or absent: it differs from a computation in f64, the losses of the libraries differ, a kernel breaks, an element of a collective is not exact.',
  ].join('\n'),
  helpOf: {
    [COLLECTIVES]: [
      'tabmesh bench collectives: measures collectives between tabs, also over the channels of other libraries',
      '',
      ...COLLECTIVES_HELP,
      '',
      'Exit code 1 if an element that tabmesh brings is not exact.',
    ].join('\n'),
    [PIPELINE]: [
      'tabmesh bench pipeline: compares schedules and vocabularies that ranks share, from passes measured on one device',
      '',
      ...PIPELINE_HELP,
    ].join('\n'),
  },
  async run(args, io) {
    // Its options are its own.
    if (args[0] === COLLECTIVES) return (await import('../bench/collectives.ts')).collectives(args.slice(1), io);
    if (args[0] === PIPELINE) return (await import('../bench/pipeline.ts')).pipeline(args.slice(1), io);
    const {
      options,
      positionals: [what],
    } = parseOptions(args, OPTIONS, 1);
    if (what === undefined || !Object.hasOwn(WHAT, what))
      throw new ConfigError(
        'WORKLOAD',
        `expected ${Object.keys(WHAT).join(', ')}, ${COLLECTIVES} or ${PIPELINE} first, got ${what === undefined ? 'none' : `'${what}'`}`,
      );
    return WHAT[what](options, io);
  },
};

/** Runs it where the options say. */
async function measure<K extends keyof Requests>(
  name: K,
  request: Requests[K],
  { backend, tune, threads, peers }: Given,
  io: CommandIo,
): Promise<{ measured: Answers[K]; browser: string }> {
  if (tune < 0) throw new ConfigError('--tune', `expected seconds, 0 or more, got ${tune}`);
  if (threads > 1 && backend !== 'wasm')
    throw new ConfigError('--threads', `expected --backend wasm, whose threads they are, got ${backend}`);
  if (threads > 1 && peers)
    throw new ConfigError('--threads', `other libraries are compared with one thread each, got ${threads}`);
  const common = { onStatus: io.err, signal: io.signal, tuneMs: name === 'cases' || tune === 0 ? null : 1000 * tune };
  if (backend !== 'node') {
    const { benchInChromium } = await import('../bench/chromium.ts');
    return benchInChromium({ ...common, name, request, threads, on: backend === 'wasm' ? 'wasm' : 'webgpu' });
  }
  const { benchInNode, describeNode } = await import('../bench/node.ts');
  return { measured: await benchInNode(name, request, common), browser: describeNode() };
}

async function step(options: Given, io: CommandIo): Promise<number> {
  const { model, batch, context, rounds = 3, peers } = options;
  if (peers && !(isPresetName(model) && model.startsWith('gpt2')))
    throw new ConfigError('--peers', `other libraries are compared on gpt2 models, got ${model}`);
  const settings: [string, unknown][] = [
    ['model', model],
    ['batch', batch],
    ...(context === undefined ? [] : [['context', context] as [string, unknown]]),
  ];
  const { measured, browser } = await measure('step', { settings, rounds, peers }, options, io);
  const report = finish({ measured, browser }, options, io);
  io.out(report.results[0].shape);
  for (const line of table(
    'lrrrrrr',
    ['library', 'ms/step', 'tokens/s', 'GFLOP/s', 'launches', 'readbacks', 'JavaScript'],
    report.results.map(stepRow),
  ))
    io.out(line);
  for (const { library, losses } of report.results)
    io.out(`losses of ${library}: ${losses.map((loss) => loss.toFixed(5)).join(' ')}`);
  for (const { library, reason } of measured.missing) io.out(`no ${library}: ${reason}`);
  for (const [library, ratios] of Object.entries(measured.ratios))
    io.out(
      `${library} takes ${median(ratios).toFixed(2)} times as long as tabmesh (rounds: ${ratios.map((ratio) => ratio.toFixed(2)).join(' ')})`,
    );
  if (report.results.every(({ correct }) => correct)) return 0;
  io.err('the losses of the first steps differ, so the times do not compare the same work');
  return 1;
}

async function waiting({ visits, json }: Given, io: CommandIo): Promise<number> {
  const { firstLoss } = await import('../bench/first-loss.ts');
  const found = await firstLoss(visits, io);
  for (const [i, { firstLossMs, loss, adapter, told }] of found.entries()) {
    io.out(
      `visit ${i + 1}: ${(firstLossMs / 1000).toFixed(2)} s from the click to the first loss (${loss.toFixed(4)}) on ${adapter}`,
    );
    // The last of a count says when it was over.
    for (const [at, { atMs, text }] of told.entries())
      if (!/ \d+ of \d+$/.test(told[at + 1]?.text ?? '') || !/ \d+ of \d+$/.test(text))
        io.out(`  ${(atMs / 1000).toFixed(2).padStart(6)} s ${text}`);
  }
  if (json !== undefined) writeFileSync(json, JSON.stringify(found, undefined, 2));
  return 0;
}

async function workloads(options: Given, io: CommandIo): Promise<number> {
  const { only, quick, full, peers } = options;
  // Before a browser is started for nothing.
  workloadsNamed(only);
  const rounds = options.rounds ?? (quick ? 1 : 5);
  const { measured, browser } = await measure(
    'workloads',
    { only, rounds, scope: full ? 'full' : quick ? 'quick' : 'default', peers },
    options,
    io,
  );
  const { results, ceilings } = finish({ measured, browser }, options, io);
  if (ceilings)
    io.out(
      `ceilings: ${Object.entries(ceilings.bandwidth)
        .map(([loop, gbps]) => `${loop} ${gbps.toFixed(2)}`)
        .join(', ')} GB/s; multiply-add ${ceilings.peakGflops.toFixed(1)} GFLOP/s`,
    );
  io.out('');
  for (const workload of new Set([...results, ...measured.missing].map((row) => row.workload)))
    for (const line of workloadLines(workload, results, measured.missing)) io.out(line);
  for (const summary of summarise(results)) io.out(summaryLine(summary));
  const broken = measured.missing.some(({ library, failed }) => library === OWN && failed);
  return !broken && results.every(({ library, correct }) => library !== OWN || correct) ? 0 : 1;
}

function workloadLines(workload: string, results: readonly WorkloadResult[], missing: readonly Missing[]): string[] {
  const rows = results.filter((row) => row.workload === workload);
  const header = ['shape', 'library', 'correct', 'ms', 'min', 'max', 'GFLOP/s', 'GB/s', 'of roof', 'ratio', 'memory'];
  const lines = rows.length ? table('lllrrrrrrrr', header, rows.map(workloadRow)) : [];
  const reasons = new Map<string, string[]>();
  for (const { shape, library, reason } of missing.filter((row) => row.workload === workload)) {
    const sentence = `no ${library}: ${reason}`;
    reasons.set(sentence, [...(reasons.get(sentence) ?? []), shape]);
  }
  const wrong = rows
    .filter(({ problem }) => problem !== undefined)
    .map(({ library, shape, problem }) => `${library} is wrong at ${shape}: ${problem}`);
  return [
    workload,
    ...lines,
    ...wrong,
    ...[...reasons].map(([sentence, shapes]) => `${sentence} (${shapes.join(', ')})`),
    '',
  ];
}

function workloadRow({
  shape,
  library,
  correct,
  medianMs,
  minMs,
  maxMs,
  gflops,
  gbps,
  roofline,
  ratio,
  peakBytes,
}: WorkloadResult): string[] {
  return [
    shape,
    library,
    correct ? 'yes' : 'NO',
    ...[medianMs, minMs, maxMs].map((ms) => ms.toPrecision(4)),
    gflops.toFixed(3),
    gbps.toFixed(3),
    roofline === null ? '' : `${(100 * roofline).toFixed(0)} %`,
    ratio === null ? '' : `${ratio.toFixed(2)}x`,
    peakBytes === undefined ? '' : formatBytes(peakBytes),
  ];
}

async function cases(options: Given, io: CommandIo): Promise<number> {
  const { results } = finish(await measure('cases', { only: options.only }, options, io), options, io);
  for (const line of table(
    'llrrl',
    ['kernel', 'correct', 'ms', 'GFLOP/s', 'shape'],
    results.map((row) => [
      row.workload,
      row.correct ? 'yes' : 'NO',
      row.medianMs.toFixed(4),
      row.gflops.toFixed(3),
      row.shape,
    ]),
  ))
    io.out(line);
  const wrong = results.filter(({ correct }) => !correct).length;
  io.out(`${results.length - wrong} of ${results.length} cases correct`);
  return wrong === 0 ? 0 : 1;
}

function stepRow({ library, medianMs, tokensPerSecond, gflops, launches, readbacks, jsShare }: StepResult): string[] {
  return [
    library,
    medianMs.toFixed(1),
    tokensPerSecond.toFixed(0),
    gflops.toFixed(2),
    String(launches ?? ''),
    String(readbacks ?? ''),
    jsShare === undefined ? '' : `${(100 * jsShare).toFixed(0)} %`,
  ];
}

/** Says where the results come from and writes the JSON file, if wanted. */
function finish<M extends Measured<BenchResult>>(
  { measured, browser }: { measured: M; browser: string },
  { json }: Given,
  io: CommandIo,
): M & BenchReport<M['results'][number]> {
  const report = { ...measured, browser, date: new Date().toISOString() };
  io.out(`adapter: ${report.adapter}`);
  io.out(`browser: ${browser}`);
  const threads = threadsLine(report.results);
  if (threads !== undefined) io.out(`threads: ${threads}`);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
  return report;
}
