// `tabmesh train`: one training run from the command line, on any backend and layout. Progress goes to stderr, results to files.

import { worldSize, formatLayout } from '../../base/axis.ts';
import { ConfigError } from '../../base/errors.ts';
import type { JsonValue } from '../../base/json.ts';
import { neededFiles, prepareRun } from '../../train/prepare.ts';
import { parseRunConfig, RATE_FIELDS, readRunJson, RUN_FIELDS } from '../../train/run-config.ts';
import type { RunConfig } from '../../train/run-config.ts';
import type { Command, StopReason } from '../command.ts';
import { BACKENDS, execute } from '../execution.ts';
import { describeOptions, parseOptions } from '../options.ts';
import type { OptionSpec } from '../options.ts';
import { checkTokenizers } from '../train/model-folder.ts';
import { readBytes, readFiles, readText, shapeOfTokens } from '../train/run-files.ts';
import { checkPaths, savesFolder, tryOutputs } from '../train/output-paths.ts';
import type { Inputs, Outputs } from '../train/output-paths.ts';
import { RunOutputs } from '../train/run-outputs.ts';
import { defaultMicrobatches } from '../verify/run-folder.ts';

const dashed = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
/** Every run setting is an option of its own name; values stay text and are parsed with the field's own rules. */
const SETTINGS: Readonly<Record<string, OptionSpec>> = Object.fromEntries(
  Object.entries({ ...RUN_FIELDS, ...RATE_FIELDS }).map(([name, { about }]) => [dashed(name), { type: 'string', about } as const]),
);

const OPTIONS = {
  tabs: { type: 'count', about: 'open this many real tabs in headless Chromium, one rank each' },
  devices: { type: 'count', about: 'run this many virtual devices: workers of one tab, or ranks of this process' },
  backend: { type: 'string', choices: BACKENDS, about: 'where the kernels run (default: chromium with --tabs, otherwise node)' },
  lane: { type: 'string', choices: ['webrtc', 'same-browser'], default: 'webrtc', about: 'with --tabs: how the tabs are joined; same-browser uses ports of the browser, which are faster' },
  tokens: { type: 'string', about: 'tokens.safetensors to train on, I32 [steps, batch, T + 1]' },
  run: { type: 'string', about: 'run.json with steps, batch, learning rate and AdamW settings' },
  resume: { type: 'string', about: 'checkpoint to go on from' },
  log: { type: 'string', about: 'append one JSON object per step to this file' },
  grads: { type: 'string', about: "write the first step's gradients here (safetensors)" },
  save: { type: 'string', about: 'write the final weights here: a .safetensors file, or a model folder with config.json and tokenizer; what it replaces stays as FILE.previous' },
  checkpoint: { type: 'string', about: 'write checkpoints here: the last step, and see --checkpoint-every; the one before stays as FILE.previous' },
  trace: { type: 'string', about: 'write a Chrome trace here; Perfetto opens it' },
} as const;

