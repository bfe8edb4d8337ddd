// `tabmesh train`: one training run from the command line, on any backend and layout. Progress goes to stderr, results to files.

import { mkdirSync, readFileSync, writeFileSync, appendFileSync, existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { worldSize, formatLayout } from '../../base/axis.ts';
import { ConfigError } from '../../base/errors.ts';
import type { JsonValue } from '../../base/json.ts';
import { formatModelConfig } from '../../model/config.ts';
import { summary } from '../../device/tune/certificate.ts';
import { isPresetName } from '../../model/presets.ts';
import { parseRunConfig, RATE_FIELDS, readRunJson, RUN_FIELDS } from '../../train/run-config.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { neededFiles, prepareRun } from '../../train/prepare.ts';
import type { RunFiles } from '../../train/prepare.ts';
import type { RunEvent } from '../../train/run.ts';
import { formatTokenizer } from '../../train/text/tokenizer-file.ts';
import type { StepMetrics } from '../../train/trainer.ts';
import type { Command } from '../command.ts';
import { BACKENDS, execute } from '../execution.ts';
import { readMobyDick } from '../moby-dick.ts';
import { describeOptions, parseOptions } from '../options.ts';
import type { OptionSpec } from '../options.ts';
import { ProgressLine } from '../progress-line.ts';
import { TraceFile } from '../trace-file.ts';
import { defaultMicrobatches } from '../verify/run-folder.ts';

/** The tokenizer beside a saved model. */
const TOKENIZER_FILE = 'tokenizer.tabmesh.json';

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
  save: { type: 'string', about: 'write the final weights here: a .safetensors file, or a model folder with config.json and tokenizer' },
  checkpoint: { type: 'string', about: 'write checkpoints here (see --checkpoint-every; the last step always)' },
  trace: { type: 'string', about: 'write a Chrome trace here; Perfetto opens it' },
} as const;

export const command: Command = {
  name: 'train',
  summary: 'trains a model on tabs, virtual devices, Dawn or the CPU references',
  help: ['tabmesh train: trains a model on tabs, virtual devices, Dawn or the CPU references', '', 'usage: tabmesh train [--tabs N | --devices N] [options]', '',
    describeOptions(OPTIONS), '', 'settings of the run:', describeOptions(SETTINGS), '',
    'The layout must multiply to the number of ranks, for example --tabs 4 --layout dp=2,pp=2.'].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, { ...OPTIONS, ...SETTINGS });
    const given = options as Readonly<Record<string, string | number | boolean | undefined>>;
    const config = readConfig(given, options.run, options.tokens);
    const ranks = worldSize(config.layout);
    const wanted = options.tabs ?? options.devices ?? ranks;
    if (options.tabs !== undefined && options.devices !== undefined) throw new ConfigError('--tabs', 'choose --tabs or --devices, not both');
    if (wanted !== ranks) throw new ConfigError('--layout', `${formatLayout(config.layout)} is ${ranks} ranks, but ${options.tabs !== undefined ? '--tabs' : '--devices'} is ${wanted}; make them equal`);
    const backend = options.backend ?? (options.tabs !== undefined ? 'chromium' : 'node');
    if (options.tabs !== undefined && backend !== 'chromium') throw new ConfigError('--tabs', `tabs need the chromium backend, got ${backend}; use --devices ${ranks}`);
    const files = readFiles(config, options.tokens);
    const sink = new EventSink(config, files, { log: options.log, grads: options.grads, save: options.save, checkpoint: options.checkpoint, trace: options.trace }, io);
    try {
      await execute({
        backend: backend as (typeof BACKENDS)[number], mode: options.tabs !== undefined ? 'tabs' : 'devices', config, files, signal: io.signal,
        checkpoint: options.resume === undefined ? undefined : readBytes(options.resume, '--resume'), wantGradients: options.grads !== undefined, wantModel: options.save !== undefined,
        ...(options.lane === 'same-browser' ? { parts: () => ({ lane: 'same-browser' }) } : {}), onEvent: (rank, event) => sink.take(rank, event), onStatus: (text) => sink.status(text), onTimeline: (text) => io.err(text),
      });
    } finally {
      sink.close();
    }
    return 0;
  },
};

function readConfig(given: Readonly<Record<string, string | number | boolean | undefined>>, run: string | undefined, tokens: string | undefined): RunConfig {
  const settings: [string, JsonValue][] = Object.keys(SETTINGS).filter((name) => given[name] !== undefined).map((name) => [name, given[name] as string]);
  if (tokens !== undefined) settings.push(['data', 'tokens']);
  const config = run === undefined ? parseRunConfig(settings) : readRunJson(readText(run, '--run'), settings);
  return given.microbatches === undefined ? { ...config, microbatches: defaultMicrobatches(config) } : config;
}

