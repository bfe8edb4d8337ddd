// `tabmesh bench`: how fast a training step and the kernels are, and that they are right. Times on a busy or GPU-less machine are worth little by
// themselves; the ratio to a peer that took turns with us on the same adapter is what to quote.

import { writeFileSync } from 'node:fs';
import { ConfigError } from '../../base/errors.ts';
import { isPresetName, PRESET_NAMES } from '../../model/presets.ts';
import type { Command, CommandIo } from '../command.ts';
import { median, table } from '../bench/report.ts';
import type { BenchReport, BenchResult, Measured } from '../bench/report.ts';
import type { StepMeasured, StepResult } from '../bench/step.ts';
import { readMobyDick } from '../moby-dick.ts';
import { describeOptions, parseOptions } from '../options.ts';
import type { Options } from '../options.ts';

const OPTIONS = {
  backend: { type: 'string', choices: ['chromium', 'node'], default: 'chromium', about: 'where the kernels run: a page of headless Chromium, or Dawn in this process' },
  model: { type: 'string', choices: PRESET_NAMES, default: 'gpt2-nano', about: 'step: preset, trained on the characters of Moby Dick' },
  batch: { type: 'count', default: 8, about: 'step: rows per step' },
  context: { type: 'count', about: 'step: tokens per row (default: all positions of the preset)' },
  rounds: { type: 'count', default: 3, about: 'step: turns that each library takes' },
  peers: { type: 'flag', about: 'step: also measure TensorFlow.js, with the same weights and batches, taking turns' },
  only: { type: 'string', about: 'kernels: only the kernel of this name' },
  json: { type: 'string', about: 'write the results here as JSON' },
} as const;

type Given = Options<typeof OPTIONS>;

const WORKLOADS: Readonly<Record<string, (options: Given, io: CommandIo) => Promise<number>>> = { step, kernels };

export const command: Command = {
  name: 'bench',
  summary: 'measures a training step, also of TensorFlow.js, or every kernel',
  help: ['tabmesh bench: measures a training step, also of TensorFlow.js, or every kernel', '', 'usage: tabmesh bench step|kernels [options]', '', describeOptions(OPTIONS), '',
    'Exit code 1 if a result is wrong: a kernel differs from its reference, or the losses of both libraries differ.'].join('\n'),
  async run(args, io) {
    const { options, positionals: [workload] } = parseOptions(args, OPTIONS, 1);
    if (workload === undefined || !Object.hasOwn(WORKLOADS, workload)) throw new ConfigError('WORKLOAD', `expected ${Object.keys(WORKLOADS).join(' or ')}, got ${workload === undefined ? 'none' : `'${workload}'`}`);
    return WORKLOADS[workload](options, io);
  },
};

async function step(options: Given, io: CommandIo): Promise<number> {
  const { model, batch, context, rounds, peers } = options;
  if (peers && !(isPresetName(model) && model.startsWith('gpt2'))) throw new ConfigError('--peers', `TensorFlow.js is compared on gpt2 models, got ${model}`);
  const settings: [string, unknown][] = [['model', model], ['batch', batch], ...(context === undefined ? [] : [['context', context] as [string, unknown]])];
  const common = { onStatus: io.err, signal: io.signal, peers };
  let found: { measured: StepMeasured; browser: string };
  if (options.backend === 'chromium') {
    const { benchInChromium, TEXT_URL } = await import('../bench/chromium.ts');
    found = await benchInChromium<StepMeasured>({ ...common, name: 'step', request: { settings, rounds, peers, textUrl: TEXT_URL } });
  } else {
    const [{ benchStepInNode, describeNode }, { stepConfig }] = await Promise.all([import('../bench/node.ts'), import('../bench/step.ts')]);
    found = { measured: await benchStepInNode({ ...common, config: stepConfig(settings), files: { text: readMobyDick() }, rounds }), browser: describeNode() };
  }
  const report = finish(found, options, io);
  io.out(report.results[0].shape);
  for (const line of table('lrrrrrr', ['library', 'ms/step', 'tokens/s', 'GFLOP/s', 'launches', 'readbacks', 'JavaScript'], report.results.map(stepRow))) io.out(line);
  for (const { library, losses } of report.results) io.out(`losses of ${library}: ${losses.map((loss) => loss.toFixed(5)).join(' ')}`);
  const { ratios } = found.measured;
  if (ratios.length) io.out(`TensorFlow.js takes ${median(ratios).toFixed(2)} times as long as tabmesh (rounds: ${ratios.map((ratio) => ratio.toFixed(2)).join(' ')})`);
  if (report.results.every(({ correct }) => correct)) return 0;
  io.err('the losses of the first steps differ, so the times do not compare the same work');
  return 1;
}

async function kernels(options: Given, io: CommandIo): Promise<number> {
  const common = { onStatus: io.err, signal: io.signal };
  let found: { measured: Measured; browser: string };
  if (options.backend === 'chromium') {
    const { benchInChromium } = await import('../bench/chromium.ts');
    found = await benchInChromium<Measured>({ ...common, name: 'kernels', request: { only: options.only }, peers: false });
  } else {
    const { benchKernelsInNode, describeNode } = await import('../bench/node.ts');
    found = { measured: await benchKernelsInNode({ ...common, only: options.only }), browser: describeNode() };
  }
  const { results } = finish(found, options, io);
  for (const line of table('llrrl', ['kernel', 'correct', 'ms', 'GFLOP/s', 'shape'], results.map((row) => [row.workload, row.correct ? 'yes' : 'NO', row.medianMs.toFixed(4), row.gflops.toFixed(3), row.shape]))) io.out(line);
  const wrong = results.filter(({ correct }) => !correct).length;
  io.out(`${results.length - wrong} of ${results.length} cases correct`);
  return wrong === 0 ? 0 : 1;
}

function stepRow({ library, medianMs, tokensPerSecond, gflops, launches, readbacks, jsShare }: StepResult): string[] {
  return [library, medianMs.toFixed(1), tokensPerSecond.toFixed(0), gflops.toFixed(2), String(launches), String(readbacks), `${(100 * jsShare).toFixed(0)} %`];
}

/** Says where the results come from and writes the JSON file, if wanted. */
function finish<R extends BenchResult>({ measured, browser }: { measured: Measured<R>; browser: string }, { json }: Given, io: CommandIo): BenchReport<R> {
  const report = { ...measured, browser, date: new Date().toISOString() };
  io.out(`adapter: ${report.adapter}`);
  io.out(`browser: ${browser}`);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
  return report;
}
