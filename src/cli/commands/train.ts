// `tabmesh train`: one training run from the command line, on any backend and layout. Progress goes to stderr, results
// to files.

import { formatLayout, worldSize } from '../../base/axis.ts';
import { ConfigError } from '../../base/errors.ts';
import { countNumbers } from '../../model/weights.ts';
import { neededFiles } from '../../train/tasks/registry.ts';
import { prepareRun } from '../../train/prepare.ts';
import { changedSettings } from '../../train/resume/contradictions.ts';
import type { RunConfig } from '../../train/run-config.ts';
import type { Command, StopReason } from '../command.ts';
import { BACKENDS, backendOfTabs, execute } from '../execution.ts';
import { chooseLocal } from '../machine/wasm.ts';
import type { ExecutionBackend } from '../execution.ts';
import { describeOptions, parseOptions } from '../options.ts';
import { checkFolder } from '../train/model-folder.ts';
import { checkPaths, savesFolder, tryOutputs } from '../train/output-paths.ts';
import type { Inputs, Outputs } from '../train/output-paths.ts';
import { readResumed } from '../train/resume.ts';
import { readFiles, readText, tokensPath } from '../train/run-files.ts';
import { RunOutputs } from '../train/run-outputs.ts';
import { chooseSettings, SETTINGS } from '../train/settings.ts';
import type { Given } from '../train/settings.ts';
import { cutLog } from '../train/step-log.ts';

const OPTIONS = {
  tabs: { type: 'count', about: 'open this many real tabs in headless Chromium, one rank each' },
  devices: {
    type: 'count',
    about:
      'run this many virtual devices: workers of one tab, or ranks of this process (default: as many as --layout has ranks)',
  },
  backend: {
    type: 'string',
    choices: ['auto', ...BACKENDS],
    default: 'auto',
    about: 'where the kernels run; auto: a GPU, otherwise WebAssembly, in this process or in each tab',
  },
  lane: {
    type: 'string',
    choices: ['webrtc', 'same-browser'],
    default: 'webrtc',
    about: 'with --tabs: how the tabs are joined; same-browser uses ports of the browser, which are faster',
  },
  tokens: { type: 'string', value: 'FILE', about: 'tokens.safetensors to train on, I32 [steps, batch, T + 1]' },
  run: { type: 'string', value: 'FILE', about: 'run.json with steps, batch, learning rate and AdamW settings' },
  resume: { type: 'string', value: 'FILE', about: 'checkpoint to go on from' },
  log: { type: 'string', value: 'FILE', about: 'append one JSON object per step to this file' },
  grads: { type: 'string', value: 'FILE', about: "write the first step's gradients here (safetensors)" },
  save: {
    type: 'string',
    value: 'FILE',
    about:
      'write the final weights here: a .safetensors file, or a model folder with config.json and tokenizer; what it replaces stays as FILE.previous',
  },
  checkpoint: {
    type: 'string',
    value: 'FILE',
    about: 'write checkpoints here: the last step, and see --checkpoint-every; the one before stays as FILE.previous',
  },
  trace: { type: 'string', value: 'FILE', about: 'write a Chrome trace here; Perfetto opens it' },
} as const;

/** Of `--backend`, where `tabs` are wanted or this process computes. */
async function chooseBackend(asked: string, tabs: number | undefined): Promise<ExecutionBackend> {
  if (tabs !== undefined) return backendOfTabs(asked, tabs);
  return asked === 'auto' ? chooseLocal() : (asked as ExecutionBackend);
}