function readFiles(config: RunConfig, tokens: string | undefined): RunFiles {
  const needed = neededFiles(config);
  const inFolder = (name: string): string => join(config.model, name);
  if (needed.model && !existsSync(inFolder('config.json'))) throw new ConfigError('--model', `'${config.model}' is no preset and no folder with a config.json`);
  return {
    ...(needed.model && !isPresetName(config.model) ? { modelConfig: readText(inFolder('config.json'), '--model'), weights: readBytes(inFolder('model.safetensors'), '--model') } : {}),
    ...(needed.model && existsSync(inFolder(TOKENIZER_FILE)) ? { tokenizer: readText(inFolder(TOKENIZER_FILE), '--model') } : {}),
    ...(needed.text ? { text: config.data === 'moby-dick' ? readMobyDick() : readText(config.data, '--data') } : {}),
    ...(needed.tokens ? { tokens: readBytes(tokens ?? inFolder('tokens.safetensors'), '--tokens') } : {}),
  };
}

function readBytes(path: string, where: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw new ConfigError(where, `'${path}' cannot be read (${error instanceof Error ? error.message : String(error)})`);
  }
}

function readText(path: string, where: string): string { return new TextDecoder().decode(readBytes(path, where)); }

interface Outputs { readonly log?: string; readonly grads?: string; readonly save?: string; readonly checkpoint?: string; readonly trace?: string }

/** Turns the events of all ranks into files and a progress line. Step lines are rank 0's, with the bytes of all ranks. */
class EventSink {
  readonly #config: RunConfig;
  readonly #files: RunFiles;
  readonly #outputs: Outputs;
  readonly #progress: ProgressLine;
  readonly #trace: TraceFile | undefined;
  readonly #io: Parameters<Command['run']>[1];
  readonly #ranks: number;
  readonly #bytes = new Map<number, { ranks: number; sum: Record<string, number>; metrics?: StepMetrics }>();

  constructor(config: RunConfig, files: RunFiles, outputs: Outputs, io: Parameters<Command['run']>[1]) {
    this.#config = config;
    this.#files = files;
    this.#outputs = outputs;
    this.#io = io;
    this.#ranks = worldSize(config.layout);
    this.#progress = new ProgressLine(config.steps, io);
    this.#trace = outputs.trace === undefined ? undefined : new TraceFile();
  }

  status(text: string): void { this.#progress.note(text); }

  take(rank: number, event: RunEvent): void {
    if (event.kind === 'status' && rank === 0) this.status(event.text);
    else if (event.kind === 'step') this.#step(rank, event.metrics);
    else if (rank !== 0) return;
    else if (event.kind === 'certificate') this.status(summary(event.certificate));
    else if (event.kind === 'ready') this.status(`${event.parameters} parameters, vocabulary ${event.vocab}, ${event.launches} launches per microbatch, ${(event.memoryBytes / 2 ** 20).toFixed(1)} MiB on rank 0`);
    else if (event.kind === 'evaluation') this.#io.err(`step ${event.step}: held-out loss ${event.loss.toFixed(4)}`);
    else if (event.kind === 'sample') this.#io.err(`step ${event.step}: ${JSON.stringify(event.text)}`);
    else if (event.kind === 'gradients') this.#write(this.#outputs.grads, event.bytes);
    else if (event.kind === 'model') this.#save(event.bytes);
    else if (event.kind === 'checkpoint') this.#write(this.#outputs.checkpoint, event.bytes);
    else if (event.kind === 'done') this.#io.out(`${event.stopped ? 'stopped' : 'trained'} ${event.steps} steps`);
  }

  close(): void {
    this.#progress.end();
    if (this.#trace && this.#outputs.trace !== undefined) this.#write(this.#outputs.trace, new TextEncoder().encode(this.#trace.toString()));
  }

  #step(rank: number, metrics: StepMetrics): void {
    this.#trace?.add(rank, metrics);
    const entry = this.#bytes.get(metrics.step) ?? { ranks: 0, sum: {} };
    this.#bytes.set(metrics.step, entry);
    entry.ranks++;
    for (const [kind, bytes] of Object.entries(metrics.bytesSent)) entry.sum[kind] = (entry.sum[kind] ?? 0) + bytes;
    if (rank === 0) entry.metrics = metrics;
    if (entry.ranks < this.#ranks || !entry.metrics) return;
    this.#bytes.delete(metrics.step);
    const { step, loss, gradNorm, lr, tokens, ms } = entry.metrics;
    this.#progress.step({ step, loss, tokens, ms, bytes: Object.values(entry.sum).reduce((a, b) => a + b, 0) });
    if (this.#outputs.log !== undefined) appendFileSync(this.#outputs.log, `${JSON.stringify({ step, loss, gradNorm, lr, tokens, ms, bytesSent: entry.sum })}\n`);
  }

  /** One file, or a folder that `--model` and Hugging Face's from_pretrained read. */
  #save(bytes: Uint8Array): void {
    const { save } = this.#outputs;
    if (save === undefined || save.endsWith('.safetensors')) { this.#write(save, bytes); return; }
    const { model, tokenizer } = prepareRun(this.#config, this.#files);
    const text = (content: string): Uint8Array => new TextEncoder().encode(content);
    this.#write(join(save, 'model.safetensors'), bytes);
    this.#write(join(save, 'config.json'), text(formatModelConfig(model)));
    if (tokenizer) this.#write(join(save, TOKENIZER_FILE), text(formatTokenizer(tokenizer)));
  }

  #write(path: string | undefined, bytes: Uint8Array): void {
    if (path === undefined) return;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
    this.#io.err(`wrote ${path} (${bytes.byteLength} bytes)`);
  }
}