export const command: Command = {
  name: 'train', trains: true,
  summary: 'trains a model on tabs, virtual devices, Dawn or the CPU references',
  help: ['tabmesh train: trains a model on tabs, virtual devices, Dawn or the CPU references', '', 'usage: tabmesh train [--tabs N | --devices N] [options]', '',
    describeOptions(OPTIONS), '', 'settings of the run:', describeOptions(SETTINGS), '',
    'The layout must multiply to the number of ranks, for example --tabs 4 --layout dp=2,pp=2.'].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, { ...OPTIONS, ...SETTINGS });
    const given = options as Readonly<Record<string, string | number | boolean | undefined>>;
    checkTogether(given);
    const config = readConfig(given, options.run, options.tokens);
    const ranks = worldSize(config.layout);
    const wanted = options.tabs ?? options.devices ?? ranks;
    if (options.tabs !== undefined && options.devices !== undefined) throw new ConfigError('--tabs', 'choose --tabs or --devices, not both');
    if (wanted !== ranks) throw new ConfigError('--layout', `${formatLayout(config.layout)} is ${ranks} ranks, but ${options.tabs !== undefined ? '--tabs' : '--devices'} is ${wanted}; make them equal`);
    const backend = options.backend ?? (options.tabs !== undefined ? 'chromium' : 'node');
    if (options.tabs !== undefined && backend !== 'chromium') throw new ConfigError('--tabs', `tabs need the chromium backend, got ${backend}; use --devices ${ranks}`);
    const { log, grads, save, checkpoint, trace } = options;
    const outputs: Outputs = { log, grads, save, checkpoint, trace };
    checkPaths(outputs, inputsOf(config, options));
    const files = readFiles(config, options.tokens);
    const prepared = prepareRun(config, files, (text) => io.err(text));
    if (save !== undefined && savesFolder(save)) checkTokenizers(save, prepared);
    tryOutputs(outputs, prepared.model);
    const sink = new RunOutputs(config, prepared, outputs, io);
    let complete = false;
    const onStop = (): void => sink.stopping((io.signal.reason as StopReason).text);
    io.signal.addEventListener('abort', onStop, { once: true });
    try {
      await execute({
        backend: backend as (typeof BACKENDS)[number], mode: options.tabs !== undefined ? 'tabs' : 'devices', config, files, prepared, stop: { signal: io.signal, save: checkpoint !== undefined },
        checkpoint: options.resume === undefined ? undefined : readBytes(options.resume, '--resume'), wantGradients: options.grads !== undefined, wantModel: options.save !== undefined,
        ...(options.lane === 'same-browser' ? { parts: () => ({ lane: 'same-browser' }) } : {}), onEvent: (rank, event) => sink.take(rank, event), onStatus: (text) => sink.status(text), onTimeline: (text) => io.err(text),
      });
    } finally {
      io.signal.removeEventListener('abort', onStop);
      complete = sink.finish();
    }
    return complete ? 0 : 1;
  },
};

function readConfig(given: Readonly<Record<string, string | number | boolean | undefined>>, run: string | undefined, tokens: string | undefined): RunConfig {
  const settings: [string, JsonValue][] = Object.keys(SETTINGS).filter((name) => given[name] !== undefined).map((name) => [name, given[name] as string]);
  if (tokens !== undefined) settings.push(['data', 'tokens']);
  // The file has its own number of steps and rows; a run.json or a checkpoint says them too.
  if (tokens !== undefined && run === undefined && given.resume === undefined) {
    settings.push(...shapeOfTokens(tokens).filter(([name]) => given[name] === undefined));
  }
  const config = run === undefined ? parseRunConfig(settings) : readRunJson(readText(run, '--run'), settings);
  const microbatches = given.microbatches === undefined ? defaultMicrobatches(config) : config.microbatches;
  // A checkpoint of the last step is what asking for a file means.
  const checkpointEvery = given.checkpoint === undefined ? 0 : given['checkpoint-every'] === undefined ? config.steps : config.checkpointEvery;
  return { ...config, microbatches, checkpointEvery };
}

/** ConfigError for options that mean nothing without, or beside, another one. */
function checkTogether(given: Readonly<Record<string, string | number | boolean | undefined>>): void {
  if (given['checkpoint-every'] !== undefined && given['checkpoint-every'] !== '0' && given.checkpoint === undefined) throw new ConfigError('--checkpoint-every', 'says how often, but not where; add --checkpoint FILE');
  if (given.grads !== undefined && given.resume !== undefined) throw new ConfigError('--grads', 'writes the gradients of the first step, which a resumed run has behind it; leave --grads or --resume out');
}

/** Files that the run reads and must not write over. */
function inputsOf(config: RunConfig, { tokens, run, resume }: { readonly tokens?: string; readonly run?: string; readonly resume?: string }): Inputs {
  const needed = neededFiles(config);
  return { tokens, run, resume, ...(needed.text && config.data !== 'moby-dick' ? { data: config.data } : {}), ...(needed.model ? { model: config.model } : {}) };
}