export const command: Command = {
  name: 'train',
  trains: true,
  summary: 'trains a model on tabs, virtual devices, Dawn or the CPU references',
  help: [
    'tabmesh train: trains a model on tabs, virtual devices, Dawn or the CPU references',
    '',
    'usage: tabmesh train [--tabs N | --devices N] [options]',
    '',
    describeOptions(OPTIONS),
    '',
    'settings of the run:',
    describeOptions(SETTINGS),
    '',
    'The layout must multiply to the number of ranks, for example --tabs 4 --layout dp=2,pp=2; without one, a fitting one is chosen and said.',
    'n is a whole number, FILE and FOLDER are paths; a list of numbers has commas.',
    '',
    '--resume FILE takes settings, model, tokenizer and seed from the checkpoint; data that are files must be there again, or be named. What differs is said.',
    'Ctrl-C, SIGTERM, SIGHUP or a closed terminal stop the run after its step; --checkpoint and --save are written. A second Ctrl-C quits at once.',
  ].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, { ...OPTIONS, ...SETTINGS });
    const given: Given = options;
    if (options.tabs !== undefined && options.devices !== undefined)
      throw new ConfigError('--tabs', 'choose --tabs or --devices, not both');
    const backend = await chooseBackend(options.backend, options.tabs);
    const from = options.resume === undefined ? undefined : readResumed(options.resume);
    const { config, notes } = chooseSettings(
      given,
      options.run === undefined ? undefined : readText(options.run, '--run'),
      from?.about,
      backend,
    );
    const ranks = worldSize(config.layout);
    const wanted = options.tabs ?? options.devices ?? ranks;
    if (wanted !== ranks)
      throw new ConfigError(
        '--layout',
        `${formatLayout(config.layout)} is ${ranks} ranks, but ${options.tabs !== undefined ? '--tabs' : '--devices'} is ${wanted}; make them equal`,
      );
    const { log, grads, save, checkpoint, trace } = options;
    const outputs: Outputs = { log, grads, save, checkpoint, trace };
    checkPaths(outputs, inputsOf(config, options));
    const files = {
      ...readFiles(
        config,
        options.tokens,
        from && { modelGiven: given.model !== undefined, dataGiven: given.data !== undefined },
      ),
      ...(from ? { checkpoint: from.bytes } : {}),
    };
    const prepared = prepareRun(config, files, {
      onProgress: (text) => io.err(text),
      tokensName: tokensPath(config, options.tokens),
    });
    if (save !== undefined && savesFolder(save)) checkFolder(save, prepared);
    tryOutputs(outputs, 4 * countNumbers(prepared.task.weights));
    const told = [...notes, ...(from ? changedSettings(from.about, config) : [])];
    if (from) told.push(...resumeLog(log, from.about.step), `going on from step ${from.about.step} of ${config.steps}`);
    for (const line of told) io.err(line);
    const sink = new RunOutputs(config, prepared, outputs, io);
    let complete = false;
    const onStop = (): void => sink.stopping((io.signal.reason as StopReason).text);
    io.signal.addEventListener('abort', onStop, { once: true });
    try {
      await execute({
        backend,
        threads: true,
        mode: options.tabs !== undefined ? 'tabs' : 'devices',
        config,
        files,
        prepared,
        stop: { signal: io.signal, save: checkpoint !== undefined },
        wantGradients: grads !== undefined,
        wantModel: save !== undefined,
        parts: () => ({ lane: options.lane }),
        onEvent: (rank, event) => sink.take(rank, event),
        onStatus: (text) => sink.status(text),
        onTimeline: (text) => io.err(text),
      });
    } finally {
      io.signal.removeEventListener('abort', onStop);
      complete = sink.finish();
    }
    return complete ? 0 : 1;
  },
};

/** The log goes on without double steps. */
function resumeLog(log: string | undefined, step: number): readonly string[] {
  const gone = log === undefined ? 0 : cutLog(log, step);
  return gone === 0
    ? []
    : [
        `${gone} line${gone === 1 ? '' : 's'} of the log, from step ${step} on, are made again; ${log} as it was is ${log}.previous`,
      ];
}

/** Files that the run reads and must not write over. */
function inputsOf(
  config: RunConfig,
  { tokens, run, resume }: { readonly tokens?: string; readonly run?: string; readonly resume?: string },
): Inputs {
  const needed = neededFiles(config);
  return {
    tokens,
    run,
    resume,
    ...(needed.text && config.data !== 'moby-dick' ? { data: config.data } : {}),
    ...(needed.model ? { model: config.model } : {}),
  };
}
